"""How PyTorch takes and applies the gradients of one adversarial step."""

import keras
import torch

from egan_keras import losses
from egan_keras.model.play import play, points_between
from egan_keras.networks import in_full_precision


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
    outcome = play(model, majority, minority, known_minority)
    if loss.gradient_penalty:
        outcome["discriminator_loss"] += loss.gradient_penalty * _penalty(
            model.discriminator.tail, majority, outcome["fake_features"]
        )
    updates = (
        (model.discriminator.tail, model.optimizer, "discriminator_loss"),
        (model.generator.tail, model.generator_optimizer, "generator_loss"),
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


def _gradients(loss, variables: list) -> list:
    values = [variable.value for variable in variables]
    return list(torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True))


def _penalty(tail, majority, fakes):
    """Returns the gradient penalty at random points between majority and fakes."""
    real = [in_full_precision(each) for each in keras.tree.flatten(majority)]
    share = torch.rand(len(real[0]), dtype=real[0].dtype, device=real[0].device)
    between = points_between(real, keras.tree.flatten(fakes), share)
    inputs = keras.tree.pack_sequence_as(tail.input, between)
    scores = in_full_precision(tail(inputs, training=True))
    return losses.gradient_norm_penalty(
        torch.autograd.grad(scores.sum(), between, create_graph=True)
    )
