"""Where features go: memory, or files that later runs read again."""

import os
import shlex
import shutil
import time
import warnings
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
import psutil

from egan_keras import data
from egan_keras.data.lazy import SelectedRows, fingerprint, in_batches
from egan_keras.features.disk import Layout, read_or_compute
from egan_keras.features.stems import Features, StemFunction
from egan_keras.files import cache_folder, in_units
from egan_keras.text import printable

STEM_BATCH_SIZE = 128

# Training holds the features twice or three times.
_COPIES = 3
_SHARE_OF_MEMORY = 0.1
_MOST_BYTES = 10**9

Images = np.ndarray | data.LazyRows


class FeatureStore:
    """Computes features once and keeps them in memory or in files.

    Args:
        place: `"auto"` (or True) takes memory for features that fill at most a tenth
            of the memory available, and at most 1 GB, and files for others, unless
            these cannot be written and the memory holds them;
            `"memory"`; `"disk"`, files in `cache_folder()`; or a folder for the
            files.
        verbose: 0 is silent; 1 and "auto" show progress; 2 does not.

    Raises:
        ValueError: If `place` is none of these, or names a file.
    """

    def __init__(
        self, place: bool | str | os.PathLike = "auto", *, verbose: int | str = 1
    ) -> None:
        self._mode = "auto" if place is True else place
        self._verbose = verbose
        self.folder = cache_folder()
        if not isinstance(place, bool | str | os.PathLike) or place in ("", False):
            raise ValueError(
                "The place of the features must be 'auto', 'memory', 'disk' or a "
                f"folder. Received: {place!r}. Choose one of these."
            )
        if self._mode not in ("auto", "memory", "disk"):
            self._mode, self.folder = "disk", Path(place)
        if self._mode == "disk" and self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                "The place of the features is a file; expected a folder, which is made "
                f"where it is missing. Received: {str(self.folder)!r}. Name a folder."
            )

    @property
    def memory_limit(self) -> float:
        """Bytes of features above which they go to files."""
        if self._mode == "auto":
            available = psutil.virtual_memory().available
            return min(_MOST_BYTES, _SHARE_OF_MEMORY * available)
        return float("inf") if self._mode == "memory" else 0

    def features(
        self, images: Images, compute: StemFunction, what: str, *, show: bool = True
    ) -> Features:
        """Returns the features of images, in their order.

        Args:
            images: (n, h, w, 3), an array or lazy.
            compute: The stem.
            what: What the images are, for messages, such as `majority`.
            show: Whether to show progress, and tell of features in memory; unless
                silent as a whole, files are told of in any case.

        Raises:
            ValueError: If an image cannot be read, or its file is changed meanwhile.
            OSError: If files are to be written and cannot be, and the memory is not
                chosen, or too small.
        """
        layout = Layout(len(images), compute.row_types(images.shape[1:]))
        started = time.perf_counter()
        show = show and bool(self._verbose)
        what = printable(what)
        if layout.nbytes <= self.memory_limit:
            features = _filled(layout, self._computed(images, compute, what, show))
            if show:
                _tell(layout, what, f"computed once in {_seconds(started)}")
            return features
        in_memory = isinstance(images, np.ndarray)
        if in_memory:
            images = SelectedRows(images, np.arange(len(images)))
        images_mark = fingerprint(images.identity())
        mark = fingerprint(iter([images_mark.encode()]), compute.identity())
        folder = self.folder.expanduser().absolute() / mark

        def compute_from(start: int) -> Iterable[list[np.ndarray]]:
            yield from self._computed(images, compute, what, show, start)
            # What was read need not be what was recognised before.
            if not in_memory and images_mark != fingerprint(images.identity()):
                shutil.rmtree(folder.with_name(f"{mark}.partial"), ignore_errors=True)
                raise ValueError(
                    f"Files of {what} images changed while they were read, so that "
                    "their features are of no one state; expected files that stay as "
                    f"they are. Received: {len(images):,} images. Run it again when "
                    "nothing writes to them."
                )

        try:
            features, found = read_or_compute(folder, layout, compute_from)
        except OSError as error:
            available = psutil.virtual_memory().available
            if self._mode != "auto" or _COPIES * layout.nbytes > available:
                raise
            warnings.warn(
                f"The features go to memory, since they cannot be kept: {error}",
                stacklevel=2,
            )
            return _filled(layout, self._computed(images, compute, what, show))
        if self._verbose:
            how = f"computed once in {_seconds(started)} and kept for later runs"
            if found == layout.count:
                how = "computed by an earlier run"
            _tell(layout, what, how)
            print(f"  To delete them: rm -r {shlex.quote(str(folder))}")
        return features

    def _computed(
        self,
        images: Images,
        compute: StemFunction,
        what: str,
        show: bool,
        start: int = 0,
    ) -> Iterable[list[np.ndarray]]:
        """Yields features batch by batch, and shows how far they are."""
        count = -(-len(images) // STEM_BATCH_SIZE)
        if show:
            again = f", from image {start:,} on, where it stopped" if start else ""
            print(f"Computing frozen features of {len(images):,} {what} images{again}")
        # As in Keras, 2 is for log files.
        show = show and count > 0 and self._verbose != 2
        progress = keras.utils.Progbar(count, verbose=int(show))
        progress.update(start // STEM_BATCH_SIZE)
        for batch in in_batches(images, STEM_BATCH_SIZE, start):
            yield compute(batch)
            progress.add(1)


def _tell(layout: Layout, what: str, how: str) -> None:
    size = in_units(layout.nbytes)
    print(f"Frozen features of {layout.count:,} {what} images: {size}, {how}.")


def _filled(layout: Layout, batches: Iterable[list[np.ndarray]]) -> Features:
    """Returns batches as one array for each tensor, without a second copy of them."""
    arrays = [
        np.empty((layout.count, *shape), dtype) for shape, dtype in layout.row_types
    ]
    start = 0
    for batch in batches:
        for array, rows in zip(arrays, batch, strict=True):
            array[start : start + len(rows)] = rows
        start += len(batch[0])
    return arrays


def _seconds(started: float) -> str:
    return f"{time.perf_counter() - started:.1f} s"
