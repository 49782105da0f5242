"""Work done ahead by threads, in order, a bounded part of it at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_MOST_WORKERS = 8


def work_ahead(
    function: Callable[[Item], Answer], items: Iterable[Item]
) -> Iterator[Answer]:
    """Yields `function(item)` for each item in order, computed by threads.

    While an answer is used, the next ones are computed: one for each thread, and as
    many threads as the machine has cores, but at most 8. No more are in memory. An
    error is raised at its item's turn.

    >>> list(work_ahead(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
