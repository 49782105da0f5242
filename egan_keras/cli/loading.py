"""The images of `train` and `tune`: loaded, told of, and enough for the threshold."""

import argparse
import math
import shlex
from collections import Counter

from egan_keras import data, logs, thresholds
from egan_keras.cli import runs
from egan_keras.text import printable

FRACTIONS = {"validation_fraction": 0.2, "test_fraction": 0.2}


def load(arguments: argparse.Namespace) -> data.Splits:
    """Loads the images that the options of a command name, and says what there is.

    Raises:
        ValueError: for images or classes that cannot be used.
    """
    logs.tell(f"Listing the images below {printable(arguments.data)}")
    splits = data.load_folder(
        arguments.data,
        majority=arguments.majority,
        minority=arguments.minority,
        minority_count=arguments.minority_count,
        ratio=arguments.ratio,
        image_size=arguments.image_size,
        gray_range=arguments.gray_range,
        seed=arguments.seed,
        skip_unreadable=arguments.skip_unreadable,
        duplicates=arguments.duplicates,
        # So that the memory does not have to hold them all.
        lazy=True,
        **FRACTIONS,
    )
    height, width = splits.train.images.shape[1:3]
    print(f"Images of {height} x {width} pixels:")
    for name, images in splits._asdict().items():
        print(
            f"  {name:<10} {images.majority_count:>7,} majority "
            f"{images.minority_count:>7,} minority"
        )
    runs.tell_passed_over(all_passed_over(splits))
    skipped = [path for images in splits for path in images.skipped]
    runs.tell_files(runs.SKIPPED, skipped)
    _check_test(splits.test)
    if not arguments.skip_unreadable:
        # The others are read before training, but these after it.
        splits.test.images.check()
    return splits


def _check_test(test: data.LabelledImages) -> None:
    """Says what follows where the test split lacks a class, or refuses it."""
    missing = [
        name
        for name, count in (
            ("majority", test.majority_count),
            ("minority", test.minority_count),
        )
        if not count
    ]
    if len(missing) == 2:
        raise ValueError(
            "The test split holds no image, so nothing can be reported; expected "
            "images of both classes. Received: 0 test images. Add some below ROOT/test."
        )
    if missing:
        print(
            f"The test split holds no {missing[0]} image: the report will lack AUROC "
            "and all else that needs both classes."
        )


def check_validation(splits: data.Splits, arguments: argparse.Namespace) -> None:
    """Refuses, before training, a threshold that could not be set after it.

    Raises:
        ValueError: if there are too few validation majority images.
    """
    level, confidence = arguments.specificity, arguments.confidence
    if level is None:
        return
    needed = 1 if confidence is None else thresholds.images_needed(level, confidence)
    count = splits.validation.majority_count
    if count >= needed:
        return
    possible = _highest_level(count, confidence) if confidence and count else None
    raise ValueError(
        "Too few validation images to set the threshold: a specificity of "
        f"{level:g}"
        + (f" with confidence {confidence:g}" if confidence else "")
        + f" needs {needed} majority images. Received: {count}, 20% of the majority "
        "images to train with. "
        + _exchange_advice(splits, arguments)
        + (f"Pass --specificity {possible:g}, or " if possible else "Pass ")
        + "--specificity none to leave the threshold at 0, or add majority images."
    )


def _exchange_advice(splits: data.Splits, arguments: argparse.Namespace) -> str:
    """Returns a sentence where the counts say that the classes are exchanged."""
    majority = sum(split.majority_count for split in splits)
    minority = sum(split.minority_count for split in splits)
    if minority <= majority:
        return ""
    names = map(",".join, (arguments.minority, arguments.majority))
    options = shlex.join(["--majority", next(names), "--minority", next(names)])
    return (
        f"There are {minority:,} minority and {majority:,} majority images in all: if "
        f"the classes are exchanged, pass {options}. Else: "
    )


def _highest_level(count: int, confidence: float) -> float | None:
    """Returns the highest whole percentage that so many images can guarantee."""
    percent = math.floor(100 * (1 - confidence) ** (1 / count))
    return percent / 100 or None


def all_passed_over(splits: data.Splits) -> Counter[str]:
    """Returns what was passed over in the folders of all splits, by reason."""
    return sum((Counter(images.passed_over) for images in splits), Counter())
