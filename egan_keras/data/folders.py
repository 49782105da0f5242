"""Labelled images from a folder with one folder for each class."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from egan_keras.data.duplicates import Duplicates
from egan_keras.data.images import ImageSize, can_decode, check_image_size, find_images
from egan_keras.data.labelled import Splits, read_splits
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
    seed: int = 0,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    skip_unreadable: bool = False,
    lazy: bool = False,
    duplicates: str | None = None,
) -> Splits:
    """Load images from one folder per class, split for training and judging.

    `root` holds `train/<class>/<image>` and `test/<class>/<image>`, in which case
    validation is held out of `train`; or `<class>/<image>`, which is split in three.
    Splits are seeded and made class by class, so each class is in each split by its
    fraction; from a class of few images, training gets the first, test the second,
    validation the third. Only the classes named are read.

    With `minority_count` or `ratio` the other minority training images do not exist:
    they are never decoded, and validation holds majority images alone. The majority's
    split, and the test split, are the same whatever is asked for. Which minority
    images are kept depends on the seed and the sorted list of files; with one seed,
    a smaller count keeps a part of what a larger one keeps.

    Files with equal contents are one image: a test image that is also among those to
    train on is left out of the test, and other copies are kept on one side of every
    split, with a warning that counts and names them. A file that is majority and
    minority both is refused. `duplicates` chooses otherwise.

    How images become RGB pixels of one size is told in `read_images`.

    Args:
        root: the folder.
        majority: the folder name of the common class, or several.
        minority: the folder name of the rare class, or several.
        minority_count: number of minority images to train on. None keeps all.
        ratio: the same, said as majority images per minority image in training
            (rounded to whole images).
        image_size: as for `read_images`; None keeps the images' own size if all
            have the same, and takes 224 x 224 with a warning otherwise.
        seed: what is held out and kept depends on it alone.
        validation_fraction: part of `train`, or of all images, held out, in [0, 1).
        test_fraction: part of all images held out where there is no `test`, in
            [0, 1).
        skip_unreadable: leave out unreadable files, named in `skipped`, instead of
            stopping. One among the minority images to keep is replaced by another.
        lazy: decode images when they are read, a batch at a time, instead of now:
            `.images` are `ImageFiles`, which `fit` and all else take as they take
            arrays. So a folder of any size needs little memory. Headers alone are
            read now, and a file damaged behind its header is found when it is read;
            with `skip_unreadable`, every image is decoded once now to find it.
        duplicates: `"drop"` leaves out files that are majority and minority both, too;
            `"refuse"` refuses training images among the test images; `"keep"` uses
            all files as they stand.

    Returns:
        Training, validation and test images; their `duplicates` and
        `dropped_duplicates` name the files with equal contents.

    Raises:
        FileNotFoundError: if `root` is missing, there is a `train` without a `test`,
            or a class folder is empty.
        ValueError: for an unknown class (listing the ones there are), a class in
            both roles, fewer minority images than asked for, an unreadable file, a
            file of both labels, or arguments out of range.

    Warns:
        UserWarning: if files have equal contents.
    """
    roles = ClassRoles.from_names(majority, minority)
    rules = SplitRules(minority_count, ratio, seed, validation_fraction, test_fraction)
    check_image_size(image_size)
    equal = Duplicates(*list_images(root, roles), roles, duplicates)
    division = equal.divide(
        rules, is_usable=can_decode if skip_unreadable else None
    )
    splits = read_splits(
        division,
        roles,
        image_size=image_size,
        skip_unreadable=skip_unreadable,
        lazy=lazy,
    )
    return equal.counted(splits, division)


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


def list_images(
    root: str | PathLike[str], roles: ClassRoles
) -> tuple[dict[str, list[Path]], dict[str, list[Path]] | None]:
    """List the image files of each class, without opening one.

    Args:
        root: as for `load_folder`.
        roles: the classes.

    Returns:
        The sorted files of each class to train on, and those to test on; None for the
        latter where a test split is yet to be made of the former.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: for an unknown class.
    """
    train_root, test_root = _find_layout(Path(root))
    pool = _class_images(train_root, roles)
    return pool, None if test_root is None else _class_images(test_root, roles)


def _find_layout(root: Path) -> tuple[Path, Path | None]:
    """Return the folders of training and test classes; None without the latter."""
    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder with one folder of images "
            f"for each class. Received: root={str(root)!r}. Check the path."
        )
    train, test = root / "train", root / "test"
    # A `train` without folders in it is a class of that name.
    if not train.is_dir() or not _subfolders(train):
        return root, None
    if not test.is_dir():
        raise FileNotFoundError(
            "The folder has a `train` but no `test` folder; expected both, or the "
            f"class folders themselves. Received: root={str(root)!r}. Add "
            f"{str(test)!r}, or pass {str(train)!r} to have a test split made of it."
        )
    return train, test


def _class_images(root: Path, roles: ClassRoles) -> dict[str, list[Path]]:
    """Return the image files of each class that has a role."""
    available = _subfolders(root)
    if not available:
        raise FileNotFoundError(
            "The folder is empty; expected one folder of images for each class. "
            f"Received: root={str(root)!r}, which holds no folders. Check the path."
        )
    roles.check_known(available, f"folder {str(root)!r}")
    return {name: find_images(root / name) for name in roles.names}


def _subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden ones."""
    return [
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    ]
