"""Where a generator's fakes enter the discriminator."""

from egan_keras.networks import CutNetwork


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
