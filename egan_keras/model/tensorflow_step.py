"""How TensorFlow takes and applies the gradients of one adversarial step."""

import keras
import tensorflow as tf

from egan_keras import losses
from egan_keras.model.play import play
from egan_keras.model.replicas import MAJORITY, Part


def adversarial_step(
    model, majority, minority, known_minority=None, part: Part | None = None
) -> dict:
    """Updates discriminator and generator from one forward pass.

    Args:
        model: An `EGAN`.
        majority: The discriminator's features of a batch of majority images.
        minority: The generator's features of a batch of minority images.
        known_minority: The discriminator's features of minority images, or `None`.
        part: Where there are several replicas, which part of a batch these are.

    Returns:
        What `play` returned.
    """
    loss = model.adversarial_loss
    with tf.GradientTape(persistent=True) as tape:
        outcome = play(
            model.generator,
            model.discriminator,
            loss,
            majority,
            minority,
            known_minority,
            model.fake_weight,
            model.choices.adversarial,
            part,
        )
        if loss.gradient_penalty:
            outcome["discriminator_loss"] += loss.gradient_penalty * _penalty(
                model.discriminator.tail, majority, outcome["fake_features"], part
            )
    for network, optimizer, name in (
        (model.discriminator, model.optimizer, "discriminator_loss"),
        (model.generator, model.generator_optimizer, "generator_loss"),
    ):
        variables = network.tail.trainable_variables
        gradients = tape.gradient(outcome[name], variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return outcome


def _penalty(tail, majority, fakes, part=None):
    """Returns the gradient penalty at random points between majority and fakes."""
    real = keras.tree.flatten(majority)
    count = tf.shape(real[0])[0]
    partners = tf.range(count) % tf.shape(keras.tree.flatten(fakes)[0])[0]
    if part is None:
        share = tf.random.uniform((count,))
    else:
        share = part.own_draws(lambda rows: tf.random.uniform((rows,)), MAJORITY)
    between = []
    for ours, theirs in zip(real, keras.tree.flatten(fakes), strict=True):
        weight = tf.reshape(share, (-1, *[1] * (len(ours.shape) - 1)))
        between.append(weight * ours + (1 - weight) * tf.gather(theirs, partners))
    with tf.GradientTape() as tape:
        tape.watch(between)
        scores = tail(keras.tree.pack_sequence_as(tail.input, between), training=True)
    penalty = losses.gradient_norm_penalty(tape.gradient(scores, between))
    return penalty if part is None else part.joined_penalty(penalty)
