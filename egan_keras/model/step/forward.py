"""One forward pass of both networks, from features to losses."""

from keras import ops

from egan_keras.model.fakes import makes_images
from egan_keras.model.step.protocol import Trainee
from egan_keras.networks import CutNetwork, in_full_precision


def forward(model: Trainee, majority, minority, known_minority=None) -> dict:
    """Lets the generator make fakes and the discriminator score them.

    Fakes enter the discriminator where they fit: images before its stem, features
    behind it. Losses that layers add (regularisers, reconstruction) are penalties of
    the network that they belong to; the gradient penalty is one of the discriminator.

    Args:
        model: An `EGAN`: its generator turns features of minority images into fakes,
            its discriminator scores features of majority images, and the fakes.
        majority: Features of majority images, from the discriminator's stem.
        minority: Features of minority images, from the generator's stem.
        known_minority: Features of minority images, from the discriminator's stem,
            where its loss sees them too.

    Returns:
        `majority_scores`, `fake_scores` and `known_scores`, (n, 1), the last `None`
        without known minority; `discriminator_penalty` and `generator_penalty`,
        scalars.
    """
    generator, discriminator = model.generator, model.discriminator
    fakes = generator.tail(minority, training=True)
    generator_penalty = _penalties(generator)
    if makes_images(generator, discriminator):
        fakes = discriminator.stem(fakes, training=False)
    majority_scores = _scores(discriminator, majority)
    fake_scores = _scores(discriminator, fakes)
    known_scores = None
    if known_minority is not None:
        known_scores = _scores(discriminator, known_minority)
    discriminator_penalty = _penalties(discriminator)
    if weight := model.adversarial_loss.gradient_penalty:
        gradient_penalty = model.gradient_penalty(majority, fakes)
        discriminator_penalty = discriminator_penalty + weight * gradient_penalty
    return {
        "majority_scores": majority_scores,
        "fake_scores": fake_scores,
        "known_scores": known_scores,
        "discriminator_penalty": discriminator_penalty,
        "generator_penalty": generator_penalty,
    }


def with_losses(model: Trainee, passed: dict) -> dict:
    """Returns the losses of a forward pass, beside the scores of both classes.

    Args:
        model: The `EGAN`.
        passed: What `forward` returned.

    Returns:
        `discriminator_loss` and `generator_loss`, scalars; `majority_scores` and
        `fake_scores`, (n, 1).
    """
    loss = model.adversarial_loss
    majority_scores, fake_scores = passed["majority_scores"], passed["fake_scores"]
    return {
        "discriminator_loss": loss.discriminator(
            majority_scores, fake_scores, passed["known_scores"], model.fake_weight
        )
        + passed["discriminator_penalty"],
        "generator_loss": model.recipe.adversarial * loss.generator(fake_scores)
        + passed["generator_penalty"],
        "majority_scores": majority_scores,
        "fake_scores": fake_scores,
    }


def _scores(discriminator: CutNetwork, features):
    return in_full_precision(discriminator.tail(features, training=True))


def _penalties(network: CutNetwork):
    return sum(map(in_full_precision, network.tail.losses))


def points_between(majority: list, fakes: list, share) -> list:
    """Returns points between majority and fakes, for the gradient penalty.

    Args:
        majority: float tensors (n, ...), the discriminator's features.
        fakes: float tensors (m, ...), those of fakes, taken in turn.
        share: How far each point is moved to the majority, 0..1, shape (n,).

    Returns:
        A list of float tensors (n, ...), float32 where 16 bits were given.
    """
    partners = ops.arange(ops.shape(majority[0])[0]) % ops.shape(fakes[0])[0]
    between = []
    for ours, theirs in zip(majority, fakes, strict=True):
        weight = ops.reshape(share, (-1, *[1] * (len(ours.shape) - 1)))
        other = in_full_precision(ops.take(theirs, partners, axis=0))
        between.append(weight * in_full_precision(ours) + (1 - weight) * other)
    return between
