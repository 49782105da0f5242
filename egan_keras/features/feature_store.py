"""Features computed once, and kept in memory or in files that later runs read."""

import os
import shlex
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil

from egan_keras import data, logs
from egan_keras.data.lazy import FileRows, SelectedRows, fingerprint
from egan_keras.features.feature_files import read_or_compute
from egan_keras.features.stems import (
    Features,
    Images,
    KeptMaps,
    Layout,
    StemFunction,
    compiled,
)
from egan_keras.files import cache_folder, in_units, telling_full_disk
from egan_keras.text import printable

_BATCH_SIZE = 64
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
        self.mode, self.folder = "auto" if place is True else place, cache_folder()
        if self.mode not in ("auto", "memory", "disk"):
            self.mode, self.folder = "disk", Path(place)
        self.folder = self.folder.expanduser()
        if self.mode == "disk" and self.folder.exists() and not self.folder.is_dir():
            raise ValueError(
                "The place of the features is a file; expected a folder, which is made "
                f"where it is missing. Received: {str(self.folder)!r}. Name a folder."
            )
        self._verbose = verbose

    def features(
        self,
        images: Images,
        compute: StemFunction,
        what: str,
        *,
        show: bool = True,
        kept_maps: KeptMaps | None = None,
    ) -> Features:
        """Returns the features of images, in their order.

        Args:
            images: (n, h, w, 3), an array or lazy.
            compute: The stem.
            what: What the images are, for messages, such as `majority`.
            show: Whether to show progress; files are told of in any case.
            kept_maps: Computes the same, and sees the images not yet computed.

        Raises:
            ValueError: If an image cannot be read, or its file is changed meanwhile.
            OSError: If files cannot be written, and the memory is not chosen or small.
        """
        layout = Layout(len(images), compute.row_types(images.shape[1:]))
        of = f"features of {layout.count:,} {printable(what)} images"
        verbose = self._verbose if show else 0
        started, mark, folder = time.perf_counter(), None, None
        may_change = not isinstance(images, np.ndarray)
        if not may_change:
            images = SelectedRows(images, np.arange(len(images)))

        def computed(start: int = 0) -> Iterator[list[np.ndarray]]:
            again = f", from image {start:,} on, where it stopped" if start else ""
            doing = f"Computing frozen {of}{again}"
            counts = -(-layout.count // _BATCH_SIZE), start // _BATCH_SIZE
            batches = images.batches(_BATCH_SIZE, start)
            # Where files are read the next time, maps are in files, too.
            run = compute if folder else kept_maps or compute
            with compute.pass_over(layout.count):
                yield from map(run, _shown(batches, doing, verbose, *counts))
            # What was read need not be what was recognised before.
            if mark and may_change and mark != fingerprint(images.identity()):
                shutil.rmtree(f"{folder}.partial", ignore_errors=True)
                raise ValueError(
                    f"Files of {printable(what)} images changed while they were read, "
                    "so that their features are of no one state; expected files that "
                    f"stay as they are. Received: {layout.count:,} images. Run it "
                    "again when nothing writes to them."
                )

        if layout.nbytes > _room(self.mode):
            mark = fingerprint(images.identity())
            name = fingerprint(iter([mark.encode()]), compute.identity())
            folder = self.folder.absolute() / name
            try:
                features, n_found = read_or_compute(folder, layout, computed)
            except OSError as error:
                available = psutil.virtual_memory().available
                if self.mode != "auto" or _COPIES * layout.nbytes > available:
                    raise
                mark = folder = None
                warnings.warn(
                    f"The features go to memory, since they cannot be kept: {error}",
                    stacklevel=2,
                )
        if folder is None:
            # Filled in place: to join batches would take the memory twice.
            features = [np.empty((layout.count, *x), t) for x, t in layout.row_types]
            start = 0
            for batch in computed():
                for array, rows in zip(features, batch, strict=True):
                    array[start : start + len(rows)] = rows
                start += len(batch[0])
        seconds = time.perf_counter() - started
        how, advice = f"computed once in {seconds:.1f} s by {compute.engine}", ""
        if folder and self._verbose:
            verbose = self._verbose
            how += " and kept for later runs"
            how = "computed by an earlier run" if n_found == layout.count else how
            advice = f"\n  To delete them: rm -r {shlex.quote(str(folder))}"
        if verbose:
            print(f"Frozen {of}: {in_units(layout.nbytes)}, {how}.{advice}")
        return features

    def once(self, compute: StemFunction, make: Callable[[], Any]) -> Any:
        """Returns what `make` makes of the majority; a shared store makes it once."""
        return make()


class SharedFeatureStore(FeatureStore):
    """A store for several fits of one model, which read the same features from memory.

    Their images are the same but for the minority, which is some of that given here.

    Args:
        place: As of `FeatureStore`.
        minority: Minority images of all fits.
    """

    def __init__(self, place: bool | str | os.PathLike, minority: Images) -> None:
        super().__init__(place, verbose=0)
        hashes = data.row_hashes(minority).tolist()
        self._pool, self._row_of = minority, {x: row for row, x in enumerate(hashes)}
        self._shared: dict[tuple[StemFunction, str], Features] = {}
        self._made: dict[StemFunction, Any] = {}

    def features(
        self, images: Images, compute: StemFunction, what: str, **options
    ) -> Features:
        """Returns the features of images, in their order, as `FeatureStore` does."""
        key, is_minority = (compute, what), what == "minority"
        if key not in self._shared:
            every = self._pool if is_minority else images
            found = super().features(every, compute, what, **options)
            room = _room("auto")
            found = [each if each.nbytes > room else np.asarray(each) for each in found]
            self._shared[key] = found
        if is_minority:
            rows = [self._row_of[each] for each in data.row_hashes(images).tolist()]
            return [each[rows] for each in self._shared[key]]
        # Standardisation changes arrays in place.
        found = self._shared[key]
        return [x if isinstance(x, data.LazyRows) else x.copy() for x in found]

    def once(self, compute: StemFunction, make: Callable[[], Any]) -> Any:
        """Returns what `make` made of the majority of the first fit."""
        if compute not in self._made:
            self._made[compute] = make()
        return self._made[compute]


def stem_features(stem: keras.Model, images: Images) -> list[np.ndarray]:
    """Returns what a stem puts out for images, computed batch by batch, in memory."""
    store = FeatureStore("memory", verbose=0)
    return store.features(images, compiled(stem), "")


def labelled(
    batches: Batches, compute: StemFunction, *, cache: FeatureStore | None = None
) -> tuple[Features, np.ndarray]:
    """Returns the features of labelled images, and their labels, in their order.

    They go to the cache as in `by_class`; without one to memory, in silence.
    """
    cache = cache or FeatureStore("memory", verbose=0)
    if batches.labels is not None:
        return cache.features(batches.images, compute, "validation"), batches.labels
    features, labels = _Gathered(compute, cache), []
    with compute.pass_over():
        for images, own_labels in batches:
            features.add(images)
            labels.append(own_labels)
        return features.result(), np.concatenate(labels)


def by_class(
    batches: Batches,
    compute: StemFunction | None,
    *,
    cache: FeatureStore | None = None,
    verbose: int | str = 1,
    kept_maps: KeptMaps | None = None,
) -> tuple[Features, Features]:
    """Splits the classes and computes the majority's features in one pass.

    Returns the majority's features (the images, if `compute` is `None`) and the
    minority's images as a list of one array; each is lazy where it is not in memory.
    Without a cache they go to memory. A dataset's, which no later run can recognise, go
    to temporary files where the cache would use files.
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
        found = [majority]
        if compute:
            found = cache.features(majority, compute, "majority", kept_maps=kept_maps)
        return found, [minority]
    started = time.perf_counter()
    majority, minority = _Gathered(kept_maps or compute, cache), _Gathered(None, cache)
    doing = "Computing frozen features" if compute else "Reading images"
    for images, labels in _shown(batches, doing, verbose, batches.n_batches):
        majority.add(images[labels == 0])
        minority.add(images[labels == 1])
    found = majority.result()
    if verbose and compute:
        size = in_units(sum(rows.nbytes for rows in found))
        in_files = isinstance(found[0], data.LazyRows)
        print(
            f"Frozen features of {majority.count:,} majority images: {size}"
            f"{f', in a temporary file in {cache.folder}' * in_files}, computed once "
            f"in {time.perf_counter() - started:.1f} s by {compute.engine} instead of "
            "in every epoch."
        )
        if in_files:
            print(
                "A later run computes them again, because a tf.data.Dataset cannot be "
                "recognised: pass arrays, or images of load_folder(..., lazy=True)."
            )
    return found, minority.result()


class _Gathered:
    """Features of images that come in batches of any size.

    Beyond the store's share of memory they go on in temporary files, which have no
    name and so vanish with the program, however it ends.
    """

    def __init__(self, compute: Callable | None, cache: FeatureStore) -> None:
        self._compute = compute or (lambda images: [images])
        self._folder, self._room = cache.folder, _room(cache.mode)
        self._images, self._types, self._files = [], [], []
        self.count = 0

    def add(self, images: np.ndarray) -> None:
        if len(images):
            self._images.append(images)
            self.count += len(images)
        if sum(map(len, self._images)) >= _BATCH_SIZE:
            self._compute_batch()

    def _compute_batch(self) -> None:
        batch = self._compute(np.concatenate(self._images))
        self._images, self._types = [], [(x.shape[1:], x.dtype) for x in batch]
        self._room -= sum(array.nbytes for array in batch)
        while len(self._files) < len(batch):
            self._files.append(tempfile.SpooledTemporaryFile(dir=self._folder))
        with telling_full_disk(self._folder / "features"):
            for file, array in zip(self._files, batch, strict=True):
                if self._room < 0:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    file.rollover()
                file.write(np.ascontiguousarray(array).data)
                file.flush()

    def result(self) -> Features:
        if self._images:
            self._compute_batch()
        pairs = zip(self._files, self._types, strict=True)
        found = [FileRows(f, 0, (self.count, *shape), t) for f, (shape, t) in pairs]
        found = found or [np.empty((0,), "float32")]
        return [np.asarray(rows) for rows in found] if self._room >= 0 else found


def _room(mode: str) -> float:
    """Returns how many bytes of features stay in memory."""
    if mode == "auto":
        return min(_MOST_BYTES, _SHARE_OF_MEMORY * psutil.virtual_memory().available)
    return float("inf") if mode == "memory" else 0


def _shown(
    batches: Iterable, doing: str, verbose: int | str, count: int | None, done: int = 0
) -> Iterator:
    """Yields batches, and shows what is done and how far it is."""
    if verbose:
        print(doing)
    # As in Keras, 2 is for log files.
    is_shown = verbose not in (0, 2) and count != 0
    progress = keras.utils.Progbar(count, verbose=int(is_shown))
    if not is_shown and count:
        batches = logs.shown(batches, count - done, "batches")
    progress.update(done)
    for batch in batches:
        yield batch
        done += 1
        progress.update(done)
    if count is None:
        progress.update(done, finalize=True)
