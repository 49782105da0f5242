"""The images by which an export is set up, compared with the model and judged."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from egan_keras import data, logs
from egan_keras.data.lazy import LazyRows, in_batches
from egan_keras.exporting.tflite_model import Scorer, TFLiteModel
from egan_keras.metrics import bootstrap_intervals, score_metrics

if TYPE_CHECKING:
    from egan_keras.model import EGAN

Images = np.ndarray | LazyRows
Labelled = tuple[Images, np.ndarray]

# Of float32, in units of the scores' standard deviation where that is above 1.
LARGEST_DIFFERENCE = 1e-4
# Of forms that round weights or activations.
LEAST_RANK_CORRELATION = 0.95
LARGEST_AUROC_LOSS = 0.01
LARGEST_SHARE_CHANGED = 0.05
# Enough to set the ranges of activations; more cost time and change nothing.
_REPRESENTATIVE = 200
# Of a large collection, as many are scored, evenly spaced.
_SCORED = 5000
# More take memory and hardly less time.
_BATCH_SIZE = 16
_GOLDEN_OF_EACH_DECISION, _GOLDEN_COMPARED = 4, 64
_SMALLEST_TOLERANCE = 1e-3
# Other processors round otherwise, about as much as this machine's two sets of
# kernels do.
_MARGIN = 2
# A decision that any sound arithmetic makes alike, in deviations of the scores.
_CLEAR = 0.1


@dataclasses.dataclass(frozen=True)
class Parity:
    """How the scores of an export compare with those of the model.

    `rank_correlation` is Spearman's, 0 where all scores are equal; `auroc_change` that
    of the export less that of the model, `None` without labelled images of both
    classes; `changed_decisions` the share of images called otherwise, each by its own
    threshold; `score_deviation` the standard deviation of the model's scores.
    """

    n_images: int
    largest_difference: float
    rank_correlation: float
    auroc_change: float | None
    changed_decisions: float
    score_deviation: float

    def shortfalls(self, form: str) -> list[str]:
        """Returns in words where an export of this form is beyond tolerance."""
        if form in ("none", "onnx", "savedmodel"):
            difference = self.largest_difference
            most = LARGEST_DIFFERENCE * max(1.0, self.score_deviation)
            # NaN is no more than anything.
            is_equal = difference <= most
            said = f"largest difference {difference:.2g} (at most {most:.2g})"
            return [] if is_equal else [said]
        rank, change = self.rank_correlation, self.auroc_change or 0.0
        least, most = LEAST_RANK_CORRELATION, LARGEST_SHARE_CHANGED
        changed, lowest = self.changed_decisions, -LARGEST_AUROC_LOSS
        found = {
            f"rank correlation {rank:.3f} (at least {least})": rank < least,
            f"AUROC change {change:+.4f} (at least {lowest})": change < lowest,
            f"changed decisions {changed:.1%} (at most {most:.0%})": changed > most,
        }
        return [said for said, is_beyond in found.items() if is_beyond]


def compare(
    expected: np.ndarray,
    expected_threshold: float,
    scores: np.ndarray,
    threshold: float,
    labels: np.ndarray | None = None,
) -> Parity:
    """Compares an export's scores (n,) and threshold with what the model has."""
    expected, scores = (np.asarray(each, "float64") for each in (expected, scores))
    varied = np.isfinite(scores).all() and np.ptp(scores) > 0 and np.ptp(expected) > 0
    change = None
    if labels is not None and len(np.unique(labels)) == 2:
        before = roc_auc_score(labels, -expected)
        change = float(roc_auc_score(labels, -np.nan_to_num(scores)) - before)
    changed = (scores < threshold) != (expected < expected_threshold)
    return Parity(
        n_images=len(scores),
        largest_difference=float(np.abs(scores - expected).max()),
        rank_correlation=float(spearmanr(scores, expected)[0]) if varied else 0.0,
        auroc_change=change,
        changed_decisions=float(changed.mean()),
        score_deviation=float(expected.std()),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Images (n, h, w, 3), labels (n,) if they are known, the model's scores (n,)."""

    images: np.ndarray
    labels: np.ndarray | None
    scores: np.ndarray

    def labels_or_calls(self, threshold: float) -> np.ndarray:
        """Returns the labels; if they are not known, what the model calls minority."""
        return self.scores < threshold if self.labels is None else self.labels

    def at(self, rows: np.ndarray) -> "Scored":
        """Returns some of the images."""
        labels = None if self.labels is None else self.labels[rows]
        return Scored(self.images[rows], labels, self.scores[rows])


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Real images with the model's scores, and its threshold.

    `representative` are training images of both classes, `validation` held-out ones on
    which a threshold may be calibrated; `test` judge and take part in nothing.
    """

    threshold: float
    representative: Scored | None
    validation: Scored | None
    test: Scored | None

    @property
    def held_out(self) -> Scored:
        """All images but those of the test, by which an export passes or fails."""
        known = [each for each in (self.validation, self.representative) if each]
        labels = [each.labels for each in known]
        return Scored(
            np.concatenate([each.images for each in known]),
            None if any(each is None for each in labels) else np.concatenate(labels),
            np.concatenate([each.scores for each in known]),
        )

    def parity(self, images: Scored, scores: np.ndarray, threshold: float) -> Parity:
        """Compares an export's scores (n, 1) of some images with the model's."""
        known = images.scores, self.threshold
        return compare(*known, scores[:, 0], threshold, images.labels)

    def judge(
        self, name: str, scored: Scorer
    ) -> tuple[dict[str, Parity], dict[str, Any] | None]:
        """Returns the `parity` on test images by a name, and metrics for JSON."""
        if self.test is None:
            return {}, None
        scores, threshold = scored.predict(self.test.images), scored.threshold
        judged = scores, self.test.labels, threshold
        ci95 = {each: list(ends) for each, ends in bootstrap_intervals(*judged).items()}
        metrics = {"threshold": threshold, **score_metrics(*judged), "ci95": ci95}
        return {f"{name}, test": self.parity(self.test, scores, threshold)}, metrics


def gather(
    model: "EGAN",
    representative: Images | Labelled | None,
    validation_data: Labelled | None,
    test_data: Labelled | None,
) -> Evidence:
    """Scores the images that an export will be compared by; refuses what is unfit."""
    if representative is None and validation_data is None:
        raise ValueError(
            "An export is compared with the model on real images; expected some. "
            "Received: neither validation_data nor representative. Pass held-out "
            "images: validation_data=(validation.images, validation.labels)."
        )
    if test_data is not None and test_data[1] is None:
        raise ValueError(
            "Test images judge the export; expected their labels, too. Received: "
            "test_data=(images, None). Pass (test.images, test.labels)."
        )
    chosen = None
    if representative is not None:
        has_labels = isinstance(representative, tuple)
        images, labels = representative if has_labels else (representative, None)
        if labels is not None:
            labels = data.check_labels(labels, len(images))
            rows = of_both_classes(labels)
            images, labels = images[rows], labels[rows]
        chosen = _scored(model, (images, labels))
        if labels is None:
            # What the model calls minority is taken for it.
            chosen = chosen.at(of_both_classes(chosen.scores < model.threshold))
    others = [_scored(model, given) for given in (validation_data, test_data)]
    return Evidence(model.threshold, chosen, *others)


def write_golden(
    model: TFLiteModel, plain: TFLiteModel, evidence: Evidence, folder: Path
) -> dict[str, Any]:
    """Writes images to check one's own integration by; returns what JSON tells of them.

    They are called minority and majority, over the whole range of scores and clear of
    the threshold, where there are such, and the model in Keras calls them alike.
    `plain` is the exported model with plain kernels.
    """
    held_out = evidence.held_out
    images = np.clip(np.rint(held_out.images), 0, 255).astype(np.uint8)
    scores = model.predict(images)[:, 0]
    ends = np.linspace(0, len(scores) - 1, _GOLDEN_COMPARED).astype(int)
    rows = np.argsort(scores)[ends]
    widest = np.abs(plain.predict(images[rows])[:, 0] - scores[rows]).max()
    tolerance = float(f"{max(_SMALLEST_TOLERANCE, _MARGIN * float(widest)):.1e}")
    distances = scores - model.threshold
    alike = (distances < 0) == (held_out.scores < evidence.threshold)
    clear = np.abs(distances) > max(2 * tolerance, _CLEAR * float(scores.std()))
    folder.mkdir()
    listed = []
    for called, side in (("minority", distances < 0), ("majority", distances >= 0)):
        for row in _over_the_range(np.flatnonzero(side & alike), distances, clear):
            name = f"{len(listed):02d}_{called}.png"
            Image.fromarray(images[row]).save(folder / name)
            told = {"file": f"{folder.name}/{name}", "score": float(scores[row])}
            listed.append({**told, "is_minority": int(called == "minority")})
    return {"tolerance": tolerance, "images": listed}


def _over_the_range(
    rows: np.ndarray, distances: np.ndarray, clear: np.ndarray
) -> np.ndarray:
    """Returns a few of the rows, from the lowest score to the highest."""
    ordered = rows[np.argsort(distances[rows])]
    if clear[ordered].any():
        ordered = ordered[clear[ordered]]
    elif len(ordered):
        ordered = ordered[[np.argmax(np.abs(distances[ordered]))]]
    return ordered[evenly(len(ordered), _GOLDEN_OF_EACH_DECISION)]


def _scored(
    model: "EGAN", given: tuple[Images, np.ndarray | None] | None
) -> Scored | None:
    if given is None:
        return None
    images, labels = given
    if labels is not None:
        labels = data.check_labels(labels, len(images))
    images = data.check_images(images, image_shape=model.image_shape)
    rows = evenly(len(images), _SCORED)
    images = images[rows]
    # Outside of a pass Keras scores them, and unlike `predict` compiles nothing for it,
    # which takes a gigabyte.
    parts = logs.shown(in_batches(images, _BATCH_SIZE), len(images), size=len)
    scores = np.concatenate([model.judge_batch(part).scores for part in parts])
    return Scored(images, None if labels is None else labels[rows], scores)


def of_both_classes(
    is_minority: np.ndarray, wanted: int = _REPRESENTATIVE
) -> np.ndarray:
    """Returns rows, as many of each class as can be had."""
    minority, majority = np.flatnonzero(is_minority), np.flatnonzero(is_minority == 0)
    fewer, more = sorted((minority, majority), key=len)
    fewer = fewer[evenly(len(fewer), wanted // 2)]
    more = more[evenly(len(more), wanted - len(fewer))]
    return np.sort(np.concatenate([fewer, more]))


def evenly(n_rows: int, wanted: int) -> np.ndarray:
    """Returns which rows to take, at most so many, evenly spaced."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, wanted)).astype(int))
