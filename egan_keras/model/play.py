"""One forward pass of both networks, from features to losses."""

from keras import ops

from egan_keras.networks import CutNetwork, in_full_precision


def play(model, majority, minority, known_minority=None, part=None) -> dict:
    """Lets the generator make fakes and the discriminator judge them.

    Fakes enter the discriminator where they fit: images before its stem, features
    behind it. Losses that layers add (regularisers, reconstruction) count for the
    network that they belong to.

    Args:
        model: An `EGAN`: its generator turns features of minority images into fakes,
            its discriminator scores features of majority images, and the fakes.
        majority: Features of majority images, from the discriminator's stem.
        minority: Features of minority images, from the generator's stem.
        known_minority: Features of minority images, from the discriminator's stem,
            where its loss sees them too.
        part: Where there are several replicas, which part of a batch the features are
            (`replicas.Part`); what is returned is that of the whole batch.

    Returns:
        `discriminator_loss` and `generator_loss`, scalars; `majority_scores` and
        `fake_scores`, (n, 1); `fake_features`, what the discriminator's tail saw, of
        the part alone.
    """
    generator, discriminator = model.generator, model.discriminator
    loss = model.adversarial_loss
    fakes = generator.tail(minority, training=True)
    generator_penalty = _penalties(generator)
    if makes_images(generator, discriminator):
        fakes = discriminator.stem(fakes, training=False)
    majority_scores = _scores(discriminator, majority)
    fake_scores = _scores(discriminator, fakes)
    minority_scores = None
    if known_minority is not None:
        minority_scores = _scores(discriminator, known_minority)
    discriminator_penalty = _penalties(discriminator)
    if part is not None:
        scores, generator_penalty, discriminator_penalty = part.joined(
            [majority_scores, fake_scores, minority_scores],
            generator_penalty,
            discriminator_penalty,
        )
        majority_scores, fake_scores, minority_scores = scores
    return {
        "discriminator_loss": loss.discriminator(
            majority_scores, fake_scores, minority_scores, model.fake_weight
        )
        + discriminator_penalty,
        "generator_loss": model.choices.adversarial * loss.generator(fake_scores)
        + generator_penalty,
        "majority_scores": majority_scores,
        "fake_scores": fake_scores,
        "fake_features": fakes,
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


def makes_images(generator: CutNetwork, discriminator: CutNetwork) -> bool:
    """Whether fakes are images, rather than features of the discriminator's stem.

    Where rows of features take the place of images, both may have the same shape.
    """
    shape = generator.output_shape
    return len(shape) > 2 and shape == discriminator.input_shape


def check_fakes(generator: CutNetwork, discriminator: CutNetwork) -> None:
    """Refuses a generator whose fakes fit nowhere.

    Raises:
        ValueError: If the fakes are neither images nor features of the discriminator.
    """
    if generator.input_shape != discriminator.input_shape:
        raise ValueError(
            "Generator and discriminator must take the same images. Received: images "
            f"of shape {generator.input_shape} and {discriminator.input_shape}."
        )
    expected = (discriminator.input_shape, discriminator.stem.output_shape)
    if generator.output_shape not in expected:
        raise ValueError(
            "The generator's fakes do not fit the discriminator; expected its images "
            f"{expected[0]} or the features of its stem {expected[1]}. "
            f"Received: {generator.output_shape}."
        )
    scores = discriminator.output_shape
    if scores != (None, 1):
        raise ValueError(
            "The discriminator must put out one score an image; expected an output "
            f"of shape (None, 1). Received: {scores}. End it with "
            "keras.layers.Dense(1), without an activation."
        )
