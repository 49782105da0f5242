"""A stem in two parts: what depends on the image alone, and the standardisation."""

import keras

from egan_keras import backbones, data
from egan_keras.features.cache import Images
from egan_keras.features.stems import Features, StemFunction
from egan_keras.networks import MajorityStandardization


class StandardizedStem:
    """A stem, and the standardisation at its end if it has one.

    The standardisation is set by the majority that a model is trained on. What stands
    before it depends on the image alone, and that is what is kept in files.

    Args:
        stem: Model from images to one tensor or several.

    Attributes:
        compute: Function from images to features before standardisation.
    """

    def __init__(self, stem: keras.Model) -> None:
        last, self._layer = stem.layers[-1], None
        if isinstance(last, MajorityStandardization):
            self._layer = last
            stem, _ = backbones.cut(stem, 1)
        self.compute = StemFunction(stem)

    @property
    def unadapted(self) -> list[keras.layers.Layer]:
        """The standardisation, in a list, where it is yet to be set."""
        unset = self._layer is not None and not self._layer.is_adapted
        return [self._layer] if unset else []

    def adapt(self, majority: Features) -> Features:
        """Sets the standardisation, unless it is set, and applies it.

        Args:
            majority: The majority's features before standardisation.
        """
        for layer in self.unadapted:
            layer.adapt(majority[0])
        return self.standardized(majority)

    def standardized(self, features: Features) -> Features:
        """Applies the standardisation: to arrays in place, as they may fill the memory.

        Lazy rows are standardised whenever they are read.
        """
        if self._layer is None:
            return features
        mean, deviation = (
            keras.ops.convert_to_numpy(each)
            for each in (self._layer.mean, self._layer.deviation)
        )

        (rows,) = features
        if isinstance(rows, data.LazyRows):
            return [data.MappedRows(lambda read: (read - mean) / deviation, rows)]
        rows -= mean
        rows /= deviation
        return [rows]

    def unkept(self, images: Images) -> Features:
        """Returns features before standardisation, computed whenever they are read."""
        return [
            data.MappedRows(lambda rows, i=i: self.compute(rows)[i], images, shape)
            for i, (shape, _) in enumerate(self.compute.row_types(images.shape[1:]))
        ]
