"""How TensorFlow takes and applies the gradients of one adversarial step."""

import keras
import tensorflow as tf

from egan_keras import losses
from egan_keras.model.play import play, points_between
from egan_keras.model.replicas import MAJORITY, Part
from egan_keras.networks import in_full_precision


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
        outcome = play(model, majority, minority, known_minority, part)
        if loss.gradient_penalty:
            outcome["discriminator_loss"] += loss.gradient_penalty * _penalty(
                model.discriminator.tail, majority, outcome["fake_features"], part
            )
        updates = (
            (model.discriminator, model.optimizer, "discriminator_loss"),
            (model.generator, model.generator_optimizer, "generator_loss"),
        )
        # In float16, gradients of losses as they are would vanish.
        scaled = [optimizer.scale_loss(outcome[name]) for _, optimizer, name in updates]
    for (network, optimizer, _), loss in zip(updates, scaled, strict=True):
        variables = network.tail.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
    return outcome


def _penalty(tail, majority, fakes, part=None):
    """Returns the gradient penalty at random points between majority and fakes."""
    real = [in_full_precision(each) for each in keras.tree.flatten(majority)]

    def draw(rows):
        return tf.random.uniform((rows,), dtype=real[0].dtype)

    if part is None:
        share = draw(tf.shape(real[0])[0])
    else:
        share = part.own_draws(draw, MAJORITY)
    between = points_between(real, keras.tree.flatten(fakes), share)
    with tf.GradientTape() as tape:
        tape.watch(between)
        inputs = keras.tree.pack_sequence_as(tail.input, between)
        scores = in_full_precision(tail(inputs, training=True))
    penalty = losses.gradient_norm_penalty(tape.gradient(scores, between))
    return penalty if part is None else part.joined_penalty(penalty)
