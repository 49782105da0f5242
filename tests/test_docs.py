"""README and docs/: code runs, commands are known, links lead somewhere."""

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import TINY, save_unique
from PIL import Image
from sklearn.datasets import load_digits

import egan_keras as ek
from egan_keras import cli
from egan_keras.cli import runs
from egan_keras.evaluation.report import METRICS, report_on_scores

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS, *sorted(ROOT.glob("C*.md")), ROOT / "SECURITY.md"]
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->\n$")
RUNS_WITH = re.compile(r"<!-- runs with: (\w+) -->\n$")
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\[[^\[\]]*\]\(([^()\s]+)\)")
OPTION = re.compile(r"(?<=\s)--[a-z][a-z0-9-]*")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|usr|Users)/")


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def by_name(pages):
    return pytest.mark.parametrize("page", pages, ids=name_of)


def blocks(page, kind):
    """Returns (code, reason not to run it or None) of a page's fenced blocks."""
    text, found = page.read_text("utf-8"), []
    for match in FENCE.finditer(text):
        if match[2].strip() == kind:
            before = text[: match.start()]
            reason, needed = NOT_RUN.search(before), RUNS_WITH.search(before)
            if needed and importlib.util.find_spec(needed[1]) is None:
                reason = needed
            found.append((match[3], reason and reason[1]))
    return found


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    """Digits under the names of the classes that pages speak of."""
    folder = tmp_path_factory.mktemp("docs")
    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype("uint8")
    counts = {"train": {"good": 320, "scratched": 6}, "test": {"good": 60}}
    counts["test"]["scratched"] = 20
    rows = {"good": list(np.flatnonzero(digits.target < 5))}
    rows["scratched"] = list(np.flatnonzero(digits.target == 9))
    for split, classes in counts.items():
        for name, count in classes.items():
            place = folder / "data" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(pixels[rows[name].pop()]).resize((32, 32))
                save_unique(image.convert("RGB"), place / f"{number:03}.png")
        (folder / "data" / split / "automobile").symlink_to("good")
        (folder / "data" / split / "airplane").symlink_to("scratched")
    return folder


@pytest.fixture(scope="module")
def small(tiny_weights):
    """Choices by which a model is built and trained in seconds."""
    quick = {"epochs": 1, "minimum_steps": 2, "place_depths": 1}
    return {"weights": tiny_weights, "network_size": 32, **quick}


@pytest.fixture(scope="module")
def trained(data_folder, small, tmp_path_factory):
    """Splits of the images, and the file of a model that is trained on them."""
    splits = ek.load_folder(
        data_folder / "data", majority="good", minority="scratched", minority_count=2
    )
    keras.utils.set_random_seed(0)
    model = ek.EGAN.from_backbones(TINY, TINY, image_shape=(32, 32, 3), **small)
    model.compile()
    model.fit(splits.train.images, splits.train.labels, verbose=0)
    path = tmp_path_factory.mktemp("trained") / "model.keras"
    model.save(path)
    return splits, path


@pytest.fixture
def names(data_folder, small, trained, tmp_path, monkeypatch):
    """What a page's code finds: images, and a model that is trained.

    What it builds itself is built on a small backbone.
    """
    build = ek.EGAN.from_backbones

    def build_small(encoder, discriminator, **choices):
        for spec in (encoder, discriminator):
            ek.Backbone.parse(spec)
        return build(TINY, TINY, **small | choices)

    monkeypatch.setattr(ek.EGAN, "from_backbones", staticmethod(build_small))
    (tmp_path / "data").symlink_to(data_folder / "data")
    monkeypatch.chdir(tmp_path)
    splits, path = trained
    yield {"ek": ek, "model": keras.saving.load_model(path), **splits._asdict()}
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.mark.whole
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[] if page == README else pytest.mark.slow)
        for page in WITH_PYTHON
    ],
    ids=name_of,
)
def test_code_runs(page, names):
    for code, reason in blocks(page, "python"):
        if reason is None:
            exec(compile(code, name_of(page), "exec"), names)


def test_most_code_runs():
    found = [reason for page in WITH_PYTHON for _, reason in blocks(page, "python")]
    assert found.count(None) >= 12
    assert len(found) - found.count(None) <= 4


def commands(page):
    """Returns the commands of a page's shell blocks, each as its arguments."""
    for code, _ in blocks(page, ""):
        code = code.replace("\\\n", " ")
        code = re.sub(
            r'"(egan-keras[^"]*)"', lambda x: f"\n{' '.join(x[1].split())}\n", code
        )
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["egan-keras"]:
                yield words[1:]


@by_name([page for page in PAGES if any(commands(page))])
def test_commands_are_known_with_their_options(page, capsys):
    for words in commands(page):
        try:
            _, command, given = cli.parse(words)
        except SystemExit:
            pytest.fail(f"egan-keras {shlex.join(words)}: {capsys.readouterr().err}")
        assert isinstance(given, command.Options)


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        cli.parse([command, "--help"])
    return capsys.readouterr().out


@by_name(PAGES)
def test_commands_in_the_text_are_known_too(page, capsys):
    text = FENCE.sub("", page.read_text("utf-8"))
    helps = {}
    for code in INLINE.findall(text):
        found = re.match(r"egan-keras\s+([a-z]+)", code)
        if found:
            name = found[1]
            assert name in [*cli.COMMANDS, "review"], code
        if found and name in cli.COMMANDS:
            helps[name] = helps.get(name) or help_of(name, capsys)
            for option in OPTION.findall(code):
                assert option in helps[name], code


@by_name(PAGES)
def test_make_targets_are_there(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    text = page.read_text("utf-8")
    for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.M):
        assert target in targets


def anchors(page):
    """Returns the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.M)
    bare = [re.sub(r"[^\w\- ]", "", each.lower()) for each in headings]
    return {each.strip().replace(" ", "-") for each in bare}


@by_name(PAGES)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text("utf-8"))
    for url in LINK.findall(text):
        path, _, anchor = url.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), url
        if anchor and target.name != "commands.md":
            assert anchor in anchors(target), url


@by_name(PAGES)
def test_pages_name_no_machine(page):
    assert not MACHINE_PATH.search(page.read_text("utf-8"))


def test_change_log_and_citation_know_the_version():
    log = (ROOT / "CHANGELOG.md").read_text()
    assert f"\n## {ek.__version__}\n" in log or f"\n## [{ek.__version__}]" in log
    assert f"\nversion: {ek.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_readme_is_short_and_begins_with_the_workflow():
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) <= 150
    assert lines.index("```python") <= 40


def test_api_reference_has_every_public_name_once():
    pages = sorted((ROOT / "docs/reference/api").glob("*.md"))
    text = "".join(page.read_text() for page in pages)
    told = re.findall(r"^::: egan_keras\.(\w+)$", text, re.M)
    assert sorted(told) == ek.__all__
    listed = (ROOT / "docs/reference/api/index.md").read_text()
    assert set(re.findall(r"`(\w+)`", listed)) >= set(ek.__all__)


def documented(name):
    """Returns the names in the first columns of a reference page's tables."""
    text = (ROOT / "docs/reference" / name).read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]+) \|", text, re.M)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_reference_tells_of_every_field_of_a_report():
    labels = np.arange(20) % 2
    report = report_on_scores(None, 1.0 - labels, labels, prevalence=0.1)
    assert set(report.values) | set(METRICS) <= documented("report-json.md")


def test_reference_tells_of_every_file_and_key_of_a_run():
    told = documented("run.md")
    names = [runs.MODEL, runs.CONFIG, runs.HISTORY, runs.REPORT, runs.SCORES]
    assert {*names, runs.PAGE, f"{runs.PLOTS}/", "suspects.csv"} <= told
    assert {field.name for field in dataclasses.fields(runs.RunConfig)} <= told


def test_the_site_shows_what_help_says():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = hooks.commands()
    for name in cli.COMMANDS:
        assert f"\n## {name}\n" in text
        assert f"usage: egan-keras {name} " in text
