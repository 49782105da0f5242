"""Options that several commands share, and the types of their values."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

HelpFormatter = argparse.RawDescriptionHelpFormatter


def class_names(text: str) -> tuple[str, ...]:
    """Reads one class name, or several with commas between them.

    >>> class_names("automobile, truck")
    ('automobile', 'truck')
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"expected class names with commas between them, received {text!r}"
        )
    return names


def positive_int(text: str) -> int:
    """Reads an integer of 1 or more."""
    return _number(text, int, lambda n: n >= 1, "a whole number of 1 or more")


def seed(text: str) -> int:
    """Reads a seed that every library takes."""
    return _number(
        text, int, lambda n: 0 <= n < 2**32, "a whole number from 0 to 4294967295"
    )


def ratio(text: str) -> float:
    """Reads a positive number."""
    return _number(text, float, lambda x: 0 < x < float("inf"), "a positive number")


def fraction(text: str) -> float:
    """Reads a number between 0 and 1, both excluded."""
    return _number(
        text, float, lambda x: 0 < x < 1, "a number between 0 and 1, such as 0.95"
    )


def fraction_or_none(text: str) -> float | None:
    """Reads a number between 0 and 1, both excluded, or the word none."""
    if text.lower() == "none":
        return None
    return _number(
        text, float, lambda x: 0 < x < 1, "a number between 0 and 1, or none"
    )


def gray_range(text: str) -> tuple[float, float]:
    """Reads two numbers with a comma between them, the smaller one first.

    >>> gray_range("0,4095")
    (0.0, 4095.0)
    """
    try:
        black, white = map(float, text.split(","))
        if black < white and black > -math.inf and white < math.inf:
            return black, white
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(
        "expected two numbers, the smaller one first, such as 0,4095, received "
        f"{text!r}"
    )


def weights(text: str) -> str | None:
    """Reads `imagenet`, `none` or a file name."""
    return None if text.lower() == "none" else text


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name the images, their classes and the imbalance."""
    group = parser.add_argument_group(
        "images",
        "Grayscale, transparent and 16-bit images become RGB; images of several sizes\n"
        "are stretched to one.",
    )
    group.add_argument(
        "--data",
        metavar="ROOT",
        type=Path,
        required=True,
        help="folder of images: ROOT/train/CLASS/* and ROOT/test/CLASS/*, where 20%% "
        "of train are held out for validation unless there is ROOT/validation/CLASS/*; "
        "or ROOT/CLASS/*, of which 20%% each go to test and validation. Of a minority "
        "that is below ROOT/test alone, half is to train on. Links are followed",
    )
    group.add_argument(
        "--majority",
        metavar="A[,B..]",
        type=class_names,
        required=True,
        help="the common class, or several: names of folders",
    )
    group.add_argument(
        "--minority",
        metavar="C[,D..]",
        type=class_names,
        required=True,
        help="the rare class, or several",
    )
    imbalance = group.add_mutually_exclusive_group()
    imbalance.add_argument(
        "--minority-count",
        metavar="N",
        type=positive_int,
        help="train on N minority images; the others are left out of training and "
        "validation (default: all)",
    )
    imbalance.add_argument(
        "--ratio",
        metavar="R",
        type=ratio,
        help="the same, as R majority images to each minority image",
    )
    group.add_argument(
        "--image-size",
        metavar="N",
        type=positive_int,
        help="stretch every image to N x N pixels (default: the size of the images if "
        "they have one, else 224)",
    )
    add_gray_range_option(group, "all that their type can hold")
    add_duplicates_option(group)
    add_skip_option(group)


def add_duplicates_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--duplicates`."""
    parser.add_argument(
        "--duplicates",
        choices=("drop", "refuse", "keep"),
        help="what becomes of files with equal contents (default: a test image that is "
        "a training image, too, is left out of the test, other copies stay on one side "
        "of every split, and an image that is majority and minority both is refused); "
        "drop leaves out images that are both, too; refuse ends where a training image "
        "is a test image; keep uses all as they are. They are counted and named",
    )


def add_gray_range_option(parser: argparse._ActionsContainer, default: str) -> None:
    """Adds `--gray-range`; `default` says in words what holds without it."""
    parser.add_argument(
        "--gray-range",
        metavar="BLACK,WHITE",
        type=gray_range,
        help="values that are black and white in grayscale images of more than 8 bits, "
        "such as 0,4095 for cameras of 12 bits; what lies outside is clipped; before a "
        f"negative number write --gray-range= (default: {default})",
    )


def add_skip_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--skip-unreadable`."""
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out files that cannot be read, and images of a single colour, and "
        "count them, instead of stopping",
    )


def add_recipe_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--recipe`."""
    parser.add_argument(
        "--recipe",
        choices=("default", "published"),
        default="default",
        help="all choices not named here: the package's own or the eGAN paper's "
        "(default: %(default)s)",
    )


def add_weights_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--weights`."""
    parser.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        type=weights,
        default="imagenet",
        help="what the backbones start from; none is random (default: %(default)s)",
    )


def add_mirror_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--no-mirror`."""
    parser.add_argument(
        "--no-mirror",
        dest="mirrored_minority",
        action="store_const",
        const=False,
        help="do not train on mirror images of the minority as well: where left and "
        "right matter, as in writing (default: the recipe's, which does)",
    )


def add_seed_option(parser: argparse._ActionsContainer) -> None:
    """Adds `--seed`."""
    parser.add_argument(
        "--seed",
        metavar="S",
        type=seed,
        default=0,
        help="decides the splits, the minority images kept and the training "
        "(default: %(default)s)",
    )


def add_judging_options(group: argparse._ArgumentGroup) -> None:
    """Adds how the threshold is set, and what is reported."""
    group.add_argument(
        "--specificity",
        metavar="P",
        type=fraction_or_none,
        default=0.95,
        help="set the threshold so that at least P of majority images are not called "
        "minority, from the validation images; none leaves it at 0 "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--confidence",
        metavar="P",
        type=fraction_or_none,
        default=0.95,
        help="confidence with which the specificity is guaranteed; none guarantees "
        "nothing and needs fewer images (default: %(default)s)",
    )
    add_prevalence_option(group, "not reported")


def add_out_options(
    parser: argparse._ActionsContainer, metavar: str, default: Path | None = None
) -> None:
    """Adds `--out`, which is required without a default, and `--overwrite`."""
    parser.add_argument(
        "--out",
        metavar=metavar,
        type=Path,
        default=default,
        required=default is None,
        help=f"folder to write{' (default: %(default)s)' if default else ''}",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help=f"replace an earlier run at {metavar}, as a whole, once the new one is "
        "complete",
    )


def add_prevalence_option(parser: argparse._ActionsContainer, default: str) -> None:
    """Adds `--prevalence`; `default` says in words what holds without it."""
    parser.add_argument(
        "--prevalence",
        metavar="P",
        type=fraction,
        help="share of minority images where the model will be used: reports the "
        f"precision to expect there (default: {default})",
    )


def check_parent(option: str, path: Path) -> None:
    """Refuses a file to write whose folder does not exist, or that is a folder.

    Raises:
        FileNotFoundError: if the folder does not exist.
        ValueError: if the file is a folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"The folder of the file to write does not exist. Received: {option} "
            f"{path}. Make {str(path.parent)!r} first."
        )
    if path.is_dir():
        raise ValueError(
            f"The file to write is a folder; expected a file name. Received: {option} "
            f"{path}. Name a file in it."
        )


def _number(
    text: str, kind: type, is_valid: Callable[[float], bool], expected: str
) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not is_valid(value):
        raise argparse.ArgumentTypeError(f"expected {expected}, received {text!r}")
    return value
