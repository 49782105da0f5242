"""The page of a report: what it holds, what it never does, and how large it gets."""

import dataclasses
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import ImageFiles, LabelledImages
from egan_keras.evaluation import Origin, Report, evaluate, find_shortcuts
from egan_keras.evaluation.page_parts import choose, encode, for_script

NASTY = '"><script>alert(1)</script><img src=//evil.example/x>'


@dataclasses.dataclass
class Scores:
    """A stand-in for a model, whose scores are given."""

    scores: np.ndarray
    threshold: float = 0.0

    def predict(self, images, batch_size, verbose):
        return self.scores[:, None]


def make_report(n=60, n_minority=12, threshold=0.0, dtype="float32"):
    random = np.random.default_rng(0)
    labels = (np.arange(n) < n_minority).astype(int)
    scores = (random.normal(size=n) + 2 - 2.5 * labels).astype(dtype)
    images = np.zeros((n, 4, 4, 3), "uint8")
    return evaluate(Scores(scores, threshold), images, labels, resamples=20)


def noise(n, side=48):
    random = np.random.default_rng(1)
    return random.integers(0, 256, (n, side, side, 3), dtype=np.uint8)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, text):
        if self.found:
            number = len(self.found) - 1
            self.texts[number] = self.texts.get(number, "") + text

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    def text(self, tag):
        named = [n for n, (name, _) in enumerate(self.found) if name == tag]
        return [self.texts.get(n, "").strip() for n in named]


def page_of(path):
    return Page(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def report():
    return make_report()


@pytest.fixture
def saved(report, tmp_path):
    report.save_html(tmp_path / "report.html", noise(60))
    return tmp_path / "report.html"


def test_a_page_tells_figures_counts_and_the_guarantee(report, saved):
    text = saved.read_text("utf-8")
    for _, value, interval, _ in report.rows():
        assert value in text and interval in text
    assert report["threshold_guarantee"] in text
    assert "egan-keras calibrate RUN" in text and "flatter" in text
    page = Page(text)
    live = json.loads(page.text("script")[0])
    assert live["classes"]["minority"]["n"] == 12
    found = int(round(12 * report["sensitivity"]))
    assert f'<span id="found">{found}</span>' in text
    assert live["classes"]["minority"]["below"] == found


def test_a_page_is_well_built(saved):
    page = page_of(saved)
    assert page.all("html") == [{"lang": "en"}]
    assert page.text("title") == ["Report"] and len(page.all("main")) == 1
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert all(each.get("alt") for each in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(each.get("scope") in ("col", "row") for each in page.all("th"))
    labelled = {each["for"] for each in page.all("label")}
    assert labelled == {each["id"] for each in page.all("input")}
    ids = [each["id"] for _, each in page.found if "id" in each]
    assert len(ids) == len(set(ids))


def test_a_page_asks_the_network_for_nothing(saved):
    text = saved.read_text("utf-8")
    assert "http://" not in text and "https://" not in text
    assert "@import" not in text and "url(" not in text
    page = Page(text)
    assert not page.all("link") + page.all("iframe") + page.all("a")
    sources = [each["src"] for _, each in page.found if "src" in each]
    assert sources and all(source.startswith("data:image/") for source in sources)
    (policy,) = [each for each in page.all("meta") if "http-equiv" in each]
    assert policy["content"] == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'"
    )


def test_names_cannot_break_out(report, tmp_path):
    strange = os.fsdecode(b"caf\xe9\n\x1b[2J.png")
    images = LabelledImages(
        noise(60), report.labels, class_names=(NASTY, "</title>" + strange) * 30
    )
    origin = Origin(
        title=NASTY,
        run=NASTY,
        command=f"egan-keras train {NASTY} {strange}",
        troubles=[NASTY],
        settings={NASTY: [NASTY, strange]},
        versions={"python": NASTY},
    )
    plain = tmp_path / "plain.html"
    report.save_html(plain, images.images)
    path = tmp_path / "nasty.html"
    names = [f"{NASTY.replace('/', '')} {n} {strange}" for n in range(60)]
    report.save_html(path, images, names=names, origin=origin)
    page, before = page_of(path), page_of(plain)
    assert len(page.all("script")) == len(before.all("script")) == 2
    assert len(page.all("img")) == len(before.all("img"))
    assert "<script>alert" not in path.read_text("utf-8")
    assert r"caf\udce9\n\x1b[2J.png" in path.read_text("utf-8")


def test_scripts_values_cannot_end_the_script(report, tmp_path):
    values = report.values | {"threshold_criterion": "</script><b>"}
    Report(values, report.scores, report.labels).save_html(tmp_path / "r.html")
    page = page_of(tmp_path / "r.html")
    assert len(page.all("script")) == 2 and not page.all("b")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_scripts_numbers_compare_as_in_python(dtype):
    report = make_report(threshold=0.1, dtype=dtype)
    live = for_script(report)
    for label, name in enumerate(("majority", "minority")):
        of_class, scores = live["classes"][name], report.scores[report.labels == label]
        assert of_class["scores"] == sorted(of_class["scores"])
        for edge in (*scores[:5], report.scores.dtype.type(0.1)):
            below = sum(x < float(str(edge)) for x in of_class["scores"])
            assert below == np.sum(scores < edge)


def test_very_many_scores_are_thinned_and_it_is_said(tmp_path):
    report = make_report(n=50_000, n_minority=100)
    live = for_script(report)["classes"]
    assert len(live["majority"]["scores"]) == 20_000
    assert len(live["minority"]["scores"]) == 100
    ends = report.scores[report.labels == 0].min(), report.scores.max()
    assert live["majority"]["scores"][:: 20_000 - 1] == [
        float(str(end)) for end in ends
    ]
    below = np.sum(report.scores[report.labels == 0] < 0)
    assert live["majority"]["below"] == below
    report.save_html(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "20,000 scores of each class" in text and len(text) < 1_000_000


def test_a_page_of_any_number_of_images_is_small(tmp_path):
    """Noise is the worst that a JPEG can be made of."""

    class Places(Scores):
        judges_places, image_shape = True, (320, 320, 3)

        def scores_and_heat_maps(self, images):
            heat = np.random.default_rng(0).random((len(images), 320, 320))
            return np.zeros((len(images), 1)), heat.astype("float32")

    report = make_report(n=200, n_minority=100, threshold=1.0)
    images, model = noise(200, 320), Places(report.scores)
    report.save_html(tmp_path / "report.html", images, model=model)
    assert os.path.getsize(tmp_path / "report.html") < 5_000_000
    page = page_of(tmp_path / "report.html")
    shown = [each["alt"] for each in page.all("img")]
    n_marked = sum(alt.startswith("Heat map of ") for alt in shown)
    assert n_marked == sum(len(group.rows) for group in choose(report)) > 60


def test_groups_show_the_most_telling_images_first(report):
    missed, false, lowest, nearest = choose(report, most=3)
    scores, labels = report.scores, report.labels
    assert all(labels[missed.rows] == 1) and all(scores[missed.rows] >= 0)
    assert all(labels[false.rows] == 0) and all(scores[false.rows] < 0)
    assert lowest.rows.tolist() == np.argsort(scores)[:3].tolist()
    assert nearest.rows[0] == np.argmin(np.abs(scores))
    assert lowest.note == "3 of 60 images, lowest score first"


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (500, 20, 3), (1, 1, 3)])
def test_images_of_all_shapes_have_thumbnails(report, shape):
    images = np.zeros((60, *shape), "uint8")
    pictures, marked = encode(images, choose(report))
    assert pictures and not marked


def test_a_page_of_one_class_has_what_can_be_told(tmp_path):
    images = noise(20)
    scores = np.arange(20, dtype="float32")
    report = evaluate(Scores(scores, 5.0), images, np.zeros(20), resamples=20)
    report.save_html(tmp_path / "report.html", images)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Shortcuts" not in text and "0 images" in text


def test_equal_scores_can_be_shown(tmp_path):
    scores, labels = np.zeros(6, "float32"), np.array([0, 0, 0, 1, 1, 1])
    report = evaluate(Scores(scores), noise(6), labels, resamples=20)
    report.save_html(tmp_path / "report.html", noise(6))
    assert page_of(tmp_path / "report.html").all("input")


def test_images_of_others_are_refused_and_nothing_is_written(report, tmp_path):
    with pytest.raises(ValueError, match="Received: images=59"):
        report.save_html(tmp_path / "report.html", noise(59))
    assert not list(tmp_path.iterdir())


def test_pixels_that_tell_the_classes_are_found():
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    images = random.integers(50, 150, (80, 16, 16, 3)).astype("uint8")
    assert find_shortcuts(images, labels, model_auroc=0.99).suspicious == ()
    wanted = {
        "brightness": images + (labels * 40).astype("uint8")[:, None, None, None],
        "contrast": np.where(labels[:, None, None, None], images, images // 2 + 50),
        "sharpness": np.where(
            labels[:, None, None, None], images, np.sort(images, axis=1)
        ),
    }
    red = images.copy()
    red[labels == 1, ..., 0] += 30
    for name, changed in {**wanted, "red": red}.items():
        found = find_shortcuts(changed, labels, model_auroc=0.99)
        assert name in found.suspicious and found.aurocs[name] > 0.99
    # Which class has the higher values does not matter.
    assert find_shortcuts(red, 1 - labels).aurocs["red"] > 0.99


def test_files_that_tell_the_classes_are_found(tmp_path):
    paths, labels = [], np.arange(40) % 2
    for number, label in enumerate(labels):
        side, suffix = ((20, "png"), (30, "jpg"))[label]
        path = tmp_path / f"{number}.{suffix}"
        Image.fromarray(noise(1, side)[0]).save(path)
        paths.append(path)
    images = ImageFiles(paths, 16)
    found = find_shortcuts(images, labels, paths)
    assert {"bytes", "pixels", "format"} <= {*found.suspicious}
    assert found.aurocs["aspect"] == 0.5
    assert set(found.sizes) == {(20, 20), (30, 30)}
    paths[3].unlink()
    kept = find_shortcuts(np.zeros((40, 4, 4, 3)), labels, paths)
    assert "bytes" not in kept.aurocs and kept.sizes == ()


def test_a_page_warns_of_shortcuts_and_tells_sizes(report, tmp_path):
    paths = []
    for number, label in enumerate(report.labels.tolist()):
        path = tmp_path / f"{number}.png"
        Image.fromarray(noise(1, 20 + label)[0] // (1 + label)).save(path)
        paths.append(str(path))
    rows = ImageFiles(paths, 16)
    images = LabelledImages(rows, report.labels, paths=tuple(paths))
    report.save_html(tmp_path / "report.html", images)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Brightness (mean of all pixels) alone tells the classes with AUROC" in text
    assert "2 sizes (20 x 20, 21 x 21 pixels" in text and "stretched to 16 x 16" in text


def test_few_images_raise_no_alarm():
    images, labels = noise(20), np.arange(20) == 0
    images[0] = 255
    found = find_shortcuts(images, labels)
    assert found.aurocs["brightness"] == 1 and found.suspicious == ()


def test_many_images_are_drawn_from():
    images, labels = np.zeros((500, 4, 4, 3), "uint8"), np.arange(500) < 30
    assert find_shortcuts(images, labels, most=100).n_images == 130


@pytest.mark.parametrize("labels", [np.zeros(5), np.ones(5), np.arange(4) % 2])
def test_shortcuts_need_both_classes(labels):
    with pytest.raises(ValueError, match="Shortcuts need images of both classes"):
        find_shortcuts(noise(5), labels)
