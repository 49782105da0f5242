"""What is printed, and what other libraries print that is held back."""

import contextlib
import logging
import os
import re
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from egan_keras.text import printable

Item = TypeVar("Item")

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"

_CHATTER = re.compile(
    # absl's and TensorFlow's informations and warnings, in both of their forms.
    rb"[IW]\d{4} [\d:.]+\s+\d+ \S+:\d+\] |\d{4}-\d\d-\d\d [\d:.]+: [IW] "
    # TFLite's.
    rb"|(INFO|WARNING|VERBOSE): "
    # The second line of one of them.
    rb"|To enable the following instructions: "
    # That there is no GPU, or that two parts of TensorFlow know it, is no error.
    rb"|(E\d{4}|\d{4}-\d\d-\d\d) .*(cuInit|cudart|Unable to register cu|"
    rb"computation placer already registered)"
)
_QUIET_SECONDS = 0.2
_END_SECONDS = 5
# By what is shown in them: bold red, bold yellow, yellow, underlined cyan.
_COLOURS = {"error": "1;31", "warning": "1;33", "minority": "33", "address": "4;36"}
_BAR = "{percentage:3.0f}% {bar} {n_fmt} of {total_fmt} {unit}, {remaining} left"


class Printed:
    """A stream to print on that stops no work: what it cannot write is dropped.

    Characters that its encoding lacks are escaped. Each line is written at once. `lost`
    is why it could not be written; None while it can.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: Exception | None = None

    def write(self, text: str) -> int:
        """Writes as much as can be."""
        if _progress.is_in_the_way_of(text) and self.isatty():
            _progress.make_room()
        try:
            self._attempt(self._stream.write, text)
        except UnicodeEncodeError as error:
            # As Keras writes its progress bar there.
            text = text.replace("\u2501", "=")
            known = text.encode(error.encoding, "backslashreplace")
            self._attempt(self._stream.write, known.decode(error.encoding))
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Hands on what is buffered."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Any, *arguments: Any) -> None:
        try:
            if self.lost is None:
                action(*arguments)
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError) as error:  # the latter of a closed stream
            self.lost = error

    def __getattr__(self, name: str) -> Any:
        """Returns what else the stream has."""
        return getattr(self._stream, name)


class _Progress:
    """The progress bar on the last line of the terminal, if there is one."""

    def __init__(self) -> None:
        self.bar, self._cleared = None, 0.0

    def is_in_the_way_of(self, text: str) -> bool:
        """Whether the bar is drawn where a text, not its own, would be written."""
        is_own = not text or text.startswith("\r")
        return bool(self.bar) and not is_own and self.bar.last_print_t > self._cleared

    def make_room(self) -> None:
        """Removes the bar, until it is drawn again below what is written now."""
        self._cleared = self.bar.last_print_t
        self.bar.clear()


_progress = _Progress()


def shown(
    items: Iterable[Item],
    count: int,
    unit: str = "images",
    size: Callable[[Item], int] = lambda item: 1,
) -> Iterator[Item]:
    """Yields items, and shows how far it is, and the time left.

    That is for the command line alone: on standard error, if it is a terminal, and
    until it is done. Of several in each other the outermost is shown. The count of what
    `unit` names is the sum of the items' sizes.
    """
    is_shown = isinstance(sys.stderr, Printed) and sys.stderr.isatty()
    if not is_shown or _progress.bar is not None or count <= 1:
        yield from items
        return
    from tqdm import tqdm

    # Every batch is told, also one that is smaller than that before.
    look = {"bar_format": _BAR, "dynamic_ncols": True, "leave": False}
    told = {"total": count, "unit": unit, "file": sys.stderr, "miniters": 1}
    with tqdm(**told, **look) as bar:
        _progress.bar = bar
        try:
            for item in items:
                yield item
                bar.update(size(item))
        finally:
            _progress.make_room()
            _progress.bar = None


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Makes standard output and error `Printed`; closed ones go nowhere."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # Else the next file opened gets its number, and what C prints.
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = (Printed(stream or nowhere) for stream in before)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                if stream.lost is not None:
                    # Python would fail to write what is left when it ends.
                    with contextlib.suppress(OSError, ValueError):
                        os.dup2(nowhere.fileno(), stream.fileno())
            sys.stdout, sys.stderr = before


@contextlib.contextmanager
def only_ours() -> Iterator[None]:
    """Holds back the messages of libraries, unless TF_CPP_MIN_LOG_LEVEL asks for them.

    TensorFlow and TFLite write to the descriptor of standard error, much of it before
    or in spite of that variable; it leads to another process then, which drops such
    lines and passes on all others, the last ones of a crash too.
    """
    if shows_all():
        yield
        return
    os.environ.setdefault(LOG_LEVEL, "2")
    logging.disable(logging.WARNING)
    with contextlib.ExitStack() as stack:
        stack.callback(logging.disable, logging.NOTSET)
        # Where TensorFlow runs already, a fork of its threads is not safe.
        if hasattr(os, "fork") and "tensorflow" not in sys.modules:
            stack.enter_context(_filtered_errors())
        yield


def is_read() -> bool:
    """Whether what is printed arrives, as far as is known."""
    return getattr(sys.stdout, "lost", None) is None


def shows_all() -> bool:
    """Whether the messages of libraries are asked for."""
    return os.environ.get(LOG_LEVEL) in ("0", "1")


def verbosity() -> int:
    """Returns Keras's `verbose`: a progress bar is for terminals, a log gets lines."""
    return 1 if sys.stdout.isatty() else 2


def start_keras() -> None:
    """Imports Keras and finds the devices, and says so, since it takes seconds."""
    if "keras" not in sys.modules:
        tell("Starting Keras", file=sys.stderr)
    from egan_keras.keras_hooks import keras

    keras.ops.zeros(1)


def tell(doing: str, *, file: TextIO | None = None) -> None:
    """Prints what is being done, before something that can take long."""
    print(doing, file=file, flush=True)


def coloured(text: str, kind: str, stream: TextIO) -> str:
    """Returns a text in the colour of an error, a warning, a minority or an address.

    Without one, if the stream is no terminal that has colours. In the environment
    NO_COLOR turns them off, and FORCE_COLOR on, wherever the stream leads.
    """
    has_colours = stream.isatty() and os.environ.get("TERM") != "dumb"
    # Windows' own consoles show them only after being told so.
    has_colours &= os.name != "nt" or "WT_SESSION" in os.environ
    if os.environ.get("NO_COLOR") or not (os.environ.get("FORCE_COLOR") or has_colours):
        return text
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m"


def complain(name: str, kind: str, message: object) -> None:
    """Prints an error or a warning of a command, of which names cannot break out."""
    lines = map(printable, str(message).splitlines())
    shown = coloured(kind, kind, sys.stderr)
    print(f"{name}: {shown}:", "\n  ".join(lines), file=sys.stderr)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Holds back warnings and TensorFlow's log.

    A trial that diverges is marked as such; and a search traces many models by
    design, which TensorFlow warns of.
    """
    logger = logging.getLogger("tensorflow")
    with contextlib.ExitStack() as stack:
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        yield


@contextlib.contextmanager
def without_stderr() -> Iterator[None]:
    """Holds back what a library writes to stderr past Python."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def _filtered_errors() -> Iterator[None]:
    """Has descriptor 2 lead through a filter; `sys.stderr` goes past it."""
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(reading, 0)
        os.close(1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        _pass_on()
    os.close(reading)
    own = os.dup(2)
    os.dup2(writing, 2)
    os.close(writing)
    before = sys.stderr
    options = {"encoding": before.encoding, "errors": "backslashreplace"}
    sys.stderr = Printed(open(own, "w", **options))
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, 2)
        sys.stderr.close()
        sys.stderr = before
        # A process of a library's own may live longer, and hold its input open.
        end = time.monotonic() + _END_SECONDS
        while os.waitpid(child, os.WNOHANG) == (0, 0) and time.monotonic() < end:
            time.sleep(0.005)


def _pass_on() -> None:
    """Writes to descriptor 2 what comes in at 0, but for chatter; never returns."""
    try:
        # What ends the process whose last words are to be passed on does not end this.
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        out = open(2, "wb")
        rest = b""
        is_over = False
        while not is_over:
            part = b""
            if select.select([0], [], [], _QUIET_SECONDS if rest else None)[0]:
                part = os.read(0, 2**16)
                is_over = not part
            *lines, rest = (rest + part).split(b"\n")
            kept = [line + b"\n" for line in lines if not _CHATTER.match(line)]
            if not part:
                # Part of a line that stays so, such as a question, is passed on, too.
                kept, rest = [*kept, rest], b""
            out.write(b"".join(kept))
            out.flush()
    finally:
        os._exit(0)
