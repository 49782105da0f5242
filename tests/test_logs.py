"""What is printed, and what is not; mostly in processes without TensorFlow."""

import io
import subprocess
import sys
import textwrap
import time
import warnings

import pytest

from egan_keras import cli, logs
from egan_keras.cli import main, score
from egan_keras.logs import coloured

pytestmark = pytest.mark.whole

# As the installed command starts: without the whole library.
PROGRAM = "import os, sys\nsys.argv = ['egan-keras', *sys.argv[1:]]\n"


def run(program, *arguments, **options):
    text = PROGRAM + textwrap.dedent(program)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-c", text, *arguments]
    return subprocess.run(command, text=True, errors="surrogateescape", **options)


class Terminal(io.StringIO):
    """A terminal that keeps what is written."""

    def isatty(self):
        return True


def on_terminal(monkeypatch):
    """Makes standard error a terminal, and returns what is written on it."""
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", logs.Printed(written))
    return written


def on_screen(written):
    """Returns the lines that are left on a screen."""
    return [line.rpartition("\r")[2].strip() for line in written.split("\n")]


def test_progress_with_the_time_left_stands_below_what_is_printed(monkeypatch):
    terminal = on_terminal(monkeypatch)
    for number in logs.shown(range(3), 3, "files"):
        time.sleep(0.11)
        if number == 2:
            assert "2 of 3 files, 00:00 left" in on_screen(terminal.getvalue())[-1]
            print("row", file=sys.stderr)
    assert on_screen(terminal.getvalue()) == ["row", ""]


def test_progress_counts_the_sizes_of_batches_and_the_outermost_alone(monkeypatch):
    terminal = on_terminal(monkeypatch)
    seen = []
    for batch in logs.shown([[1, 2], [3]], 3, size=len):
        time.sleep(0.11)
        seen += logs.shown(batch, len(batch), "rows")
    assert seen == [1, 2, 3]
    assert "3 of 3 images" in terminal.getvalue() and "rows" not in terminal.getvalue()


def test_what_stops_leaves_no_progress_behind(monkeypatch):
    terminal = on_terminal(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        for number in logs.shown(range(3), 3):
            time.sleep(0.11)
            if number == 2:
                raise KeyboardInterrupt
    assert "2 of 3" in terminal.getvalue()
    assert on_screen(terminal.getvalue()) == [""]
    assert list(logs.shown("ab", 2)) == ["a", "b"]


@pytest.mark.parametrize("stream", [Terminal(), logs.Printed(io.StringIO())])
def test_no_progress_in_files_and_outside_of_commands(stream, monkeypatch):
    on_terminal(monkeypatch)
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(logs.shown(range(3), 3)) == [0, 1, 2]
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("stream", "environment", "has_colour"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (io.StringIO(), {"TERM": "dumb", "FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals_and_as_asked(
    stream, environment, has_colour, monkeypatch
):
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = "\x1b[1;31merror\x1b[0m" if has_colour else "error"
    assert coloured("error", "error", stream) == expected


CHATTER = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795682197.160711   14757 port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2, rebuild TensorFlow.
W0000 00:00:1795682202.770955   14757 flatbuffer_helpers.cc:364] Ignored output_format.
E0000 00:00:1795682202.003596   14757 cuda_platform.cc:52] failed call to cuInit: x
2024-05-01 10:00:00.123456: I tensorflow/core/util/port.cc:113] oneDNN
2024-05-01 10:00:00.123456: E external/cuda_fft.cc:1] Unable to register cuFFT factory
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
"""
WORDS = """\
F0000 00:00:1795682202.003596   14757 tensor.cc:52] Check failed: 1 == 2
E0000 00:00:1795682202.003596   14757 allocator.cc:52] out of memory
ERROR: a model without operators
Traceback (most recent call last):
"""
CHATTERING = """
    from egan_keras import logs
    with logs.printing(), logs.only_ours():
        print("first", file=sys.stderr)
        os.write(2, sys.argv[1].encode())
        {ending}
    print("last", file=sys.stderr)
"""


def test_chatter_of_c_is_dropped_and_all_else_passed_on():
    ended = run(CHATTERING.format(ending="pass"), CHATTER + WORDS + CHATTER)
    assert ended.stderr == f"first\n{WORDS}last\n"


def test_the_last_words_of_a_crash_are_passed_on():
    ended = run(CHATTERING.format(ending="os.abort()"), CHATTER + WORDS + "half a line")
    assert ended.stderr == f"first\n{WORDS}half a line"
    assert ended.returncode < 0


def test_processes_that_are_started_are_filtered_too():
    ending = (
        "__import__('subprocess').run(['sh', '-c', 'echo INFO: a >&2; echo b >&2'])"
    )
    assert run(CHATTERING.format(ending=ending), "").stderr == "first\nb\nlast\n"


@pytest.mark.parametrize("level", ["0", "1"])
def test_chatter_is_shown_where_it_is_asked_for(level, monkeypatch):
    monkeypatch.setenv(logs.LOG_LEVEL, level)
    ended = run(CHATTERING.format(ending="pass"), CHATTER)
    assert ended.stderr == f"first\n{CHATTER}last\n"


def test_what_an_encoding_lacks_is_escaped():
    bytes_written = io.BytesIO()
    console = io.TextIOWrapper(bytes_written, encoding="cp1252", newline="\n")
    printed = logs.Printed(console)
    print("café 照 \udce9 \u2501\u2501", file=printed)
    # A progress bar as Keras draws it there.
    assert bytes_written.getvalue() == "café \\u7167 \\udce9 ==\n".encode("cp1252")
    assert printed.lost is None and printed.encoding == "cp1252"


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("stream", [Full(), open(__file__)])
def test_a_stream_that_fails_stops_nothing(stream):
    printed = logs.Printed(stream)
    print("a", file=printed)
    print("b", file=printed)
    assert isinstance(printed.lost, OSError)


def command(monkeypatch, action):
    """Makes `egan-keras score` do something else, and returns its arguments."""
    monkeypatch.setattr(score, "run", lambda arguments: action() or 0)
    return ["score", "run", "image.png"]


def test_lost_output_is_told_and_gives_an_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Full())
    assert main(command(monkeypatch, lambda: print("rows"))) == cli.BLEMISHED
    error = capsys.readouterr().err
    assert error.startswith("egan-keras score: warning: Standard output could not be")
    assert "No space left" in error


COMMAND = """
    from egan_keras.cli import main, score
    def run(arguments):
        print("rows")
        with open("file", "w") as file:
            file.write("whole")
        os.write(1, b"of C")
        return 0
    score.run = run
    sys.exit(main(["score", "run", "image.png"]))
"""


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(tmp_path, closed):
    text = PROGRAM + textwrap.dedent(COMMAND)
    shell = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, text]
    assert subprocess.run(shell, cwd=tmp_path).returncode == 0
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"]])
def test_help_to_a_full_disk_ends_quietly(arguments):
    program = "from egan_keras.cli import main\nmain(sys.argv[1:])"
    with open("/dev/full", "w") as full:
        ended = run(program, *arguments, stdout=full)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_names_in_messages_cannot_fake_lines(monkeypatch, capsys):
    name = "a\n\x1b[2Jegan-keras score: done\udce9"

    def warn_and_fail():
        warnings.warn(f"skipped {name}", stacklevel=2)
        raise ValueError(f"Unreadable: {name}\nTry again.")

    warn_and_fail.__globals__["__name__"] = "egan_keras.test"
    assert main(command(monkeypatch, warn_and_fail)) == 2
    assert capsys.readouterr().err == (
        "egan-keras score: warning: skipped a\n"
        "  \\x1b[2Jegan-keras score: done\\udce9\n"
        "egan-keras score: error: Unreadable: a\n"
        "  \\x1b[2Jegan-keras score: done\\udce9\n  Try again.\n"
    )


def test_warnings_of_other_packages_are_not_shown(monkeypatch, capsys):
    code = compile("import warnings; warnings.warn('structure of inputs')", "k", "exec")
    action = command(monkeypatch, lambda: exec(code, {"__name__": "keras.layers"}))
    assert main(action) == 0
    assert capsys.readouterr().err == ""


def test_a_backend_that_is_not_installed_is_a_sentence(monkeypatch, capsys):
    def start():
        raise ImportError("No module named 'torch'")

    assert main(command(monkeypatch, start)) == 2
    assert capsys.readouterr().err == (
        "egan-keras score: error: No module named 'torch'\n"
    )
