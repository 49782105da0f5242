"""Keras Applications by name: constructors, preprocessing, sizes, and the cut."""

import ast
import dataclasses
import difflib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from egan_keras import keras_hooks
from egan_keras.keras_hooks import Tensor

# What Keras Applications itself requires without its top; all others take 32.
_MINIMUM_SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}

# The image size that the published ImageNet weights were trained on; all others 224.
_BY_NATIVE_SIZE = {
    240: "EfficientNetB1 EfficientNetV2B1",
    260: "EfficientNetB2 EfficientNetV2B2",
    299: "InceptionResNetV2 InceptionV3 Xception",
    300: "EfficientNetB3 EfficientNetV2B3",
    331: "NASNetLarge",
    380: "EfficientNetB4",
    384: "EfficientNetV2S",
    456: "EfficientNetB5",
    480: "EfficientNetV2M EfficientNetV2L",
    528: "EfficientNetB6",
    600: "EfficientNetB7",
}
_NATIVE_SIZES = {
    name: size for size, names in _BY_NATIVE_SIZE.items() for name in names.split()
}

# Keras has ImageNet weights of MobileNet and MobileNetV2 for some sizes alone, others
# for each, and takes those of NASNet at one size; the others' serve every size.
_ONE_SIZE_WEIGHTS = {"MobileNet", "MobileNetV2", "NASNetLarge", "NASNetMobile"}

_RESERVED_OPTIONS = (
    "include_top weights input_tensor input_shape pooling classes "
    "classifier_activation name"
).split()


def names() -> list[str]:
    """Returns the class names of all backbones of Keras Applications, sorted."""
    return sorted(
        name
        for name, value in vars(keras.applications).items()
        if name[0].isupper() and callable(value)
    )


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One architecture of Keras Applications with its options.

    Attributes:
        name: Class name in `keras.applications`.
        options: Keyword arguments of its constructor, such as `{"alpha": 0.35}`.
    """

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, spec: "str | Backbone") -> "Backbone":
        """Reads `Name` or `Name:option=value,option=value`.

        A `Backbone` is returned as it is; an unknown name or option, and a value that
        is no Python literal, is a ValueError.

        >>> Backbone.parse("MobileNetV2:alpha=0.35").options
        {'alpha': 0.35}
        """
        if isinstance(spec, Backbone):
            return spec
        name, _, rest = str(spec).partition(":")
        if name not in names():
            near = difflib.get_close_matches(name, names(), n=4, cutoff=0.4)
            raise ValueError(
                "Unknown backbone; expected a class name of Keras Applications. "
                f"Received: {spec!r}. Did you mean one of {', '.join(near or names())}?"
            )
        try:
            call = ast.parse(f"f({rest})", mode="eval").body
            if not isinstance(call, ast.Call) or call.args:
                raise ValueError("no '='")
            options = {
                str(each.arg): ast.literal_eval(each.value) for each in call.keywords
            }
        except (ValueError, SyntaxError, AttributeError) as error:
            raise ValueError(
                "Unreadable options of a backbone; expected Name:option=value with "
                f"numbers, True, False or quoted text. Received: {spec!r}. "
                "Example: MobileNetV2:alpha=0.35"
            ) from error
        known = inspect.signature(getattr(keras.applications, name)).parameters
        allowed = sorted({*known} - {*_RESERVED_OPTIONS})
        if not {*options} <= {*allowed}:
            expected = ", ".join(allowed) or "no options"
            raise ValueError(
                f"Unknown option of backbone {name}; expected {expected}. "
                f"Received: {spec!r}."
            )
        return cls(name, options)

    def __str__(self) -> str:
        """Returns the text that `parse` reads."""
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}:{options}" if options else self.name

    @property
    def native_size(self) -> int:
        """The side, in pixels, of the images its ImageNet weights were trained on."""
        return _NATIVE_SIZES.get(self.name, 224)

    @property
    def minimum_size(self) -> int:
        """The smallest side, in pixels, that it takes."""
        return _MINIMUM_SIZES.get(self.name, 32)

    @property
    def preprocess_input(self) -> Callable[..., Tensor]:
        """Keras's own function from pixels 0..255 to what the backbone takes."""
        constructor = getattr(keras.applications, self.name)
        return sys.modules[constructor.__module__].preprocess_input

    def build(
        self, size: int, *, weights: str | os.PathLike[str] | None = "imagenet"
    ) -> keras.Model:
        """Builds the network without its classification top.

        ImageNet weights are those of the native size whatever `size` is: a model should
        not change its weights when its images change their size.

        Args:
            size: Side of the square input in pixels, at least `minimum_size`.
            weights: `"imagenet"`, `None` or `"none"` for random initial weights, or
                the path of a weights file without top.

        Returns:
            A Keras model from (n, size, size, 3) preprocessed images to feature maps.

        Raises:
            ValueError: If `size` is too small, or Keras is set to channels first.
            FileNotFoundError: If `weights` names a file that does not exist.
            OSError: If the ImageNet weights are neither on disk nor to be downloaded.
        """
        self.check(size, weights)
        keras_hooks.share_accelerators()
        if weights == "imagenet":
            return self._construct_pretrained(size)
        return self._construct(
            size, None if weights in (None, "none") else str(weights)
        )

    def check(
        self, size: int, weights: str | os.PathLike[str] | None = "imagenet"
    ) -> None:
        """Refuses what `build` would, as far as nothing need be built for that."""
        data_format = keras.config.image_data_format()
        if data_format != "channels_last":
            raise ValueError(
                "Keras is set to images with their channels first; expected "
                f'image_data_format="channels_last". Received: "{data_format}", from '
                f"keras.json in the folder {_keras_folder()} or from the program. "
                "Change it there, or call "
                'keras.config.set_image_data_format("channels_last") first.'
            )
        if size < self.minimum_size:
            raise ValueError(
                f"Images are too small for the backbone {self.name}; expected sides "
                f"of at least {self.minimum_size} pixels. Received: {size}. Give a "
                f"larger network_size (--network-size {self.minimum_size})."
            )
        if weights not in ("imagenet", None, "none"):
            check_weights_file(weights)

    def _construct(self, size: int, weights: str | None) -> keras.Model:
        # Without a name: some constructors make the weights' file name from it.
        options = {"input_shape": (size, size, 3), **self.options}
        constructor = getattr(keras.applications, self.name)
        return constructor(include_top=False, weights=weights, **options)

    def _construct_pretrained(self, size: int) -> keras.Model:
        native = self.native_size
        if self.name in _ONE_SIZE_WEIGHTS and size != native:
            resized = self._construct(size, None)
            resized.set_weights(self._construct_pretrained(native).get_weights())
            return resized
        try:
            return self._construct(size, "imagenet")
        except Exception as error:
            file = keras_hooks.file_not_downloaded(error)
            if file is None:
                raise
            raise OSError(
                f"The ImageNet weights of {self} are not on this machine and could "
                f"not be downloaded. Put the file {file} into "
                f"{_keras_folder() / 'models'}, or give weights=FILE (--weights FILE), "
                "or weights=None (--weights none) to start from random weights."
            ) from error


def check_weights_file(path: str | os.PathLike[str]) -> None:
    """Refuses a path at which there is no file."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            "The weights file does not exist; expected 'imagenet', 'none' or the path "
            "of a Keras Applications weights file without top. Received: "
            f"weights={str(path)!r}."
        )


def _keras_folder() -> Path:
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))


@keras.saving.register_keras_serializable("egan_keras")
class BackbonePreprocessing(keras.layers.Layer):
    """A backbone's own preprocessing as a layer, so that it is saved and exported.

    The backbone is a class name in `keras.applications`.
    """

    def __init__(self, backbone: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backbone = backbone
        self.preprocess_input = Backbone.parse(backbone).preprocess_input

    def call(self, images: Tensor) -> Tensor:
        """Returns what the backbone takes, the same shape."""
        return self.preprocess_input(images, data_format="channels_last")

    def compute_output_shape(self, input_shape: Sequence[int]) -> Sequence[int]:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "backbone": self.backbone}


def cut(
    backbone: keras.Model, trained_layers: int | str
) -> tuple[keras.Model, keras.Model]:
    """Cuts a network into a frozen stem and a trained tail that share its layers.

    A cut through skip connections has several tensors on its frontier; the stem then
    puts out a list of them and the tail takes that list. `tail(stem(x))` equals
    `backbone(x)`.

    Args:
        backbone: A functional Keras model with one output, each layer used once.
        trained_layers: The number of layers, counted from the end, that form the
            tail, or the name of the tail's first layer.

    Returns:
        `(stem, tail)`. The stem is marked as not trainable.

    Raises:
        ValueError: If there is no such layer, or nothing would be left on one side.
    """
    known = [layer.name for layer in backbone.layers]
    if trained_layers in known:
        index = known.index(trained_layers)
    elif isinstance(trained_layers, str):
        near = difflib.get_close_matches(trained_layers, known, n=4, cutoff=0.3)
        raise ValueError(
            "No layer of that name to cut at; expected a layer of the backbone. "
            f"Received: {trained_layers=}. Near matches: {', '.join(near) or 'none'}."
        )
    else:
        index = len(known) - trained_layers
    if not 0 < index < len(known):
        raise ValueError(
            "The cut must leave layers on both sides; expected between 1 and "
            f"{len(known) - 1} trained layers. Received: {trained_layers=}."
        )
    first, operations = backbone.layers[index], backbone.operations
    before = set(operations[: operations.index(first)])
    # A layer's own `output` would not do: a nested model's is inside that model.
    produced: dict[int, Tensor] = {}
    consumed: set[int] = set()
    for node in keras_hooks.nodes(backbone):
        if node.operation in before:
            produced.update((id(tensor), tensor) for tensor in node.output_tensors)
        else:
            consumed.update(id(tensor) for tensor in node.input_tensors)
    tensors = [tensor for key, tensor in produced.items() if key in consumed]
    tensors = tensors[0] if len(tensors) == 1 else tensors
    stem = keras.Model(backbone.input, tensors, name=f"{backbone.name}_stem")
    tail = keras.Model(tensors, backbone.output, name=f"{backbone.name}_tail")
    stem.trainable = False
    return stem, tail
