"""Labelled images from a folder with one folder for each class."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from egan_keras.data.decoding import check_gray_range
from egan_keras.data.duplicates import Duplicates
from egan_keras.data.images import ImageSize, can_decode, check_image_size
from egan_keras.data.labelled import Splits, read_splits
from egan_keras.data.layouts import Listing, list_images
from egan_keras.data.roles import ClassRoles
from egan_keras.data.splits import SplitRules


def load_folder(
    root: str | PathLike[str],
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
    lazy: bool = False,
    duplicates: str | None = None,
) -> Splits:
    """Load images from one folder per class, split for training and judging.

    `root` holds `train/<class>/<image>` and `test/<class>/<image>`, in which case
    validation is held out of `train`, unless there is a folder for it (`validation`,
    `valid` or `val`); or `<class>/<image>`, which is split in three. Where the
    minority is below `test` alone, as in MVTec's sets, half of each of its classes
    there is to train on, and the other half to test on.

    Splits are seeded and made class by class, so each class is in each split by its
    fraction; from a class of few images, training gets the first, test the second,
    validation the third. Only the classes named are read.

    With `minority_count` or `ratio` the other minority training images do not exist:
    they are never decoded, and validation holds majority images alone. The majority's
    split, and the test split, are the same whatever is asked for. Which minority
    images are kept depends on the seed and the sorted list of files; with one seed,
    a smaller count keeps a part of what a larger one keeps.

    Files with equal contents are one image: one that is there to train on is left out
    of validation and test, and other copies stay on one side of every split, with a
    warning that counts and names them. A file that is majority and minority both is
    refused. `duplicates` chooses otherwise.

    How images become RGB pixels of one size is told in `read_images`, and which files
    are found in a folder in `find_images`; the others are counted in `passed_over` of
    the splits. A warning tells if there are more images of the minority than of the
    majority.

    Args:
        root: the folder.
        majority: the folder name of the common class, or several.
        minority: the folder name of the rare class, or several.
        minority_count: number of minority images to train on. None keeps all.
        ratio: the same, said as majority images per minority image in training
            (rounded to whole images).
        image_size: as for `read_images`; None keeps the images' own size if all
            have the same, and takes 224 x 224 with a warning otherwise.
        gray_range: as for `read_images`.
        seed: what is held out and kept depends on it alone.
        validation_fraction: part of `train`, or of all images, held out, in [0, 1).
        test_fraction: part of all images held out where there is no `test`, in
            [0, 1).
        skip_unreadable: leave out files that cannot be read, and images of a single
            colour, named in `skipped`, instead of stopping. One among the minority
            images to keep is replaced by another.
        lazy: decode images when they are read, a batch at a time, instead of now:
            `.images` are `ImageFiles`, which `fit` and all else take as they take
            arrays. So a folder of any size needs little memory. Headers alone are
            read now, and a file damaged behind its header is found when it is read;
            with `skip_unreadable`, every image is decoded once now to find it.
        duplicates: `"drop"` leaves out files that are majority and minority both, too;
            `"refuse"` refuses images to train on among those to validate and test on;
            `"keep"` uses all files as they stand.

    Returns:
        Training, validation and test images; their `duplicates` and
        `dropped_duplicates` name the files with equal contents.

    Raises:
        FileNotFoundError: if `root` is missing, there is a `train` without a `test`,
            or a class folder is empty.
        ValueError: for an unknown class (listing the ones there are), a class in
            both roles, fewer minority images than asked for, a file that cannot be
            read or is of a single colour, images that need a `gray_range`, a file of
            both labels, or arguments out of range.

    Warns:
        UserWarning: if files have equal contents.
    """
    roles = ClassRoles.from_names(majority, minority)
    rules = SplitRules(minority_count, ratio, seed, validation_fraction, test_fraction)
    check_image_size(image_size)
    gray_range = check_gray_range(gray_range)
    listing = list_images(root, roles)
    listing.warn(roles)
    equal = Duplicates(listing, roles, duplicates)

    def is_usable(path: Path) -> bool:
        return not skip_unreadable or can_decode(path, gray_range)

    division = equal.divide(rules, is_usable=is_usable)
    splits = read_splits(
        division,
        roles,
        image_size=image_size,
        gray_range=gray_range,
        skip_unreadable=skip_unreadable,
        lazy=lazy,
    )
    return _count_passed_over(equal.counted(splits, division), listing)


def check_folder(
    root: str | Path, *, majority: str | Sequence[str], minority: str | Sequence[str]
) -> None:
    """Refuse what `load_folder` would refuse of a folder, without opening an image.

    Args:
        root: as for `load_folder`.
        majority: as for `load_folder`.
        minority: as for `load_folder`.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: for an unknown class or one in both roles.
    """
    list_images(root, ClassRoles.from_names(majority, minority))


def _count_passed_over(splits: Splits, listing: Listing) -> Splits:
    """Add to the splits what was passed over where their images lie."""
    counts = {
        name: dict(sum((each.passed_over for each in part.values()), Counter()))
        for name, part in (
            ("validation", listing.validation),
            ("test", listing.test),
        )
        if part is not None
    }
    pool = (images.passed_over for images in listing.pool.values())
    counts["train"] = dict(sum(pool, listing.passed_over))
    return splits._replace(
        **{
            name: replace(getattr(splits, name), passed_over=count)
            for name, count in counts.items()
        }
    )
