"""How PyTorch takes and applies the gradients of one adversarial step."""

import keras
import torch

from egan_keras import losses
from egan_keras.model.play import play, points_between


def adversarial_step(model, majority, minority, known_minority=None) -> dict:
    """Updates discriminator and generator from one forward pass.

    Args:
        model: An `EGAN`.
        majority: The discriminator's features of a batch of majority images.
        minority: The generator's features of a batch of minority images.
        known_minority: The discriminator's features of minority images, or `None`.

    Returns:
        What `play` returned, without its history of operations.
    """
    loss = model.adversarial_loss
    outcome = play(
        model.generator,
        model.discriminator,
        loss,
        majority,
        minority,
        known_minority,
        model.fake_weight,
        model.choices.adversarial,
    )
    if loss.gradient_penalty:
        outcome["discriminator_loss"] += loss.gradient_penalty * _penalty(
            model.discriminator.tail, majority, outcome["fake_features"]
        )
    # Both are taken before either is applied, which changes weights in place.
    updates = [
        (optimizer, *_gradients(outcome[name], network.tail.trainable_variables))
        for network, optimizer, name in (
            (model.discriminator, model.optimizer, "discriminator_loss"),
            (model.generator, model.generator_optimizer, "generator_loss"),
        )
    ]
    with torch.no_grad():
        for optimizer, gradients, variables in updates:
            optimizer.apply(gradients, variables)
    return keras.tree.map_structure(torch.Tensor.detach, outcome)


def _gradients(loss, variables: list) -> tuple[list, list]:
    values = [variable.value for variable in variables]
    gradients = torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True)
    return list(gradients), variables


def _penalty(tail, majority, fakes):
    """Returns the gradient penalty at random points between majority and fakes."""
    real = keras.tree.flatten(majority)
    share = torch.rand(len(real[0]), device=real[0].device)
    between = points_between(real, keras.tree.flatten(fakes), share)
    scores = tail(keras.tree.pack_sequence_as(tail.input, between), training=True)
    return losses.gradient_norm_penalty(
        torch.autograd.grad(scores.sum(), between, create_graph=True)
    )
