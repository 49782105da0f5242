"""A review: in which order images are looked at, and what becomes of their labels."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from egan_keras.review.label_file import UNSURE, LabelFile
from egan_keras.text import printable

# Ranked by what helps most; images behind them by score.
_AHEAD = 300
_MINORITY = "minority"
LOWEST, NEAREST, FARTHEST = "lowest score", "nearest to the threshold", "farthest"
# In turns: most of all what looks like minority; what the model cannot tell; and what
# is unlike all that was looked at.
TURNS = (LOWEST, LOWEST, LOWEST, NEAREST, LOWEST, LOWEST, FARTHEST)


class RefusedError(ValueError):
    """What was asked for cannot be done; the message says why."""


class Session:
    """The images of a review, in the order that helps most, and their labels.

    Its methods may be called by several threads. Names are those in the file of labels;
    what is labelled gets the first of the classes of its kind.
    """

    def __init__(
        self,
        names: Sequence[str],
        learner: Any,
        labels: LabelFile,
        *,
        majority: Sequence[str],
        minority: Sequence[str],
    ) -> None:
        self._names, self._learner, self._labels = list(names), learner, labels
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._label_of = dict.fromkeys(majority, 0) | dict.fromkeys(minority, 1)
        # Of each kind of label that the page asks for, the name that the file gets.
        self._named = {"majority": majority[0], "unsure": UNSURE}
        for number, name in enumerate(minority, 1):
            self._named[f"{_MINORITY}{number if number > 1 else ''}"] = name
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._passed_over: dict[int, str] = {}
        self._queue: list[int] = []
        self._generation = 0
        self._told = ""
        self._judged = learner.judge()
        self._rank()

    @property
    def foreign(self) -> list[str]:
        """Paths in the file of labels that are none of the images."""
        return [name for name in self._labels.labels if name not in self._numbers]

    def has(self, number: int) -> bool:
        """Whether there is an image of this number, that was not passed over."""
        return number < len(self._names) and number not in self._passed_over

    def state(self) -> dict[str, Any]:
        """Returns all that the page shows."""
        with self._lock:
            labels = self._labels.labels
            counts = Counter(map(self._role, labels.values()))
            shown = [self._shown(number) for number in self._queue[:2]]
            return {
                "current": shown[0] if shown else None,
                "next": shown[1] if len(shown) > 1 else None,
                "left": len(self._queue),
                "labelled": len(labels),
                **{role: counts[role] for role in ("majority", _MINORITY, "unsure")},
                "classes": {k: printable(name) for k, name in self._named.items()},
                "threshold": self._judged.threshold,
                "passed_over": len(self._passed_over),
                "training": self.is_training,
                "can_train": self._learner.can_learn,
                "has_heat_maps": self._learner.has_heat_maps,
                "generation": self._generation,
                "told": self._told,
            }

    def label(self, number: int, kind: str) -> None:
        """Writes the label of an image: majority, unsure, minority, minority2, ...

        A `RefusedError` if there is no such image or kind, or it has a label already;
        where the file cannot be written, nothing changes.
        """
        with self._lock:
            if kind not in self._named or number not in range(len(self._names)):
                raise RefusedError("There is no such label or image.")
            name = self._names[number]
            if name in self._labels.labels:
                raise RefusedError(
                    f"{printable(name)} has been labelled already, perhaps in another "
                    "window; nothing was written."
                )
            self._labels.add(name, self._named[kind])
            self._leave(number)
            self._told = f"{printable(name)}: {printable(self._named[kind])}."

    def undo(self) -> None:
        """Takes the last label back, and shows its image again.

        A `RefusedError` if there is none, or it is of an image elsewhere.
        """
        with self._lock:
            name = next(reversed(self._labels.labels), None)
            if name not in self._numbers:
                what = "" if name is None else f": {printable(name)} is none of these"
                raise RefusedError(f"There is no label to undo{what}.")
            _, label = self._labels.undo()
            number = self._numbers[name]
            self._queue.insert(0, number)
            self._told = f"Undone: {printable(name)} is no longer {printable(label)}."

    def pass_over(self, number: int, why: str) -> None:
        """Leaves out an image that cannot be shown."""
        with self._lock:
            # What has its label needs to be shown no more.
            if number in self._queue:
                self._passed_over[number] = why
                self._leave(number)
                name = printable(self._names[number])
                self._told = f"Passed over, {name}: {printable(why)}."

    @property
    def is_training(self) -> bool:
        """Whether a new model is being trained."""
        return self._thread is not None and self._thread.is_alive()

    def train(self) -> None:
        """Begins to train on all labels; labelling goes on meanwhile."""
        with self._lock:
            if self.is_training:
                raise RefusedError("A new model is being trained already.")
            pairs = [
                (self._numbers[name], self._label_of[label])
                for name, label in self._labels.labels.items()
                if name in self._numbers and label in self._label_of
            ]
            self._told = "Training on all labels so far."
            self._thread = threading.Thread(target=self._learn, args=(pairs,))
            self._thread.start()

    def wait(self) -> None:
        """Waits until a training that was begun has ended."""
        if self._thread is not None:
            self._thread.join()

    def _learn(self, pairs: list[tuple[int, int]]) -> None:
        started = time.perf_counter()
        numbers, labels = ([pair[k] for pair in pairs] for k in (0, 1))
        try:
            judged = self._learner.learn(numbers, labels)
        # Whatever a library raises, the labels are safe and the page goes on.
        except Exception as error:
            with self._lock:
                self._told = f"Not trained: {printable(error) or type(error).__name__}"
            return
        with self._lock:
            self._judged = judged
            self._generation += 1
            self._rank()
            seconds = time.perf_counter() - started
            self._told = (
                f"Trained with {labels.count(0)} majority and {labels.count(1)} "
                f"minority labels in {seconds:.1f} s; {len(self._queue)} images are "
                "ranked anew."
            )

    def _rank(self) -> None:
        """Puts what is neither labelled nor passed over in order."""
        is_left = np.array([name not in self._labels.labels for name in self._names])
        is_left[list(self._passed_over)] = False
        left, done = np.flatnonzero(is_left), np.flatnonzero(~is_left)
        scores, threshold, is_alien, _ = self._judged
        vectors = self._learner.vectors
        seen = np.concatenate([self._learner.seen, vectors[done]])
        shown = {"is_alien": is_alien[left], "count": _AHEAD}
        first = left[order(scores[left], threshold, vectors[left], seen, **shown)]
        rest = np.setdiff1d(left, first)
        rest = rest[np.lexsort((scores[rest], is_alien[rest]))]
        # The image that is being looked at stays, so that no key meets another one.
        shown = [number for number in self._queue[:1] if is_left[number]]
        ranked = [*first.tolist(), *rest.tolist()]
        self._queue = [*shown, *(number for number in ranked if number not in shown)]

    def _leave(self, number: int) -> None:
        if number in self._queue:
            self._queue.remove(number)

    def _role(self, label: str) -> str:
        role = self._label_of.get(label)
        return "unsure" if role is None else ("majority", _MINORITY)[role]

    def _shown(self, number: int) -> dict[str, Any]:
        score, most_like = float(self._judged.scores[number]), self._judged.most_like
        return {
            "number": number,
            "name": printable(self._names[number]),
            "score": score,
            "called": score < self._judged.threshold,
            "alien": bool(self._judged.is_alien[number]),
            "most_like": "" if most_like is None else printable(most_like[number]),
        }


def order(
    scores: np.ndarray,
    threshold: float,
    vectors: np.ndarray,
    seen: np.ndarray,
    *,
    is_alien: np.ndarray | None = None,
    count: int | None = None,
    turns: Sequence[str] = TURNS,
) -> np.ndarray:
    """Returns which images to look at, the most helpful first.

    In turns it takes the image of the lowest score, which is most likely to be
    minority; the one nearest to the threshold, of which the model knows least; and the
    one farthest from all that was seen or taken before, so that no kind of minority
    stays unnoticed because the model does not know it. Images unlike anything seen come
    last, those of the lowest score first: of a photograph of something else no score
    means much.

    Args:
        scores: Of the images, (n,), low = minority.
        threshold: An image is called minority when its score is below it.
        vectors: What tells the images apart, such as frozen features, (n, d).
        seen: The same of images looked at before, (m, d); m may be 0.
        is_alien: Which images are unlike anything seen, bool (n,).
        count: How many images to return; `None` returns all. The farthest take time
            that grows with it.
        turns: What is taken in turns, of `LOWEST`, `NEAREST` and `FARTHEST`.

    Returns:
        Row numbers of different images, int (count,).

    Raises:
        ValueError: If the lengths do not match, or a turn is unknown.

    Example:
        >>> scores = np.array([3.0, -2.0, 0.1, 2.0])
        >>> vectors = np.array([[0.0], [0.1], [0.2], [9.0]])
        >>> turns = (LOWEST, NEAREST, FARTHEST)
        >>> order(scores, 0.0, vectors, vectors[:1], turns=turns).tolist()
        [1, 2, 3, 0]
    """
    scores, vectors = np.asarray(scores, float), np.asarray(vectors, np.float32)
    aliens = np.zeros(len(scores), bool) if is_alien is None else np.asarray(is_alien)
    if not len(scores) == len(vectors) == len(aliens):
        raise ValueError(
            "Each image must have a score and a vector. Received: "
            f"{len(scores)} scores, {len(vectors)} vectors, {len(aliens)} in is_alien. "
            "Pass as many of each."
        )
    by_score = np.argsort(scores, kind="stable")
    by_nearness = np.argsort(np.abs(scores - threshold), kind="stable")
    free = ~aliens
    ways = {
        LOWEST: iter(by_score),
        NEAREST: iter(by_nearness),
        FARTHEST: _farthest(vectors, seen, free, free.copy()),
    }
    if unknown := [turn for turn in turns if turn not in ways]:
        raise ValueError(
            f"Unknown turn; expected one of {', '.join(ways)}. Received: "
            f"{unknown[0]!r}. Leave `turns` out for the usual ones."
        )
    count = len(scores) if count is None else min(count, len(scores))
    taken: list[int] = []
    n_known = int(free.sum())
    while len(taken) < min(count, n_known):
        turn = turns[len(taken) % len(turns)]
        row = int(next(row for row in ways[turn] if free[row]))
        free[row] = False
        taken.append(row)
    last = by_score[aliens[by_score]]
    return np.array([*taken, *last][:count], int)


def _farthest(
    vectors: np.ndarray, seen: np.ndarray, free: np.ndarray, known: np.ndarray
) -> Iterator[int]:
    """Yields the image farthest from those seen or taken, again and again.

    `free` changes while others take; `known` is what it was before.
    """
    seen = np.asarray(seen, np.float32)
    squares = (vectors**2).sum(axis=1)
    nearest = np.full(len(vectors), np.inf, np.float32)

    def look_at(rows: np.ndarray) -> None:
        products = squares[:, None] - 2 * vectors @ rows.T + (rows**2).sum(axis=1)
        np.minimum(nearest, products.min(axis=1), out=nearest)

    for start in range(0, len(seen), 256):
        look_at(seen[start : start + 256])
    while True:
        gone = np.flatnonzero(known & ~free)
        if len(gone):
            look_at(vectors[gone])
            known[gone] = False
        yield int(np.argmax(np.where(free, nearest, -np.inf)))
