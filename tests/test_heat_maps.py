"""Heat maps: of what the score is made, at which place."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import egan_keras as ek
from egan_keras import cli
from egan_keras.evaluation import overlaid, plot_heat_maps
from egan_keras.networks import ScoreAndHeatMap

pytestmark = pytest.mark.whole

SIDE = 64


def patterned(count, marked=0, seed=0):
    """Returns images of noise; the last ones have a bright spot, and where it is."""
    random = np.random.default_rng(seed)
    images = random.integers(60, 120, (count, SIDE, SIDE, 3), "uint8")
    corners = random.integers(0, SIDE - 16, (count, 2))
    for image, (row, column) in zip(
        images[count - marked :], corners[count - marked :], strict=True
    ):
        image[row : row + 16, column : column + 16, 0] += 120
    return images, corners + 8


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    images, _ = patterned(66, marked=6)
    backbone = "MobileNet:alpha=0.25"
    model = ek.EGAN.from_backbones(
        backbone, backbone, image_shape=images.shape[1:], network_size=64, weights=None
    )
    model.compile()
    model.fit(images, np.arange(66) >= 60, epochs=1, verbose=0)
    # Small pictures are judged as wholes, and would have pale maps.
    score = model.discriminator.tail.get_layer("score")
    score.weights_of_evidence.assign(np.array([[0.6, 0.2, 0.3, 0.3, 1.2]]).T)
    return model


def places(model):
    return ScoreAndHeatMap(model.discriminator)


def test_a_heat_map_is_of_the_size_of_its_image_and_the_score_is_the_models(trained):
    images, _ = patterned(5, marked=2, seed=1)
    maps = ek.heat_maps(trained, images, batch_size=2)
    assert maps.shape == (5, SIDE, SIDE) and maps.dtype == np.float32
    scores, again = trained.scores_and_heat_maps(images)
    np.testing.assert_allclose(again, maps, rtol=1e-3, atol=1e-3)
    expected = trained.predict(images, verbose=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)


def test_the_score_falls_as_its_most_telling_places_rise(trained):
    """Where all else is equal, by what the mean of the three highest ones rises."""
    both = places(trained)
    row, *maps = map(
        keras.ops.convert_to_numpy, both.row_and_maps(patterned(2)[0].astype("float32"))
    )
    row[1] = row[0]
    kinds = len(maps) + 1
    layer = trained.discriminator.stem.get_layer("places")
    score = trained.discriminator.tail.get_layer("score")
    row[:, -kinds:] = layer.evidence(maps)
    scores, _ = both.finish([row, *maps])
    telling = []
    for kind, each in enumerate(layer.heat(maps)):
        evidence = np.sort(keras.ops.convert_to_numpy(each).reshape(2, -1))[:, -3:]
        telling.append(score.term_of_place(kind, evidence.mean(axis=1)))
    rises = np.diff(np.sum(telling, axis=0))[0] * 1.645 * float(score.sum_deviation)
    fall = float(scores[0, 0] - scores[1, 0])
    assert fall == pytest.approx(float(rises), abs=0.02) and abs(fall) > 0.05


def test_the_unit_is_the_majoritys_and_no_images_own(trained):
    images, _ = patterned(40, seed=2)
    alone = [ek.heat_maps(trained, image[None])[0] for image in images[:3]]
    together = ek.heat_maps(trained, images)
    np.testing.assert_allclose(alone, together[:3], rtol=1e-2, atol=1e-2)
    # The most telling places of usual images are about 0 in the mean.
    assert abs(np.median(together.max(axis=(1, 2)))) < 1


def test_a_model_without_places_points_at_none(build_tiny):
    model = build_tiny(place_depths=0)
    assert not model.judges_places
    with pytest.raises(ValueError, match="no place to point at.*Received"):
        ek.heat_maps(model, np.zeros((1, 32, 32, 3), "uint8"))
    rows = ek.EGAN.from_features(None, 4, map_shapes=[(2, 2, 3)])
    assert not rows.judges_places
    with pytest.raises(ValueError, match="no place to point at"):
        ek.heat_maps(rows, np.zeros((1, 16), "float32"))


def test_a_saved_model_draws_the_same(trained, tmp_path):
    images, _ = patterned(3, marked=1, seed=3)
    trained.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    expected = ek.heat_maps(trained, images)
    np.testing.assert_allclose(ek.heat_maps(again, images), expected, atol=1e-3)


def test_colour_begins_at_0_and_is_strongest_from_1_on():
    image = np.full((1, 4, 3), 100, "uint8")
    drawn = overlaid(image, np.array([[-3.0, 0.0, 1.0, 9.0]]))
    assert drawn[0, 0].tolist() == drawn[0, 1].tolist() == [100, 100, 100]
    assert drawn[0, 2].tolist() == drawn[0, 3].tolist() != [100, 100, 100]


def test_the_sheet_shows_both_classes(trained):
    images, _ = patterned(12, marked=3, seed=4)
    report = ek.evaluate(trained, images, np.arange(12) >= 9)
    figure = plot_heat_maps(report, images, trained, count=4, names=["a$b"] * 12)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 2 * (3 + 4)
    usual = ek.evaluate(trained, images[:9], np.zeros(9, int))
    figure = plot_heat_maps(usual, images[:9], trained, count=4)
    assert len([axes for axes in figure.axes if axes.images]) == 2 * 4
    with pytest.raises(ValueError, match="Received: count=0"):
        plot_heat_maps(report, images, trained, count=0)
    with pytest.raises(ValueError, match="Images do not match the report.*images=9"):
        plot_heat_maps(report, images[:9], trained)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    ek.export_tflite(trained, folder / "maps.tflite", heat_map=True, **held_out())
    return folder


@pytest.fixture(scope="module")
def plain(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "plain.tflite"
    ek.export_tflite(trained, path, **held_out())
    return path


def held_out():
    images, _ = patterned(9, seed=7)
    return {"validation_data": (images, np.zeros(9, int)), "verbose": 0}


def test_exported_files_draw_the_same(trained, exported):
    images, _ = patterned(4, marked=2, seed=5)
    expected = ek.heat_maps(trained, images)
    lite = ek.load_tflite(exported / "maps.tflite")
    np.testing.assert_allclose(ek.heat_maps(lite, images), expected, atol=0.02)
    assert "heat_map" in lite.metadata["outputs"]
    assert "`heat_map`: float32" in (exported / "maps.md").read_text()


@pytest.mark.slow
def test_an_exported_saved_model_draws_the_same(trained, tmp_path):
    import tensorflow as tf

    images, _ = patterned(4, marked=2, seed=5)
    ek.export_saved_model(trained, tmp_path / "saved", heat_map=True, **held_out())
    loaded = tf.saved_model.load(tmp_path / "saved")
    saved = loaded.serve(tf.constant(images))
    expected = ek.heat_maps(trained, images)
    np.testing.assert_allclose(saved["heat_map"], expected, atol=0.02)


@pytest.mark.slow
def test_a_file_exported_without_them_says_how_to_get_them(plain, tmp_path, capsys):
    with pytest.raises(ValueError, match="heat_map=True.*Received.*plain.tflite"):
        ek.heat_maps(ek.load_tflite(plain), np.zeros((1, SIDE, SIDE, 3), "uint8"))
    assert "heat_map" not in plain.with_suffix(".md").read_text()
    Image.fromarray(patterned(1)[0][0]).save(tmp_path / "part.png")
    arguments = [plain, tmp_path / "part.png", "--heat-maps", tmp_path / "none"]
    score = Path(__file__).parent.parent / "export" / "score.py"
    told = subprocess.run(
        [sys.executable, score, *arguments], capture_output=True, text=True
    )
    assert told.returncode == 2 and "--heat-map" in told.stderr
    assert cli.main(["score", *map(str, arguments)]) == 2
    assert "--heat-map" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_judges_no_places_exports_none(build_tiny, tmp_path):
    with pytest.raises(ValueError, match="no place to point at"):
        model = build_tiny(place_depths=0)
        ek.export_tflite(model, tmp_path / "x.tflite", heat_map=True, verbose=0)


def test_score_writes_a_picture_of_each_image(trained, exported, tmp_path, capsys):
    images, _ = patterned(3, marked=1, seed=6)
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "in" / f"part{number}.png")
    trained.save(tmp_path / "model.keras")
    for model in (tmp_path / "model.keras", exported / "maps.tflite"):
        out = tmp_path / f"maps of {model.stem}"
        command = ["score", str(model), str(tmp_path / "in"), "--heat-maps", str(out)]
        assert cli.main(command) == 0
        names = sorted(path.name for path in out.iterdir())
        assert names == ["00001_part0.png", "00002_part1.png", "00003_part2.png"]
        assert Image.open(out / names[0]).size == (2 * SIDE, SIDE)
        assert str(out) in capsys.readouterr().out
        # It is full now.
        assert cli.main(command) == 2
        assert "new or empty folder" in capsys.readouterr().err
    # Without TensorFlow, with the same pictures.
    score = Path(__file__).parent.parent / "export" / "score.py"
    command = [sys.executable, score, exported / "maps.tflite", tmp_path / "in"]
    subprocess.run([*command, "--heat-maps", tmp_path / "edge"], check=True)
    for name in names:
        pictures = [
            np.asarray(Image.open(x / name), int) for x in (out, tmp_path / "edge")
        ]
        assert np.abs(pictures[0] - pictures[1]).max() <= 2


def test_who_reads_the_table_no_further_gets_all_pictures(exported, tmp_path):
    (tmp_path / "in").mkdir()
    for number, image in enumerate(patterned(3)[0]):
        Image.fromarray(image).save(tmp_path / "in" / f"part{number}.png")
    score = Path(__file__).parent.parent / "export" / "score.py"
    for number, program in enumerate(([score], ["-m", "egan_keras", "score"])):
        out = tmp_path / f"maps{number}"
        command = [sys.executable, *program, exported / "maps.tflite", tmp_path / "in"]
        with open("/dev/full", "w") as full:
            # The first line already fails, and not what a buffer holds at the end.
            at_once = {**os.environ, "PYTHONUNBUFFERED": "1"}
            subprocess.run([*command, "--heat-maps", out], stdout=full, env=at_once)
        assert len(list(out.iterdir())) == 3
