"""Jobs of shards: what is there is kept, what is wrong is said, and nothing is lost."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_scale import bucket, export, png, write_tar  # noqa: F401

from egan_keras import cli
from egan_keras.cli import runs
from egan_keras.files import FullDiskError
from egan_keras.scale import engines, rows


@pytest.fixture
def images(tmp_path):
    """A folder of 50 images, one of them damaged."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(50):
        (folder / f"{number:02}.png").write_bytes(png(number))
    (folder / "13.png").write_bytes(b"no image")
    (folder / "notes.txt").touch()
    return folder


@pytest.fixture
def score(export, images, tmp_path, capsys):  # noqa: F811
    """Scores the images in shards of ten; returns exit code, output and errors."""

    def run(*options, place=images, model=export):
        given = ["score", model, place, "--out", tmp_path / "out", "--shard-size", 10]
        given += options
        code = cli.main([*map(str, given)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def computed(monkeypatch):
    """The shards computed, in order; `computed.fails` names errors to raise instead."""

    class Computed(list):
        fails = {}

    log, compute = Computed(), rows.Worker.compute

    def logged(self, shard):
        log.append(shard)
        if shard in log.fails:
            raise log.fails[shard]
        compute(self, shard)

    monkeypatch.setattr(rows.Worker, "compute", logged)
    return log


def table(out):
    return pq.read_table(out / "shards")


def test_a_job_writes_each_image_once_and_counts(score, images, tmp_path):
    code, told, _ = score()
    assert code == 0
    assert "Passed over: 1 other suffix .txt" in told
    assert "Not read: 1 images: 1 not an image of type" in told
    assert "49 of 50 images, " in told
    names = [os.path.basename(path.as_py()) for path in table(tmp_path / "out")["path"]]
    assert names == [f"{number:02}.png" for number in range(50)]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["n_images"], manifest["n_problems"]) == (50, 1)
    assert manifest["is_complete"] and manifest["job"]["images"] == [str(images)]
    called = sum(filter(None, table(tmp_path / "out")["is_minority"].to_pylist()))
    assert manifest["n_minority"] == called


def test_the_same_command_computes_what_is_missing_alone(score, computed, tmp_path):
    score()
    expected, computed[:] = table(tmp_path / "out"), []
    assert score()[0] == 0 and computed == []
    (tmp_path / "out" / "shards" / "00000003.parquet").unlink()
    (tmp_path / "out" / "shards" / "00000001.parquet").write_bytes(b"damaged")
    _, told, _ = score()
    assert computed == [1, 3]
    assert "3 of 5 shards are there already" in told
    assert table(tmp_path / "out").equals(expected)


def test_a_shard_that_fails_thrice_is_set_aside_and_tried_again_by_the_next(
    score, computed, tmp_path
):
    computed.fails = {2: OSError("the network is down")}
    code, told, _ = score()
    assert code == cli.BLEMISHED
    assert computed == [0, 1, 2, 2, 2, 3, 4]
    assert "Set aside after three attempts: shards/00000002.parquet (the net" in told
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["set_aside"] == {"shards/00000002.parquet": "the network is down"}
    assert not manifest["is_complete"] and manifest["n_images"] == 40
    computed.fails, computed[:] = {}, []
    assert score()[0] == 0 and computed == [2]
    assert len(table(tmp_path / "out")) == 50


def test_a_job_whose_shards_all_fail_ends(score, computed):
    computed.fails = {shard: OSError("no such disk") for shard in range(5)}
    code, _, told = score()
    assert code == 2
    assert "5 shards one after the other were set aside" in told
    assert "no such disk" in told


def test_a_full_disk_ends_a_job_at_once(score, computed):
    computed.fails = {1: FullDiskError(errno.ENOSPC, "The disk is full", "out")}
    code, _, told = score()
    assert (code, computed) == (2, [0, 1])
    assert "The disk is full" in told


def test_a_folder_that_becomes_a_file_is_gone(score, images, monkeypatch):
    compute = rows.Worker.compute

    def replacing(self, shard):
        if shard == 1:
            shutil.rmtree(images)
            images.touch()
        compute(self, shard)

    monkeypatch.setattr(rows.Worker, "compute", replacing)
    code, told, _ = score()
    assert code == cli.BLEMISHED and "which is no longer there" in told


def test_images_that_vanish_meanwhile_are_counted(score, images, computed, tmp_path):
    compute = rows.Worker.compute

    def vanishing(self, shard):
        for number in (21, 22):
            (images / f"{number}.png").unlink(missing_ok=True)
        compute(self, shard)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows.Worker, "compute", vanishing)
        code, told, _ = score()
    assert code == 0 and "Not read: 3 images: 2 is no longer there" in told
    assert len(table(tmp_path / "out")) == 50


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shard-size", 20], "expected the same shard_size as then, 10"),
        (["--gray-range", "0,255"], "expected the same gray_range as then"),
    ],
)
def test_another_job_does_not_go_on(score, options, said):
    score()
    code, _, told = score(*options)
    assert code == 2
    assert "holds another job's shards" in told and said in told


def test_a_job_does_not_go_on_with_other_images(score, images):
    score()
    code, _, told = score(place=images / "00.png")
    assert code == 2 and "expected the same images as then" in told


def test_another_model_does_not_go_on(score, export, tmp_path):  # noqa: F811
    from tiny_export import telling, with_description

    score()
    other = tmp_path / "other.tflite"
    content = with_description(export.read_bytes(), telling(target=0.9))
    other.write_bytes(content)
    code, _, told = score(model=other)
    assert code == 2 and "expected the same model as then" in told


def test_another_network_in_the_folder_is_refused(score, tmp_path):
    score()
    (tmp_path / "out" / "network.tflite").write_bytes(b"TFL3")
    (tmp_path / "out" / "shards" / "00000003.parquet").unlink()
    code, _, told = score()
    assert code == 2 and "not the one that it began with" in told


def test_a_folder_of_something_else_is_refused(score, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").touch()
    code, _, told = score()
    assert code == 2 and "something else in the folder" in told
    assert "'letter.txt'" in told


@pytest.mark.parametrize("name", ["listing.parquet", "network.tflite"])
@pytest.mark.parametrize("damage", [None, b"damaged", "another job's"])
def test_what_a_job_began_with_is_not_exchanged(
    score, computed, images, tmp_path, name, damage
):
    path = tmp_path / "out" / name
    if damage == "another job's":
        (images / "00.png").rename(images / "00.jpg")
        score()
        damage = path.read_bytes()[:-1] + b"0" * (name == "network.tflite")
        (tmp_path / "out").rename(tmp_path / "other")
        (images / "00.jpg").rename(images / "00.png")
    score()
    computed.clear()
    path.unlink() if damage is None else path.write_bytes(damage)
    (tmp_path / "out" / "shards" / "00000003.parquet").unlink()
    code, _, told = score()
    assert (code, computed) == (2, [])
    assert "not the one that it began with" in told and name in told


@pytest.mark.parametrize("column", [0, 1, 2, 3, 4, "footer"])
def test_a_shard_that_is_damaged_inside_is_computed_again(
    score, computed, tmp_path, column
):
    score()
    expected = table(tmp_path / "out")
    path = tmp_path / "out" / "shards" / "00000001.parquet"
    content = bytearray(path.read_bytes())
    if column == "footer":
        content[-150:-50] = b"\xff" * 100
    else:
        found = pq.ParquetFile(path).metadata.row_group(0).column(column)
        start = found.dictionary_page_offset or found.data_page_offset
        end = start + found.total_compressed_size
        content[end - 9 : end - 5] = b"\x55" * 4
    path.write_bytes(content)
    computed.clear()
    code, told, _ = score()
    assert (code, computed) == (0, [1]) and "4 of 5 shards are there" in told
    assert table(tmp_path / "out").equals(expected)


def test_shards_of_other_jobs_and_numbers_are_not_taken(score, computed, tmp_path):
    out, shards = tmp_path / "out", tmp_path / "out" / "shards"
    score("--gray-range", "0,255")
    out.rename(tmp_path / "other")
    score()
    expected = table(out)
    shutil.copy(tmp_path / "other" / "shards" / "00000004.parquet", shards)
    shutil.copy(shards / "00000000.parquet", shards / "00000002.parquet")
    computed.clear()
    assert score()[0] == 0 and computed == [2, 4]
    assert table(out).equals(expected)


def test_a_shard_lost_before_the_end_is_named(score, monkeypatch, tmp_path):
    written = rows.Worker.compute

    def losing(self, shard):
        written(self, shard)
        if shard == 4:
            (tmp_path / "out" / "shards" / "00000001.parquet").unlink()

    monkeypatch.setattr(rows.Worker, "compute", losing)
    code, told, _ = score()
    assert code == cli.BLEMISHED
    assert "1 shards: shards/00000001.parquet" in told


def test_a_bucket_that_does_not_answer_is_no_empty_one(
    export,  # noqa: F811
    images,
    bucket,  # noqa: F811
    monkeypatch,
    capsys,
):
    given = ["score", str(export), str(images), "--out", "memory://out"]
    assert cli.main(given) == 0
    (images / "00.png").unlink()
    listing = bucket.cat_file("/out/listing.parquet")

    answers = [OSError(errno.EIO, "Service Unavailable")] * 2
    info = bucket.info

    def failing(self, *args, **options):
        if answers:
            raise answers.pop()
        return info(*args, **options)

    monkeypatch.setattr(type(bucket), "info", failing)
    assert cli.main(given) == 2
    assert "Service Unavailable" in capsys.readouterr().err
    assert bucket.cat_file("/out/listing.parquet") == listing


def test_a_damaged_manifest_is_refused(score, tmp_path):
    score()
    (tmp_path / "out" / "manifest.json").write_text("{")
    code, _, told = score()
    assert code == 2 and "manifest cannot be read" in told


def test_a_file_is_no_folder_to_write_into(score, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, told = score()
    assert code == 2 and "is a file, or below one" in told
    assert (tmp_path / "out").read_text() == "mine"


def test_two_jobs_do_not_write_into_one_folder(score, tmp_path):
    (tmp_path / "out").mkdir()
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        code, _, told = score()
    finally:
        os.close(descriptor)
    assert code == 2 and "Another job is writing into this folder" in told
    assert score()[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", 2], "needs --engine ray"),
        (["--address", "a:1"], "needs --engine ray"),
        (["--gpus", 1], "needs --engine ray"),
        (["--gpus", 1, "--workers", 1, "--engine", "ray"], "one processor or one GPU"),
        (["--gpus", 1, "--engine", "ray"], "expected a run"),
        (["--csv", "a.csv"], "take the place of a CSV file"),
    ],
)
def test_options_without_meaning_are_refused(score, options, said):
    code, _, told = score(*options)
    assert code == 2 and said in told


def test_what_shards_do_not_tell_of_several_classes_is_said(score, monkeypatch):
    load = runs.load_model

    def load_several(path):
        model = load(path)
        model.minority_classes = ("dented", "scratched")
        return model

    assert "most_like" not in score()[1]
    monkeypatch.setattr(runs, "load_model", load_several)
    assert "Shards have no column most_like" in score()[1]


def test_without_a_folder_there_is_no_engine(export, images, capsys):  # noqa: F811
    assert cli.main(["score", str(export), str(images), "--engine", "ray"]) == 2
    assert "needs --out DIR" in capsys.readouterr().err


def test_a_gpu_s_worker_asks_for_what_one_machine_has():
    class Cluster:
        @staticmethod
        def nodes():
            has = [{"CPU": 64.0}, {"CPU": 16.0, "GPU": 2.0}, {"CPU": 9.0, "GPU": 3.0}]
            gone = {"Alive": False, "Resources": {"CPU": 1.0, "GPU": 1.0}}
            return [gone, *({"Alive": True, "Resources": each} for each in has)]

    assert engines._share_of_gpu(Cluster) == 3


def test_ray_that_is_not_installed_is_named(score, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, told = score("--engine", "ray")
    assert code == 2 and "pip install egan-keras[ray]" in told


def test_where_workers_write_elsewhere_it_is_said(score, monkeypatch):
    def elsewhere(task, shards):
        yield from (engines.Outcome(shard, None) for shard in shards)

    monkeypatch.setattr("egan_keras.scale.in_this_process", elsewhere)
    code, _, told = score()
    assert code == 2 and "wrote where this machine sees nothing" in told


class NoCredentialsError(Exception):
    """As of clients of buckets, which know no OSError."""


@pytest.mark.parametrize("failing", ["info", "ls", "put_file", "cat_file"])
@pytest.mark.parametrize(
    "error", [NoCredentialsError("Unable to\nlocate credentials"), TimeoutError("late")]
)
def test_a_bucket_that_does_not_answer_is_named(
    export,  # noqa: F811
    images,
    bucket,  # noqa: F811
    monkeypatch,
    capsys,
    failing,
    error,
):
    def fail(*_, **__):
        raise error

    given = ["score", str(export), str(images), "--out", "memory://out"]
    if failing == "cat_file":
        assert cli.main(given) == 0
    monkeypatch.setattr(type(bucket), failing, fail)
    assert cli.main(given) == 2
    told = capsys.readouterr().err
    assert "cannot be reached" in told and "'memory://out'" in told
    assert f"{type(error).__name__}: {' '.join(str(error).split())}" in told


def test_a_bucket_that_is_not_there_is_named(
    export,  # noqa: F811
    images,
    bucket,  # noqa: F811
    monkeypatch,
    capsys,
):
    def fail(*_, **__):
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(type(bucket), "put_file", fail)
    assert cli.main(["score", str(export), str(images), "--out", "memory://out"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_shards_that_are_out_of_reach_are_not_computed_again(
    export,  # noqa: F811
    images,
    bucket,  # noqa: F811
    monkeypatch,
    computed,
):
    given = ["score", str(export), str(images), "--out", "memory://out"]
    assert cli.main(given) == 0
    there, open_file = len(computed), type(bucket).open

    def fail(self, path, *rest, **options):
        if "shards" in path:
            raise NoCredentialsError("expired")
        return open_file(self, path, *rest, **options)

    monkeypatch.setattr(type(bucket), "open", fail)
    assert cli.main(given) == 2 and len(computed) == there


def test_images_and_shards_may_be_in_a_bucket(export, images, bucket, score, tmp_path):  # noqa: F811
    write_tar(images.parent / "a.tar", {f"{n}.png": png(n) for n in range(20)})
    bucket.put_file(str(images.parent / "a.tar"), "/in/a.tar")
    bucket.pipe_file("/in/b/c.png", png(99))
    given = ["score", str(export), "memory://in/*.tar", "memory://in/b"]
    assert cli.main([*given, "--out", "memory://out"]) == 0
    assert bucket.exists("/out/manifest.json")
    with bucket.open("/out/shards/00000000.parquet") as file:
        found = pq.read_table(file)
    score()
    expected = table(tmp_path / "out")["score"][:20].to_pylist()
    # The thirteenth of these is damaged.
    scores = found["score"].to_pylist()
    assert scores[:13] + scores[14:] == expected[:13] + expected[14:]


@pytest.mark.whole
def test_a_driver_killed_in_the_middle_goes_on(export, tmp_path):  # noqa: F811
    pixels = Image.effect_noise((900, 900), 90)
    (tmp_path / "images").mkdir()
    for number in range(120):
        pixels.save(tmp_path / "images" / f"{number:03}.png", compress_level=0)
    command = [sys.executable, "-m", "egan_keras", "score", str(export)]
    command += [str(tmp_path / "images"), "--shard-size", "5", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    out = tmp_path / "out"
    driver = subprocess.Popen([*command, str(out)])
    while len(written := [*out.glob("shards/0*")]) < 3 and driver.poll() is None:
        time.sleep(0.002)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in written}
    subprocess.run([*command, str(out)], check=True)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert table(out).equals(table(tmp_path / "whole"))
    assert not [*out.glob("shards/.*parquet")] or len([*out.glob("shards/0*")]) == 24
