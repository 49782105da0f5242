import dataclasses
import json
import zipfile

import keras
import pytest
from tiny_export import tiny_model

from egan_keras.cli import runs
from egan_keras.cli.runs import RunConfig
from egan_keras.version import versions


def config(**changes):
    values = {
        "command": "egan-keras train",
        "options": {
            "data": "/images",
            "majority": ["a"],
            "minority": ["b"],
            "minority_count": 1,
            "ratio": None,
            "validation_fraction": 0.2,
            "test_fraction": 0.2,
            "seed": 3,
            "prevalence": None,
        },
        "recipe": {"name": "default"},
        "image_shape": [32, 32, 3],
        "versions": versions(),
        "files": {"train": {"a": ["a/1.png"]}, "validation": {}, "test": {}},
        "skipped": ["a/2.png"],
    }
    return RunConfig(**values | changes)


def write_run(folder):
    config().save(folder)
    (folder / runs.MODEL).write_text("a model")


def test_config_reads_what_it_wrote(tmp_path):
    config(epochs_completed=2).save(tmp_path)
    assert RunConfig.load(tmp_path) == config(epochs_completed=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]


def test_groups_and_near_duplicates_are_kept_and_lack_in_earlier_runs(tmp_path):
    config(near_duplicates=[["a", "b"]], groups={"train": {"a": ["7"]}}).save(tmp_path)
    found = RunConfig.load(tmp_path)
    assert found.group_of("train", "test") == {"a/1.png": "7"}
    assert found.report_values()["n_near_duplicates"] == 1
    values = json.loads((tmp_path / "config.json").read_text())
    del values["groups"], values["near_duplicates"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    earlier = RunConfig.load(tmp_path)
    assert earlier.group_of("train") == {} and earlier.near_duplicates == []


def test_report_values_tell_of_divergence_only_where_there_was_one():
    counts = {"n_skipped": 1, "n_passed_over": 5}
    passed_over = {"hidden": 3, "other suffix .txt": 2}
    values = config(passed_over=passed_over).report_values()
    assert values == {"seed": 3, **counts}
    assert config(diverged_in_epoch=2).report_values()["diverged_in_epoch"] == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"seed": 1}'])
def test_damaged_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="configuration of the run cannot be read"):
        RunConfig.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": []}, "'options' must be object"),
        ({"options": {"seed": 0}}, "'options' must contain .*majority"),
        ({"image_shape": [32, 32]}, "'image_shape' must contain at least 3"),
        ({"image_shape": [32, "32", 3]}, "'image_shape.1' must be integer"),
        ({"image_shape": [10**9, 32, 3]}, "'image_shape.0' must be smaller"),
        ({"files": {"train": {}}}, "'files' must contain .*validation"),
        ({"skipped": 7}, "'skipped' must be array"),
        ({"groups": {"test": {"a": [1]}}}, "'groups.test.a.0' must be string"),
        ({"near_duplicates": [["a"]]}, "'near_duplicates.0' must contain at least 2"),
        ({"epochs_completed": -1}, "'epochs_completed' must be bigger"),
        ({"unknown": 1}, "unexpected keyword argument 'unknown'"),
        ({"versions": [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]}, "deeper than 20"),
    ],
)
def test_values_that_cannot_be_are_refused_by_their_key(tmp_path, changes, message):
    values = dataclasses.asdict(config()) | changes
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"config.json' .*{message}"):
        RunConfig.load(tmp_path)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/a.png", "a/../../b.png"])
def test_a_config_names_no_files_outside_its_root(tmp_path, path):
    files = {"train": {"a": [path]}, "validation": {}, "test": {}}
    config(files=files).save(tmp_path)
    with pytest.raises(ValueError, match="'files.train.a.0' must match pattern"):
        RunConfig.load(tmp_path)


def test_missing_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="lacks it"):
        RunConfig.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        runs.load_model(tmp_path / "absent")


def test_run_appears_when_it_is_complete(tmp_path):
    out = tmp_path / "deep" / "run"
    with runs.writing(out) as folder:
        write_run(folder)
        assert not out.exists()
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.keras"]
    assert list(out.parent.iterdir()) == [out]


def test_an_earlier_run_stays_until_the_new_one_is_complete(tmp_path):
    (tmp_path / "run").mkdir()
    config(command="earlier").save(tmp_path / "run")
    with pytest.raises(OSError, match="disk full"):
        with runs.writing(tmp_path / "run", overwrite=True) as folder:
            config().save(folder)
            raise OSError("disk full")
    assert RunConfig.load(tmp_path / "run").command == "earlier"
    with runs.writing(tmp_path / "run", overwrite=True) as folder:
        write_run(folder)
        assert RunConfig.load(tmp_path / "run").command == "earlier"
    assert RunConfig.load(tmp_path / "run") == config()
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_a_model_written_before_an_error_is_kept(tmp_path, capsys):
    for name in ("run-unfinished", "run-unfinished-2"):
        with pytest.raises(KeyboardInterrupt):
            with runs.writing(tmp_path / "run", overwrite=True) as folder:
                write_run(folder)
                raise KeyboardInterrupt
        assert str(tmp_path / name / "model.keras") in capsys.readouterr().err
        lacking = ["history.csv", "report.json", "scores.csv", "plots", "report.html"]
        assert RunConfig.load(tmp_path / name) == config(lacking=lacking)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="exists already and is not empty"):
        runs.check_free(tmp_path)
    with pytest.raises(FileExistsError, match="not a run folder"):
        runs.check_free(tmp_path, overwrite=True)
    with pytest.raises(FileExistsError, match="not a run folder"):
        runs.check_free(tmp_path / "letter.txt", overwrite=True)


def test_history_has_a_row_for_each_epoch(tmp_path):
    runs.save_history({"loss": [1.5, 0.5], "auroc": [0.25, 0.75]}, tmp_path)
    text = (tmp_path / "history.csv").read_text()
    assert text.split() == ["epoch,loss,auroc", "1,1.5,0.25", "2,0.5,0.75"]


def test_other_models_are_refused(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="cannot be loaded"):
        runs.load_model(tmp_path)
    other = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="another kind of model"):
        runs.load_model(tmp_path / "other.keras")
    (tmp_path / "model.tflite").write_bytes(b"not a model")
    with pytest.raises(ValueError, match="no TFLite model"):
        runs.load_model(tmp_path / "model.tflite")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    tiny_model().save(path)
    return path


@pytest.fixture
def rewritten(saved, tmp_path):
    """Writes a .keras file anew, its configuration changed; returns the path."""

    def write(change, *more):
        path = tmp_path / "model.keras"
        with (
            zipfile.ZipFile(saved) as source,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target,
        ):
            for name in source.namelist():
                content = source.read(name)
                is_config = name == "config.json"
                target.writestr(name, change(content) if is_config else content)
            for name, content in more:
                target.writestr(name, content)
        return path

    return write


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b'"low"', b"1e39", b"null"])
def test_a_threshold_that_cannot_be_is_refused(rewritten, value):
    path = rewritten(
        lambda text: text.replace(b'"threshold": -0.8', b'"threshold": ' + value)
    )
    with pytest.raises(ValueError, match="model.keras.*'threshold' must be"):
        runs.load_model(path)


def test_a_model_that_was_zipped_anew_is_loaded(rewritten):
    assert runs.load_model(rewritten(lambda text: text)).threshold == -0.8


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (
            lambda text: text + b" " * 2**27,
            (),
            "unpacks to 134,.* more than 67,108,864",
        ),
        (lambda text: text, [("config.json", "{}")], "a member twice"),
        (lambda text: text, [("../up.txt", "x")], "'../up.txt' lies outside"),
        (lambda text: text, [("a\\..\\..\\up", "x")], "lies outside"),
        (lambda text: text, [("C:/up.txt", "x")], "lies outside"),
        (lambda text: text, [("assets/a", b"\0" * 2**22)], "unpacks from 4,"),
        (lambda text: text, [(f"{n}", "") for n in range(1000)], "1003 members"),
        (lambda text: b"[" * 10**5, (), "cannot be loaded"),
        (lambda text: b"[]", (), "cannot be loaded"),
        (lambda text: b"{}", (), "cannot be loaded"),
    ],
)
def test_archives_that_are_no_models_are_refused(rewritten, change, more, message):
    path = rewritten(change, *more)
    with pytest.raises(ValueError, match=message) as caught:
        runs.load_model(path)
    assert str(path) in str(caught.value)


def test_config_is_plain_json(tmp_path):
    config().save(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["files"]["train"] == {"a": ["a/1.png"]}
    assert {"python", "keras", "tensorflow"} <= set(values["versions"])
