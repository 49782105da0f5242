"""Features computed once, and kept in memory or in files that later runs read."""

import os
import shlex
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import psutil

from egan_keras import data
from egan_keras.data.lazy import FileRows, SelectedRows, fingerprint, in_batches
from egan_keras.features.feature_files import Layout, read_or_compute
from egan_keras.features.stems import Features, Images, StemFunction, compiled
from egan_keras.files import cache_folder, in_units, telling_full_disk
from egan_keras.text import printable

_BATCH_SIZE = 128
# Training holds the features twice or three times.
_COPIES = 3
_SHARE_OF_MEMORY = 0.1
_MOST_BYTES = 10**9

Batches = data.ArrayBatches | data.DatasetBatches


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
        if not isinstance(place, bool | str | os.PathLike) or place in ("", False):
            raise ValueError(
                "The place of the features must be 'auto', 'memory', 'disk' or a "
                f"folder. Received: {place!r}. Choose one of these."
            )
        self._mode, self.folder = "auto" if place is True else place, cache_folder()
        if self._mode not in ("auto", "memory", "disk"):
            self._mode, self.folder = "disk", Path(place)
        self.folder = self.folder.expanduser()
        if self._mode == "disk" and self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                "The place of the features is a file; expected a folder, which is made "
                f"where it is missing. Received: {str(self.folder)!r}. Name a folder."
            )
        self._verbose = verbose
        self._minority: Images | None = None
        self._row_of: dict[int, int] = {}
        self._shared: dict[tuple[StemFunction, str], Features] = {}

    def share(self, minority: Images) -> None:
        """Makes several fits of one model read the same features from memory.

        The fits have the same images but for the minority, which is some of this one.

        Args:
            minority: All minority images that a fit may be given, mirrored ones too.
        """
        hashes = data.row_hashes(minority).tolist()
        self._minority, self._row_of = minority, {h: i for i, h in enumerate(hashes)}

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
        if self._minority is None:
            return self._read_or_computed(images, compute, what, show)
        is_minority, key = what == "minority", (compute, what)
        if key not in self._shared:
            pool = self._minority if is_minority else images
            found = self._read_or_computed(pool, compute, what, show)
            fit = [each.nbytes <= _memory_limit("auto") for each in found]
            self._shared[key] = [
                np.asarray(each) if fits else each
                for each, fits in zip(found, fit, strict=True)
            ]
        found = self._shared[key]
        if is_minority:
            rows = [self._row_of[each] for each in data.row_hashes(images).tolist()]
            return [each[rows] for each in found]
        # Standardisation changes arrays in place.
        return [x if isinstance(x, data.LazyRows) else x.copy() for x in found]

    def _read_or_computed(
        self, images: Images, compute: StemFunction, what: str, show: bool
    ) -> Features:
        layout = Layout(len(images), compute.row_types(images.shape[1:]))
        what, verbose = printable(what), self._verbose if show else 0
        started, mark, folder = time.perf_counter(), None, None
        is_array = isinstance(images, np.ndarray)

        def computed(start: int = 0) -> Iterator[list[np.ndarray]]:
            again = f", from image {start:,} on, where it stopped" if start else ""
            doing = (
                f"Computing frozen features of {layout.count:,} {what} images{again}"
            )
            batches = in_batches(images, _BATCH_SIZE, start)
            counts = -(-layout.count // _BATCH_SIZE), start // _BATCH_SIZE
            for batch in _shown(batches, doing, verbose, *counts):
                yield compute(batch)
            # What was read need not be what was recognised before.
            if mark and not is_array and mark != fingerprint(images.identity()):
                shutil.rmtree(f"{folder}.partial", ignore_errors=True)
                raise ValueError(
                    f"Files of {what} images changed while they were read, so that "
                    "their features are of no one state; expected files that stay as "
                    f"they are. Received: {layout.count:,} images. Run it again when "
                    "nothing writes to them."
                )

        if layout.nbytes > _memory_limit(self._mode):
            rows = SelectedRows(images, np.arange(len(images))) if is_array else images
            mark = fingerprint(rows.identity())
            name = fingerprint(iter([mark.encode()]), compute.identity())
            folder = self.folder.absolute() / name
            try:
                features, found = read_or_compute(folder, layout, computed)
            except OSError as error:
                available = psutil.virtual_memory().available
                if self._mode != "auto" or _COPIES * layout.nbytes > available:
                    raise
                warnings.warn(
                    f"The features go to memory, since they cannot be kept: {error}",
                    stacklevel=3,
                )
                mark = folder = None
        how = f"computed once in {{:.1f}} s{' and kept for later runs' * bool(folder)}"
        if folder is None:
            features = _filled(layout, computed())
        elif found == layout.count:
            how = "computed by an earlier run"
        if verbose or (folder and self._verbose):
            size, seconds = in_units(layout.nbytes), time.perf_counter() - started
            of = f"Frozen features of {layout.count:,} {what} images"
            print(f"{of}: {size}, {how.format(seconds)}.")
        if folder and self._verbose:
            print(f"  To delete them: rm -r {shlex.quote(str(folder))}")
        return features


def stem_features(stem: keras.Model, images: Images) -> list[np.ndarray]:
    """Returns what a stem puts out for images, computed batch by batch, in memory.

    Args:
        stem: Model from images to one tensor or several.
        images: (n, h, w, 3), an array or lazy.
    """
    store = FeatureStore("memory", verbose=0)
    return store.features(images, compiled(stem).whole, "")


def by_class(
    batches: Batches,
    compute: StemFunction | None,
    *,
    cache: FeatureStore | None = None,
    verbose: int | str = 1,
) -> tuple[Features, Features]:
    """Splits the classes and computes the majority's features in one pass.

    Args:
        batches: Batches of images (n, h, w, 3) and labels (n,), 0 or 1.
        compute: For the majority images; `None` keeps the images themselves.
        cache: Where the features go; `None` is memory. What a dataset's batches give
            goes to a temporary file where memory is not the place, since a dataset
            cannot be recognised by a later run.
        verbose: 0 is silent; 1 and "auto" show progress; 2 does not.

    Returns:
        The majority's features, and the minority's images as a list of one array.
        Either is lazy where it is not in memory.
    """
    cache = cache or FeatureStore("memory", verbose=verbose)
    if batches.labels is not None:
        images, labels = batches.images, batches.labels
        majority, minority = (np.flatnonzero(labels == label) for label in (0, 1))
        if isinstance(images, data.LazyRows):
            majority, minority = images.select(majority), images.select(minority)
        else:
            # With features of its own the majority needs no second copy.
            majority = SelectedRows(images, majority) if compute else images[majority]
            minority = images[minority]
        if compute:
            return cache.features(majority, compute, "majority"), [minority]
        return [majority], [minority]
    started = time.perf_counter()
    majority, minority = _Gathered(compute, cache), _Gathered(None, cache)
    doing = "Computing frozen features" if compute else "Reading images"
    for images, labels in _shown(batches, doing, verbose, batches.n_batches):
        majority.add(images[labels == 0])
        minority.add(images[labels == 1])
    features = majority.result()
    if verbose and compute:
        size = in_units(sum(rows.nbytes for rows in features))
        place = f", in a temporary file in {cache.folder}" if majority.files else ""
        print(
            f"Frozen features of {majority.count:,} majority images: {size}{place}, "
            f"computed once in {time.perf_counter() - started:.1f} s instead of in "
            "every epoch."
        )
        if majority.files:
            print(
                "A later run computes them again, because a tf.data.Dataset cannot be "
                "recognised: pass arrays, or images of load_folder(..., lazy=True)."
            )
    return features, minority.result()


def labelled(
    batches: Batches, compute: StemFunction, *, cache: FeatureStore | None = None
) -> tuple[Features, np.ndarray]:
    """Returns the features of labelled images, and their labels, in their order.

    Args:
        batches: Batches of images (n, h, w, 3) and labels (n,), 0 or 1.
        compute: The stem.
        cache: As in `by_class`; `None` is memory, in silence.
    """
    cache = cache or FeatureStore("memory", verbose=0)
    if batches.labels is not None:
        return cache.features(batches.images, compute, "validation"), batches.labels
    features, labels = _Gathered(compute, cache), []
    for images, own_labels in batches:
        features.add(images)
        labels.append(own_labels)
    return features.result(), np.concatenate(labels)


class _Gathered:
    """Features of images that come in batches of any size.

    Beyond the store's share of memory they go on in temporary files, which have no
    name and so vanish with the program, however it ends.
    """

    def __init__(self, compute: StemFunction | None, cache: FeatureStore) -> None:
        self._compute = compute or (lambda images: [images])
        self._folder, self._room = cache.folder, _memory_limit(cache._mode)
        # Images that wait, and features that are in memory.
        self._images, self._batches = [], []
        self.files, self.count = [], 0

    def add(self, images: np.ndarray) -> None:
        if len(images):
            self._images.append(images)
            self.count += len(images)
        if sum(map(len, self._images)) >= _BATCH_SIZE:
            self._compute_batch()

    def _compute_batch(self) -> None:
        batch = self._compute(np.concatenate(self._images))
        self._types = [(array.shape[1:], array.dtype) for array in batch]
        self._images = []
        self._batches.append(batch)
        self._room -= sum(array.nbytes for array in batch)
        if self._room >= 0:
            return
        with telling_full_disk(self._folder / "features"):
            self._folder.mkdir(parents=True, exist_ok=True)
            while len(self.files) < len(batch):
                self.files.append(tempfile.TemporaryFile(dir=self._folder))
            for batch in self._batches:
                for file, array in zip(self.files, batch, strict=True):
                    file.write(np.ascontiguousarray(array).data)
                    file.flush()
        self._batches = []

    def result(self) -> Features:
        if self._images:
            self._compute_batch()
        if self.files:
            return [
                FileRows(file, 0, (self.count, *shape), dtype)
                for file, (shape, dtype) in zip(self.files, self._types, strict=True)
            ]
        if not self.count:
            return [np.empty((0,), "float32")]
        return [np.concatenate(parts) for parts in zip(*self._batches, strict=True)]


def _memory_limit(mode: str) -> float:
    """Returns how many bytes of features stay in memory."""
    if mode == "auto":
        available = psutil.virtual_memory().available
        return min(_MOST_BYTES, _SHARE_OF_MEMORY * available)
    return float("inf") if mode == "memory" else 0


def _filled(layout: Layout, batches: Iterable[list[np.ndarray]]) -> Features:
    """Returns batches as one array for each tensor, without a second copy of them."""
    arrays = [np.empty((layout.count, *shape), t) for shape, t in layout.row_types]
    start = 0
    for batch in batches:
        for array, rows in zip(arrays, batch, strict=True):
            array[start : start + len(rows)] = rows
        start += len(batch[0])
    return arrays


def _shown(
    batches: Iterable, doing: str, verbose: int | str, count: int | None, done: int = 0
) -> Iterator:
    """Yields batches, and shows what is done and how far it is."""
    if verbose:
        print(doing)
    # As in Keras, 2 is for log files.
    is_drawn = verbose not in (0, 2) and count != 0
    progress = keras.utils.Progbar(count, verbose=int(is_drawn))
    progress.update(done)
    for batch in batches:
        yield batch
        done += 1
        progress.update(done)
    if count is None:
        progress.update(done, finalize=True)
