"""How PyTorch takes and applies the gradients of one adversarial step."""

import keras
import torch

from egan_keras import losses
from egan_keras.model.step.forward import forward, points_between, with_losses
from egan_keras.model.step.in_place import InPlaceStep
from egan_keras.networks import in_full_precision


class Step(InPlaceStep):
    """The step of PyTorch, see `protocol.Step`."""

    @staticmethod
    def execution_options() -> dict:
        """Returns how `keras.Model.compile` is told to run steps, where not told."""
        return {"jit_compile": False, "steps_per_execution": 1}

    def adversarial_step(self, majority, minority, known_minority=None) -> dict:
        """Updates discriminator and generator from one forward pass.

        Args:
            majority: The discriminator's features of a batch of majority images.
            minority: The generator's features of a batch of minority images.
            known_minority: The discriminator's features of minority images, or `None`.

        Returns:
            What `with_losses` returned, without its history of operations.
        """
        outcome = with_losses(self, forward(self, majority, minority, known_minority))
        updates = (
            (self.discriminator.tail, self.optimizer, "discriminator_loss"),
            (self.generator.tail, self.generator_optimizer, "generator_loss"),
        )
        # Both are taken before either is applied, which changes weights in place. In
        # float16, gradients of losses as they are would vanish.
        gradients = [
            _gradients(optimizer.scale_loss(outcome[name]), tail.trainable_variables)
            for tail, optimizer, name in updates
        ]
        with torch.no_grad():
            for (tail, optimizer, _), own in zip(updates, gradients, strict=True):
                optimizer.apply(own, tail.trainable_variables)
        return keras.tree.map_structure(torch.Tensor.detach, outcome)

    def gradient_penalty(self, majority, fakes):
        """Returns the gradient penalty at random points between majority and fakes."""
        tail = self.discriminator.tail
        real = [in_full_precision(each) for each in keras.tree.flatten(majority)]
        share = torch.rand(len(real[0]), dtype=real[0].dtype, device=real[0].device)
        between = points_between(real, keras.tree.flatten(fakes), share)
        inputs = keras.tree.pack_sequence_as(tail.input, between)
        scores = in_full_precision(tail(inputs, training=True))
        return losses.gradient_norm_penalty(
            torch.autograd.grad(scores.sum(), between, create_graph=True)
        )


def _gradients(loss, variables: list) -> list:
    values = [variable.value for variable in variables]
    return list(torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True))
