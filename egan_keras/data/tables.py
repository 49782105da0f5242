"""Labelled images from a table: a CSV file, or columns in memory, beside a folder."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from egan_keras.data.decoding import Source
from egan_keras.data.folders import (
    PARTS,
    AnyPath,
    Names,
    list_every_image,
    list_images,
    with_groups,
)
from egan_keras.data.groups import GroupRule, group_namer, warn_of_lone
from egan_keras.data.images import ImageSize, Splits
from egan_keras.data.loading import Reading, load_listing
from egan_keras.data.splits import ClassRoles, Listing, SplitRules
from egan_keras.data.table_rows import Row, Table, files_of, read_table
from egan_keras.text import first_few


def load_table(
    root: AnyPath,
    table: str | PathLike[str] | Mapping[str, Sequence[Any]] | Any,
    *,
    majority: Names,
    minority: Names = (),
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
    groups: GroupRule | None = None,
) -> Splits:
    """Load images whose labels stand in a table, split for training and judging.

    The table has the columns `path` and `label`, and perhaps `group` and `split`:

    - `path` is the file, below `root`;
    - `label` is the name of its class, in place of a folder's;
    - `group` is the object it shows; all images of a group stay on one side of every
      split, and an empty cell is a group of its own;
    - `split` is train, validation (or valid, val) or test. Without the column the
      images are split as those of `ROOT/CLASS` are; with it as those of `ROOT/train`
      and `ROOT/test`, where validation is held out of train unless it is given.

    Rows of other labels than those of `majority` and `minority`, and rows given twice,
    are counted in `passed_over` of the splits.

    `table` is the path of a CSV file, in UTF-8 and with its columns named in the first
    line, or a mapping or DataFrame of these columns. `majority` and `minority` are
    labels; `groups` may stand in place of a column. All else is as for `load_folder`.

    Returns:
        Training, validation and test images.

    Raises:
        FileNotFoundError: if `root`, the table or files that it names are missing.
        ValueError: for a table that cannot be read or contradicts itself, paths that
            lead out of `root`, an unknown label, a group on both sides of the splits
            that are given, and what `load_folder` refuses.

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> root, rows = pathlib.Path(tempfile.mkdtemp()), []
    >>> for number in range(20):
    ...     name, label = f"{number}.png", "bad" if number % 4 == 0 else "good"
    ...     image = Image.effect_noise((8, 8), 50 + number)
    ...     image.save(root / name)
    ...     rows.append((name, label, f"part {number // 2}"))
    >>> table = dict(zip(["path", "label", "group"], zip(*rows)))
    >>> train, validation, test = load_table(
    ...     root, table, majority="good", minority="bad")
    >>> len(train), len(validation), len(test), len(set(train.groups))
    (12, 4, 4, 6)
    """
    roles = ClassRoles.from_names(majority, minority)
    rules = SplitRules(minority_count, ratio, seed, validation_fraction, test_fraction)
    reading = Reading.checked(image_size, gray_range, skip_unreadable, lazy)
    listing = list_table(root, table, roles, groups)
    return load_listing(listing, roles, rules, reading, duplicates)


def list_labelled(
    root: AnyPath,
    roles: ClassRoles,
    *,
    labels: Any = None,
    groups: GroupRule | None = None,
) -> Listing:
    """List images as `load_table` does with `labels`, its table, else `load_folder`."""
    if labels is None:
        return list_images(root, roles, groups)
    return list_table(root, labels, roles, groups)


def list_all_labelled(
    root: AnyPath,
    names: Iterable[str],
    *,
    labels: Any = None,
    groups: GroupRule | None = None,
    skip_missing: bool = False,
) -> Listing:
    """List all images of classes, of whichever split they are, in one pool.

    Some classes may be missing, and with `skip_missing` files of the table, which are
    counted; a `FileNotFoundError` is raised if there is no image at all.
    """
    root, names = Path(root), list(names)
    name = group_namer(groups)
    if labels is None:
        listing = Listing(list_every_image(root, names), None, None, Counter())
    else:
        table = read_table(labels)
        files, beside = files_of(root, table, names, skip_missing=skip_missing)
        pool = _by_class(files, names)
        if not any(pool.values()):
            raise FileNotFoundError(
                f"There is no image of any of the classes in {table.name}; expected "
                f"rows with the labels {', '.join(names)}. Received: "
                f"{first_few(sorted({row.label for row in table.rows}))}. Check it."
            )
        listing = Listing(pool, None, None, beside, _of_column(table, files))
    return with_groups(listing, root, name)


def list_table(
    root: AnyPath, table: Any, roles: ClassRoles, groups: GroupRule | None = None
) -> Listing:
    """List the image files of each class as `load_table` finds them, opening none."""
    root, name, read = Path(root), group_namer(groups), read_table(table)
    labels = {row.label for row in read.rows}
    roles.check_known(labels, read.name)
    roles.check_case(labels, "Labels", read.name, "Write them alike")
    files, beside = files_of(root, read, roles.names)
    if "split" in read.columns:
        parts = {part: _by_class(files, roles.names, part) for part in PARTS}
        _check_splits(parts, roles, read.name)
        pool = {n: x for n, x in parts["train"].items() if x}
        validation = parts["validation"] if any(parts["validation"].values()) else None
        listing = Listing(pool, validation, parts["test"], beside)
    else:
        listing = Listing(_by_class(files, roles.names), None, None, beside)
    return with_groups(listing._replace(groups=_of_column(read, files)), root, name)


def _of_column(table: Table, files: Mapping[Path, Row]) -> dict[Source, str] | None:
    """Return the group of each file by the column of the table, if it has one."""
    if "group" not in table.columns:
        return None
    warn_of_lone([row.path for row in files.values() if not row.group])
    return {path: row.group or row.path for path, row in files.items()}


def _by_class(
    files: Mapping[Path, Row], names: Iterable[str], part: str | None = None
) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {name: [] for name in names}
    for path in sorted(files):
        if part in (None, files[path].split):
            found[files[path].label].append(path)
    return found


def _check_splits(
    parts: Mapping[str, Mapping[str, Sequence[Path]]], roles: ClassRoles, name: str
) -> None:
    """Refuse given splits that lack a class; the minority may be in test alone."""
    held = {part: {n for n, x in by.items() if x} for part, by in parts.items()}
    for part in ("train", "test"):
        missing = [n for n in roles.names if n not in held[part]]
        in_test = part == "train" and missing == list(roles.minority)
        if missing and not in_test:
            advice = (
                f"Put some rows of {missing[0]!r} there, or delete the column `split` "
                "to have a split made."
            )
            roles.check_known(held[part], f"split {part} of {name}", advice)
    if held["validation"]:
        advice = "Put majority images there, too, or leave the split out."
        where = f"split validation of {name}"
        roles.check_known(held["validation"], where, advice, names=roles.majority)
