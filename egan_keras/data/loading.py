"""From a listing of images to splits of them, decoded now or when they are read.

Folders and tables are listed in files of their own, sets of tensorflow-datasets here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np

from egan_keras.data.decoding import (
    EncodedImage,
    GrayRange,
    Size,
    Source,
    check_depths,
    check_gray_range,
)
from egan_keras.data.duplicates import Duplicates, near_duplicates, warn_of_near
from egan_keras.data.images import (
    ImageFiles,
    ImageSize,
    LabelledImages,
    Rows,
    Splits,
    check_headers,
    check_image_size,
    decodable,
    decode_batch,
)
from egan_keras.data.splits import (
    MINORITY,
    ClassRoles,
    Division,
    Listing,
    Split,
    SplitRules,
)
from egan_keras.text import first_few


class Reading(NamedTuple):
    """How images become pixels, as `load_folder` is told."""

    image_size: Size | None = None
    gray_range: GrayRange | None = None
    skip_unreadable: bool = False
    lazy: bool = False

    @classmethod
    def checked(
        cls,
        image_size: ImageSize | None = None,
        gray_range: Sequence[float] | None = None,
        skip_unreadable: bool = False,
        lazy: bool = False,
    ) -> "Reading":
        """Return how to read images, or refuse what cannot be."""
        size, grays = check_image_size(image_size), check_gray_range(gray_range)
        return cls(size, grays, skip_unreadable, lazy)


def load_listing(
    listing: Listing,
    roles: ClassRoles,
    rules: SplitRules,
    reading: Reading,
    duplicates: str | None,
) -> Splits:
    """Split the images of a listing as `load_folder` says, and read them."""
    listing.warn(roles)
    equal = Duplicates(listing, roles, duplicates)

    def is_usable(source: Source) -> bool:
        if not reading.skip_unreadable:
            return True
        return bool(decodable([source], reading.gray_range)[0])

    division = equal.divide(rules, is_usable=is_usable)
    divided = division[:3]
    near = near_duplicates([[source for source, _ in split] for split in divided])
    warn_of_near(near)
    later = set(equal.later)
    group_of = {str(source): x for source, x in (listing.groups or {}).items()}
    splits: list[LabelledImages] = []
    read = read_splits(division, roles, reading)
    for number, part in enumerate(listing.parts):
        images, own = read[number], set(read[number].paths)
        copies = [source for source, _ in divided[number] if source in later]
        dropped = [image.source for image in equal.dropped if image.part == number]
        splits.append(
            replace(
                images,
                passed_over=dict(listing.passed_over_in(part)),
                duplicates=tuple(map(str, copies)),
                dropped_duplicates=tuple(map(str, dropped)),
                groups=tuple(group_of[path] for path in images.paths if group_of),
                near_duplicates=tuple(pair for pair in near if pair[0] in own),
            )
        )
    return Splits(*splits)


def read_splits(division: Division, roles: ClassRoles, reading: Reading) -> Splits:
    """Decode the images of all splits to one size; if lazy, when they are read."""
    *divided, unusable = division
    gray_range, skip = reading.gray_range, reading.skip_unreadable
    headers = check_headers(
        [source for split in divided for source, _ in split],
        image_size=reading.image_size,
        skip_unreadable=skip,
        # Test images have no say in the size that others are trained at.
        without_say=[source for source, _ in division.test],
    )
    readable, deep = set(headers.readable), set(headers.deep)
    # Each class and purpose on its own: a few would hide among many of another kind.
    alike: dict[str, list[Source]] = {}
    for split, purpose in zip(divided, ("training", "training", "test"), strict=True):
        for source, name in split:
            if source in deep:
                alike.setdefault(f"{purpose} class {name!r}", []).append(source)
    check_depths(alike, gray_range)

    def read(split: Split, unusable: list[Source]) -> LabelledImages:
        class_of = dict(split)
        kept = [source for source in class_of if source in readable]
        skipped = [source for source in class_of if source not in readable]
        damaged: list[Source] = []
        images: Rows
        if reading.lazy:
            if skip:
                kept, damaged = decodable(kept, gray_range)
            files = [source for source in kept if isinstance(source, Path)]
            images = ImageFiles(files, headers.size, gray_range)
            images.depths_are_checked = True
        else:
            images, kept, damaged = decode_batch(
                kept, headers.size, gray_range, skip_unreadable=skip, in_threads=True
            )
        names = [class_of[source] for source in kept]
        return LabelledImages(
            images,
            np.array([roles.label(name) for name in names], np.int32),
            paths=tuple(str(source) for source in kept if isinstance(source, Path)),
            class_names=tuple(names),
            skipped=tuple(map(str, skipped + damaged + unusable)),
        )

    splits = Splits(*map(read, divided, (unusable, [], [])))
    train = splits.train
    expected = {roles.label(name) for _, name in division.train}
    if not train.majority_count or (MINORITY in expected and not train.minority_count):
        raise ValueError(
            "No training image of one class can be read; expected images of both. "
            f"Received: {train.majority_count} majority and {train.minority_count} "
            f"minority images, skipped {first_few(train.skipped)}. Repair these files."
        )
    return splits


def load_tfds(
    name: Any,
    *,
    majority: str | Sequence[str],
    minority: str | Sequence[str],
    minority_count: int | None = None,
    ratio: float | None = None,
    image_size: ImageSize | None = None,
    gray_range: Sequence[float] | None = None,
    seed: int = 0,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    skip_unreadable: bool = False,
    data_dir: str | PathLike[str] | None = None,
    duplicates: str | None = None,
) -> Splits:
    """Load a labelled image set of tensorflow-datasets, split as `load_folder` does.

    The set's `test` split is the test split where there is one, with validation held
    out of `train`; otherwise `train` is split in three. The set's other splits are
    not read. The order of the set's records stands in place of the sorted files.

    `name` is a name in the catalogue, such as `"cifar10"` or `"beans:0.1.0"`, or a
    builder, such as `tfds.folder_dataset.ImageFolder(folder)`. `data_dir` is the folder
    of prepared sets of that catalogue; None means tensorflow-datasets' own,
    `~/tensorflow_datasets`. All else is as for `load_folder`.

    Returns:
        Training, validation and test images, without paths.

    Raises:
        ConnectionError: if the set is not prepared and cannot be downloaded.
        ValueError: for an unknown set or one that is not of labelled images, and
            for the reasons `load_folder` gives.
    """
    roles = ClassRoles.from_names(majority, minority)
    rules = SplitRules(minority_count, ratio, seed, validation_fraction, test_fraction)
    reading = Reading.checked(image_size, gray_range, skip_unreadable)
    builder = _find_builder(name, data_dir)
    image_key, label_key = _feature_keys(builder)
    _prepare(builder)
    known = builder.info.features[label_key].names
    roles.check_known(known, f"the set {builder.name!r}")
    # tensorflow-datasets cannot name the splits of a set it mocks.
    splits = set(builder.info.splits) or {"train"}
    if "train" not in splits:
        raise ValueError(
            f"The set {builder.name!r} has no split `train`; it has "
            f"{', '.join(sorted(splits))}. Received: name={name!r}. Choose another set."
        )
    keys = image_key, label_key
    pool = _read_records(builder, "train", *keys, roles)
    test = _read_records(builder, "test", *keys, roles) if "test" in splits else None
    listing = Listing(pool, None, test, Counter())
    return load_listing(listing, roles, rules, reading, duplicates)


def _find_builder(name: Any, data_dir: str | PathLike[str] | None) -> Any:
    """Return the builder of a set given by name, or the builder given."""
    import tensorflow_datasets as tfds  # slow to import, and not for every user

    if isinstance(name, tfds.core.DatasetBuilder):
        if data_dir is not None:
            raise ValueError(
                "`data_dir` is for a set given by name; a builder knows its own. "
                f"Received: data_dir={data_dir!r}. Leave it out."
            )
        return name
    if not isinstance(name, str):
        raise ValueError(
            "`name` must be a name in the catalogue of tensorflow-datasets or a "
            f"builder. Received: name={name!r}. Pass, for example, 'cifar10'."
        )
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        hint = "See tfds.list_builders() for the names."
        if near := get_close_matches(name, tfds.list_builders()):
            hint = f"Did you mean {' or '.join(map(repr, near))}?"
        raise ValueError(
            "tensorflow-datasets has no such set. Received: "
            f"name={name!r}, data_dir={data_dir!r}. {hint}"
        ) from error


def _feature_keys(builder: Any) -> tuple[str, str]:
    """Return the names of a set's image and label features."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = tfds.features.Image, tfds.features.ClassLabel
    keys = builder.info.supervised_keys
    if not (isinstance(keys, tuple) and len(keys) == 2 and set(keys) <= set(features)):
        found: list[list[str]] = [
            [key for key, feature in features.items() if isinstance(feature, kind)]
            for kind in kinds
        ]
        keys = tuple(names[0] if len(names) == 1 else "" for names in found)
    image_key, label_key = keys
    used: list[Any] = [features[key] if key else None for key in keys]
    is_labelled = all(map(isinstance, used, kinds))
    if not is_labelled or np.dtype(used[0].np_dtype).name not in ("uint8", "uint16"):
        raise ValueError(
            f"The set {builder.name!r} is not one of labelled images; expected one "
            "Image of 8 or 16 bits and one ClassLabel. Received: features "
            f"{', '.join(f'{k}: {type(f).__name__}' for k, f in features.items())}. "
            "Choose another set, or pass arrays or a tf.data.Dataset to `fit`."
        )
    return image_key, label_key


def _prepare(builder: Any) -> None:
    """Download a set and prepare it, unless that has been done before."""
    import requests
    import tensorflow_datasets as tfds

    # An ImageFolder reads the files where they are, and refuses to be prepared.
    if isinstance(builder, tfds.folder_dataset.ImageFolder) or builder.is_prepared():
        return
    of_requests = requests.ConnectionError, requests.Timeout
    try:
        builder.download_and_prepare()
    except (ConnectionError, TimeoutError, URLError, *of_requests) as error:
        raise ConnectionError(
            f"The set {builder.name!r} could not be downloaded; it needs a network "
            f"once. Received: {type(error).__name__}: {error}. Connect and try again, "
            "or point `data_dir` to the folder of a prepared copy."
        ) from error


def _read_records(
    builder: Any, split: str, image_key: str, label_key: str, roles: ClassRoles
) -> dict[str, list[EncodedImage]]:
    """Return the encoded images of each class that has a role."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from egan_keras.keras_hooks import share_accelerators

    share_accelerators()
    feature = builder.info.features[label_key]
    wanted = tf.constant([feature.str2int(name) for name in roles.names], tf.int64)
    decoders = {image_key: tfds.decode.SkipDecoding()}
    dataset = (
        builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
        .map(lambda record: (record[image_key], record[label_key]))
        .enumerate()
        .filter(lambda index, record: tf.reduce_any(record[1] == wanted))
    )
    records: dict[str, list[EncodedImage]] = {name: [] for name in roles.names}
    for index, (data, label) in dataset.as_numpy_iterator():
        name = f"image {index} of {builder.name}/{split}"
        records[feature.int2str(int(label))].append(EncodedImage(name, data))
    for name, found in records.items():
        if not found:
            raise ValueError(
                f"The split {split!r} of the set {builder.name!r} holds no image of "
                f"a class. Received: {name!r}. Choose another class."
            )
    return records
