"""How TensorFlow takes and applies the gradients of one adversarial step."""

import keras
import tensorflow as tf

from egan_keras import losses
from egan_keras.model.step.forward import forward, points_between, with_losses
from egan_keras.model.step.in_place import InPlaceStep
from egan_keras.model.step.protocol import Trainee
from egan_keras.networks import in_full_precision


class Step(InPlaceStep):
    """The step of TensorFlow, see `protocol.Step`."""

    @staticmethod
    def execution_options() -> dict:
        """Returns how `keras.Model.compile` is told to run steps, where not told.

        A step on cached features takes little longer than Keras takes to start one.
        XLA makes both recipes slower on CPUs.
        """
        return {"jit_compile": False, "steps_per_execution": 8}

    def adversarial_step(self, majority, minority, known_minority=None) -> dict:
        """Updates discriminator and generator from one forward pass.

        Args:
            majority: The discriminator's features of a batch of majority images.
            minority: The generator's features of a batch of minority images.
            known_minority: The discriminator's features of minority images, or `None`.

        Returns:
            What `with_losses` returned.
        """
        with tf.GradientTape(persistent=True) as tape:
            passed = forward(self, majority, minority, known_minority)
            outcome = with_losses(self, passed)
            update = updates(self, outcome)
        apply(update, tape)
        return outcome

    def gradient_penalty(self, majority, fakes):
        """Returns the gradient penalty at random points between majority and fakes."""
        tail = self.discriminator.tail
        real = [in_full_precision(each) for each in keras.tree.flatten(majority)]
        share = tf.random.uniform((tf.shape(real[0])[0],), dtype=real[0].dtype)
        between = points_between(real, keras.tree.flatten(fakes), share)
        with tf.GradientTape() as tape:
            tape.watch(between)
            inputs = keras.tree.pack_sequence_as(tail.input, between)
            scores = in_full_precision(tail(inputs, training=True))
        return losses.gradient_norm_penalty(tape.gradient(scores, between))


def updates(model: Trainee, outcome: dict) -> list[tuple]:
    """Returns each optimizer with the loss it minimises and the tail it trains.

    To be called while a tape records: in float16, gradients of losses as they are would
    vanish, so that optimizers may scale them.
    """
    pairs = (
        (model.discriminator, model.optimizer, "discriminator_loss"),
        (model.generator, model.generator_optimizer, "generator_loss"),
    )
    return [
        (optimizer, optimizer.scale_loss(outcome[name]), network.tail)
        for network, optimizer, name in pairs
    ]


def apply(updates: list[tuple], tape: tf.GradientTape) -> None:
    """Takes the gradients of both losses, each for its network, and applies them."""
    for optimizer, loss, tail in updates:
        variables = tail.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
