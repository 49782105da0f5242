"""How a command ends early: on Ctrl-C, SIGTERM, or when its terminal closes."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_LAST = 3


class Stopped(KeyboardInterrupt):
    """A signal that asks the command to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(stopped: KeyboardInterrupt) -> int:
    """Returns the exit code of a command that was stopped, as shells give it."""
    return 128 + getattr(stopped, "number", signal.SIGINT)


@contextlib.contextmanager
def signals(name: str) -> Iterator[None]:
    """Turns signals into `Stopped`, once; a third one ends the process at once.

    What `saving` protects is finished first. Signals that are ignored, as in the
    background or under nohup, stay so.

    Args:
        name: of the command, for messages.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, each) for each in _SIGNALS if hasattr(signal, each)]
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number in numbers if before[number] is not signal.SIG_IGN]
    _state.begin(name)
    for number in heeded:
        signal.signal(number, _state.receive)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


@contextlib.contextmanager
def saving(what: str) -> Iterator[None]:
    """Lets what is written be finished before a signal ends the command.

    Args:
        what: is written, for messages.

    Raises:
        Stopped: behind it, if the first signal came meanwhile.
    """
    outer, _state.what = _state.what, what
    try:
        yield
    finally:
        _state.what = outer
    # Again where it was raised before: some callbacks swallow exceptions.
    if outer is None and _state.received:
        _state.stop()


class _State:
    """What signals have come, and what is being saved.

    Attributes:
        received: the numbers of the signals.
        is_stopping: whether `Stopped` was raised.
        what: is being saved; None if nothing.
    """

    def __init__(self) -> None:
        self.begin("")

    def begin(self, name: str) -> None:
        self._name = name
        self.received: list[int] = []
        self.is_stopping = False
        self.what: str | None = None

    def stop(self) -> None:
        self.is_stopping = True
        raise Stopped(self.received[0])

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal."""
        self.received.append(number)
        if len(self.received) >= _LAST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.what is None and not self.is_stopping:
            self.stop()
        doing = f"saving {self.what}" if self.what else "stopping"
        left = "two more end" if len(self.received) == 1 else "once more ends"
        self._say(f"{doing}; {left} it at once, and what is not saved is lost")

    def _say(self, text: str) -> None:
        # Python's own streams refuse to be written while they are being written.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self._name}: {text}\n".encode())


_state = _State()
