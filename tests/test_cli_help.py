"""What `--help` shows, what shells complete, and what is typed next."""

import re
import shlex
import subprocess

import pytest

from egan_keras import cli
from egan_keras.cli import compare, main

COLUMNS = 80
# Of `--help`, but for `tune` and `train`, which have the options of all.
MOST_LINES, MOST_LINES_OF_TRAINING = 80, 105


@pytest.fixture
def shown(monkeypatch, capsys):
    """Returns what is shown for a command's `--help` in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))

    def show(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--help"])
        assert stopped.value.code == 0
        return capsys.readouterr().out

    return show


@pytest.mark.parametrize("command", [None, *cli.COMMANDS])
def test_help_is_short_and_ends_with_examples(command, shown):
    text = shown(*filter(None, [command]))
    lines = text.splitlines()
    assert max(map(len, lines)) <= COLUMNS
    is_long = command in ("train", "tune")
    assert len(lines) <= (MOST_LINES_OF_TRAINING if is_long else MOST_LINES)
    before, examples = text.split("\nExamples:\n")
    assert "options:" in before
    assert re.search(rf"^  egan-keras {command or 'train'}\b", examples, re.M)


def test_examples_of_help_can_be_typed(shown):
    for command in cli.COMMANDS:
        examples = shown(command).split("\nExamples:\n")[1].split("\n\n")[0]
        for line in examples.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            assert program == "egan-keras"
            assert isinstance(cli.parse(words)[2], cli.parse(words)[1].Options)


def test_the_grid_of_help_can_be_read(tmp_path):
    from egan_keras.experiments.grid_file import read_grid

    text = compare.__doc__.split("such as:\n")[1]
    (tmp_path / "grid.toml").write_text(text)
    grid = read_grid(tmp_path / "grid.toml", tmp_path, {})
    assert [task.data for task in grid.tasks] == [tmp_path / "tiles"]


def test_what_is_required_stands_in_the_usage_and_first(shown):
    lines = shown("train").splitlines()
    usage = "usage: egan-keras train --data ROOT --majority A[,B..] --out RUN [OPTIONS]"
    assert lines[0] == usage
    flags = [line.split()[0] for line in lines if line.startswith("  --")]
    assert flags[:4] == ["--data", "--majority", "--minority", "--out"]
    groups = [line for line in lines if re.fullmatch("[a-z ]+:", line)]
    assert groups[:2] == ["options:", "threshold:"] and groups[-1] == "images:"


def test_commands_stand_before_options(shown):
    text = shown()
    assert text.index("\ncommands:") < text.index("\noptions:")


ASK = """
source {script}
ask() {{
  COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  complete=$(complete -p egan-keras)
  complete=${{complete##*-F }}
  ${{complete% *}} egan-keras "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[-2]}}"
  echo "${{COMPREPLY[@]}}"
}}
ask egan-keras "$@"
"""


@pytest.mark.parametrize(
    ("typed", "answers"),
    [
        ([""], list(cli.COMMANDS)),
        (["tr"], ["train"]),
        (["train", "--spec"], ["--specificity"]),
        (["train", "--recipe", ""], ["default", "published"]),
        (["train", "--data", ""], ["images"]),
        (["score", "images", ""], ["a.png", "images"]),
        (["export", "images", "--format", ""], ["onnx", "savedmodel", "tflite"]),
        (["--print-completion", ""], ["bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(typed, answers, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--print-completion", "bash"])
    assert stopped.value.code == 0
    script, folder = tmp_path / "completion", tmp_path / "here"
    script.write_text(capsys.readouterr().out)
    (folder / "images").mkdir(parents=True)
    (folder / "a.png").touch()
    asked = ["bash", "--norc", "-c", ASK.format(script=script), "bash", *typed]
    ended = subprocess.run(asked, cwd=folder, capture_output=True, text=True)
    assert sorted(ended.stdout.split()) == sorted(answers), ended.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_every_option(shell, capsys):
    with pytest.raises(SystemExit):
        main(["--print-completion", shell])
    script = capsys.readouterr().out
    for flag in ("specificity", "heat-maps", "quantize", "miss-cost", "max-int8-kb"):
        assert flag in script


def test_a_name_is_quoted_in_the_command_to_type(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "program", lambda: ["egan-keras"])
    page = tmp_path / "report.html"
    cli.tell_next("score", "my run", "it's", page=page)
    assert capsys.readouterr().out == (
        "\nNext: egan-keras score 'my run' 'it'\"'\"'s'\n"
    )
    page.touch()
    cli.tell_next(page=page)
    assert capsys.readouterr().out == f"\nLook at {page}\n"


def test_what_is_next_names_what_is_there(tmp_path):
    run = tmp_path / "run"
    assert cli.score_words(run, tmp_path) == ["score", run, "NEW_IMAGES"]
    (tmp_path / "test").mkdir()
    assert cli.score_words(run, tmp_path)[-1] == tmp_path / "test"
    out = tmp_path / "run.tflite"
    assert cli.export_words(run)[-2:] == ["--out", out]
    out.touch()
    assert cli.export_words(run)[-2:] == [out, "--overwrite"]


def test_what_is_next_after_a_comparison_can_be_typed(tmp_path):
    words = ["--data", "my images", "--majority", "a,b", "--minority", "c"]
    words += ["--encoder", "MobileNet", "--groups", "(x)", "--out", "compared"]
    _, _, given = cli.parse(["compare", *words])
    _, _, chosen = cli.parse(list(map(str, compare._train_words(given))))
    for name in ("data", "majority", "minority", "encoder", "groups"):
        assert getattr(chosen, name) == getattr(given, name)
    assert str(chosen.out) == "compared-run"
