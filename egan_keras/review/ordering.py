"""In which order images are worth looking at."""

from collections.abc import Iterator, Sequence

import numpy as np

LOWEST, NEAREST, FARTHEST = "lowest score", "nearest to the threshold", "farthest"
# So many numbers tell images apart.
_COMPACT, _MOST_ROWS = 32, 2000
# In turns: most of all what looks like minority; what the model cannot tell; and what
# is unlike all that was looked at.
TURNS = (LOWEST, LOWEST, LOWEST, NEAREST, LOWEST, LOWEST, FARTHEST)


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


def compact(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors (n, d) in at most 32 numbers, those in which they differ most."""
    step = max(1, len(vectors) // _MOST_ROWS)
    some = vectors[::step].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0) + 1e-6
    directions = np.linalg.svd((some - mean) / deviation, full_matrices=False)[2]
    return ((vectors - mean) / deviation @ directions[:_COMPACT].T).astype(np.float32)


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
