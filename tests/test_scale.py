"""From files anywhere to rows: listing, reading, computing one shard."""

import io
import os
import tarfile
from collections import Counter

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import egan_keras as ek
from egan_keras.data import decoding
from egan_keras.files import content_hash
from egan_keras.scale import Network, Task, Worker, listing, reading
from egan_keras.scale.folders import Folder, filesystem
from egan_keras.scale.rows import FEATURES, SCORES


def png(seed=0, size=(32, 24)):
    """Returns the bytes of a noisy image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3))
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def found(*places):
    passed_over = Counter()
    return [*listing.find(map(str, places), passed_over)], passed_over


def read(*files):
    """Returns name and bytes, or why there are none, of images, and what else is."""
    images, passed_over = [], Counter()
    for image in reading.images([str(path) for path in files], passed_over):
        try:
            images.append((image.name, image.read()))
        except decoding.UnreadableError as error:
            images.append((image.name, str(error)))
    return images, passed_over


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    from tiny_export import export_tiny

    return export_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture
def bucket():
    """An object store of this process."""
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_folder_is_listed_in_order_and_the_rest_counted(tmp_path):
    for name in ("b/2.png", "a/10.jpg", "a/9.png", ".hidden/1.png", "a/x.txt", "c.tar"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    paths, passed_over = found(tmp_path)
    names = [os.path.relpath(path, tmp_path) for path in paths]
    assert names == ["a/10.jpg", "a/9.png", "b/2.png"]
    assert passed_over == {
        "hidden": 1,
        "other suffix .txt": 1,
        "other suffix .tar": 1,
    }


def test_a_bucket_is_listed_in_order_and_the_rest_counted(bucket):
    for name in ("b/2.png", "a/10.jpg", "a/9.png", ".hidden/1.png", "a/x.txt", "c.tar"):
        bucket.pipe_file(f"/images/{name}", b"x")
    paths, passed_over = found("memory://images")
    names = [path.removeprefix("memory:///images/") for path in paths]
    assert names == ["a/10.jpg", "a/9.png", "b/2.png"]
    assert passed_over == {
        "hidden": 1,
        "other suffix .txt": 1,
        "other suffix .tar": 1,
    }
    assert found("memory://images/*.tar")[0] == ["memory:///images/c.tar"]


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_what_is_reached_twice_is_taken_once(tmp_path, bucket, kind):
    root = str(tmp_path) if kind == "local" else "memory:///images"
    fs, path = filesystem(root)
    for name in ("a/1.png", "a/2.png", "b/3.png", "c.tar"):
        fs.makedirs(f"{path}/{name[0]}", exist_ok=True)
        fs.pipe_file(f"{path}/{name}", b"x")
    places = ["a/2.png", "a", "a/1.png", "*.tar", "c.tar", "b", "."]
    paths, passed_over = found(*(f"{root}/{each}".rstrip("/.") for each in places))
    names = [each.removeprefix(f"{root}/") for each in paths]
    assert names == ["a/2.png", "a/1.png", "c.tar", "b/3.png"]
    assert passed_over["reached twice"] >= 3


def test_links_to_what_was_found_are_taken_once(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "2.png", "3.tar"):
        (tmp_path / name).touch()
    for name, target in (("4.png", "a/1.png"), ("5.png", "2.png"), ("6.tar", "3.tar")):
        (tmp_path / name).symlink_to(tmp_path / target)
    names = ["a", "4.png", "5.png", "2.png", "3.tar", "*.tar"]
    paths, passed_over = found(*(tmp_path / name for name in names))
    names = [os.path.relpath(path, tmp_path) for path in paths]
    assert names == ["a/1.png", "5.png", "3.tar"]
    assert passed_over == {"reached twice": 4}


def test_the_same_path_elsewhere_is_another_file(tmp_path, bucket):
    path = tmp_path / "a.png"
    path.touch()
    bucket.pipe_file(str(path), b"x")
    assert found(path, f"memory://{path}", f"file://{path}") == (
        [str(path), f"memory://{path}"],
        {"reached twice": 1},
    )


@pytest.mark.parametrize("name", ["a::b.png", "a*b.png", "[a].png", "a?b#c%20.png"])
def test_names_that_look_like_patterns_or_addresses_are_names(tmp_path, bucket, name):
    (tmp_path / name).write_bytes(b"x")
    (tmp_path / "ab.png").touch()
    path = str(tmp_path / name)
    assert found(path)[0] == [path]
    assert found(tmp_path)[0] == sorted([path, str(tmp_path / "ab.png")])
    assert read(path)[0] == [(path, b"x")]
    bucket.pipe_file(f"/images/{name}", b"x")
    bucket.pipe_file("/images/c.png", b"x")
    paths, passed_over = found("memory://images")
    assert len(paths) + passed_over.total() == 2
    assert all(content == b"x" for _, content in read(*paths)[0])


def test_names_that_no_table_of_text_holds_are_counted(tmp_path):
    (tmp_path / "a.png").touch()
    with open(os.fsencode(tmp_path) + b"/\xff.png", "wb"):
        pass
    paths, passed_over = found(tmp_path)
    assert paths == [str(tmp_path / "a.png")]
    assert passed_over == {"name that is not UTF-8": 1}


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("none", FileNotFoundError, "no such file or folder"),
        ("memory://none", FileNotFoundError, "no such file or folder"),
        ("none/*.tar", FileNotFoundError, "No file is named so"),
        ("zebra://a", ValueError, "nothing here that opens such an address"),
        ("notes.txt", ValueError, "not of a supported type"),
        ("empty", FileNotFoundError, "holds no images"),
        ("memory://empty", FileNotFoundError, "holds no images.*1 other suffix .tar"),
    ],
)
def test_places_without_images_are_refused(
    tmp_path, monkeypatch, bucket, place, error, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    bucket.pipe_file("/empty/a.tar", b"x")
    with pytest.raises(error, match=said):
        found(place)


def test_a_bucket_without_rights_is_named(bucket, monkeypatch):
    bucket.pipe_file("/images/a.png", b"x")

    def forbid(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(bucket), "ls", forbid)
    with pytest.raises(OSError, match="cannot be listed.*memory://images.*Denied"):
        found("memory://images")


def test_a_shard_is_so_many_files_or_one_of_many(tmp_path):
    names = ["1.png", "2.png", "3.png", "a.tar", "4.png", "b.Parquet"]
    folder = Folder(str(tmp_path))
    assert listing.write(folder, iter(names), 2) == (5, 6)
    shards = listing.Listing(folder)
    assert [shards[number] for number in range(5)] == [
        ["1.png", "2.png"],
        ["3.png"],
        ["a.tar"],
        ["4.png"],
        ["b.Parquet"],
    ]


def test_files_that_cannot_be_had_say_why(tmp_path, bucket, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe.png")
    names = [tmp_path / "a.png", tmp_path / "gone.png", tmp_path / "pipe.png"]
    told = [each for _, each in read(*names, "memory://gone.png")[0]]
    assert told == [b"abc", reading.VANISHED, "not a regular file", reading.VANISHED]
    bucket.pipe_file("/a.png", b"abc")

    def forbid(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(bucket), "cat_file", forbid)
    assert read("memory://a.png")[0][0][1] == reading.NO_RIGHT


def test_images_in_tar_files_are_read_and_the_rest_counted(tmp_path, bucket):
    members = {"a/1.png": b"one", "a/1.json": b"{}", "a/1.cls": b"3", "2.JPG": b"two"}
    path = write_tar(tmp_path / "a.tar", members)
    images, passed_over = read(path)
    assert images == [(f"{path}/a/1.png", b"one"), (f"{path}/2.JPG", b"two")]
    assert passed_over == {"other suffix .json": 1, "other suffix .cls": 1}
    bucket.pipe_file("/a.tar", path.read_bytes())
    assert [each for _, each in read("memory:///a.tar")[0]] == [b"one", b"two"]


@pytest.mark.parametrize("suffix", [".TAR", ".Parquet"])
def test_files_of_many_images_may_be_named_in_capitals(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".TAR":
        write_tar(path, {"0": b"", "0.png": b"one"})
    else:
        pq.write_table(pa.table({"image": [b"one"]}), path)
    assert [content for _, content in read(*found(path)[0])[0]] == [b"one"]


def test_images_in_tar_files_whose_names_are_no_text_are_kept(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"\udcff.png": b"one", "\n,ü.png": b"two"})
    names = [name.removeprefix(f"{path}/") for name, _ in read(path)[0]]
    assert names == ["\\xff.png", "\n,ü.png"]


def test_links_in_tar_files_lead_nowhere(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert read(path) == ([], {"not a regular file": 1})


@pytest.mark.parametrize("is_struct", [False, True])
def test_images_in_parquet_files_are_read(tmp_path, is_struct):
    contents = [b"one", None, b"three"]
    columns = {"label": [0, 1, 0], "image": contents}
    if is_struct:
        columns["image"] = [{"bytes": x, "path": "no"} for x in contents]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    images, _ = read(tmp_path / "a.parquet")
    assert images == [
        (f"{tmp_path}/a.parquet/0", b"one"),
        (f"{tmp_path}/a.parquet/1", "a row without bytes"),
        (f"{tmp_path}/a.parquet/2", b"three"),
    ]
    columns["key"] = ["x.png", "y.png", "z.png"]
    pq.write_table(pa.table(columns), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet")[0][2][0] == f"{tmp_path}/b.parquet/z.png"


def test_names_in_parquet_files_may_be_of_any_text(tmp_path):
    path, no_text = tmp_path / "a.parquet", pa.array([b"\xff", b"y", None])
    no_text = pa.StringArray.from_buffers(
        3, *no_text.buffers()[1:], no_text.buffers()[0]
    )
    texts = pa.array(["x", "y", None])
    for names in (texts.cast(pa.large_string()), texts.dictionary_encode(), no_text):
        pq.write_table(pa.table({"image": [b"1", b"2", b"3"], "key": names}), path)
        found = [name.removeprefix(f"{path}/") for name, _ in read(path)[0]]
        assert found == ["\\xff" if names is no_text else "x", "y", "2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tar", b"no archive" * 100, "a .tar file of images"),
        ("a.tar", None, "a .tar file of images"),
        ("a.parquet", b"no table", "a Parquet file of images"),
        ("b.parquet", None, "no column of image files' bytes.*label .int64."),
    ],
)
def test_damaged_files_of_many_images_are_refused(tmp_path, name, content, said):
    path = tmp_path / name
    if name == "b.parquet":
        pq.write_table(pa.table({"label": [1]}), path)
    elif content is None:
        write_tar(path, {"a.png": bytes(5000)})
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read(path)


@pytest.mark.parametrize("at", [0, 100, 300])
def test_damaged_pages_of_parquet_files_are_refused(tmp_path, at):
    path = tmp_path / "a.parquet"
    contents = [bytes([each]) * 9 for each in range(200)]
    table = pa.table({"image": contents})
    pq.write_table(table, path, use_dictionary=False, compression="gzip")
    content = bytearray(path.read_bytes())
    content[4 + at : 104 + at] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a Parquet file of images.*a\.parquet"):
        read(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content, at: content[:at], "empty header in place of its end"),
        (lambda content, at: content[: at + 99], "truncated header in place"),
        (lambda content, at: content[:at] + b"x" * 600, "invalid header in place"),
        (lambda content, at: content + content, "behind its end, such as another"),
        (lambda content, at: b"", "empty file"),
    ],
)
def test_tar_files_that_break_off_are_refused(tmp_path, damage, said):
    path = write_tar(tmp_path / "a.tar", {f"{n}.png": b"x" for n in range(4)})
    with tarfile.open(path) as archive:
        at = archive.getmember("2.png").offset
    path.write_bytes(damage(path.read_bytes(), at))
    with pytest.raises(ValueError, match=f"a .tar file of images.*{said}"):
        read(path)


def task(place, export, **options):
    content = Network(export.read_bytes())
    return Task(str(place), SCORES, content, True, -0.8, (0, 4095), **options)


def test_every_image_has_one_row_with_the_score_of_one_process(tmp_path, export):
    for number in range(40):
        (tmp_path / f"{number:02}.png").write_bytes(png(number))
    (tmp_path / "07.png").write_bytes(b"no image")
    (tmp_path / "08.png").write_bytes(png(8)[:500])
    files = [str(tmp_path / f"{number:02}.png") for number in range(40)]
    table = Worker(task(tmp_path, export)).table([*files, str(tmp_path / "gone.png")])
    assert table["path"].to_pylist() == [*files, str(tmp_path / "gone.png")]
    problems = table["problem"].to_pylist()
    assert [row for row, told in enumerate(problems) if told] == [7, 8, 40]
    assert "not an image" in problems[7] and problems[40] == reading.VANISHED
    assert table["content_hash"][7].as_py() == content_hash(files[7])
    known = [row for row, told in enumerate(problems) if not told]
    images, *_ = ek.read_images([files[row] for row in known], image_size=(24, 32))
    expected = ek.load_tflite(export).predict(images)[:, 0]
    scores = np.array([table["score"][row].as_py() for row in known], np.float32)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)
    called = [table["is_minority"][row].as_py() for row in known]
    assert called == [*(scores < -0.8)] and 0 < sum(called) < len(called)
    assert table["score"][7].as_py() is table["is_minority"][7].as_py() is None


@pytest.mark.parametrize("threads", ["1", "3"])
def test_rows_do_not_depend_on_threads(tmp_path, export, monkeypatch, threads):
    path = write_tar(tmp_path / "a.tar", {f"{n}.png": png(n) for n in range(70)})
    expected = Worker(task(tmp_path, export)).table([str(path)])
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert Worker(task(tmp_path, export)).table([str(path)]).equals(expected)


def test_limits_of_files_hold_for_bytes(tmp_path, export, monkeypatch):
    monkeypatch.setattr(decoding, "MAX_FILE_BYTES", 1000)
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 1000)
    path = write_tar(tmp_path / "a.tar", {"a.png": png(), "b.gif": b""})
    problems = Worker(task(tmp_path, export)).table([str(path)])["problem"]
    assert problems.to_pylist() == [
        "1001 bytes, more than the 1000 allowed",
        "an empty file",
    ]


def test_files_that_none_can_reach_are_no_shard(tmp_path, export):
    worker = Worker(task(tmp_path, export))
    with pytest.raises(OSError, match="None of the 2 images of a shard can be reached"):
        worker.table([str(tmp_path / "a.png"), str(tmp_path / "b.png")])


def test_features_that_16_bits_do_not_hold_are_refused(tmp_path, export):
    (tmp_path / "a.png").write_bytes(png())
    worker = Worker(task(tmp_path, export)._replace(kind=FEATURES, dtype="float16"))
    assert worker.table([str(tmp_path / "a.png")])["vector"].type.list_size == 1
    worker._run = lambda images: np.full((len(images), 1), 1e6, np.float32)
    with pytest.raises(ValueError, match="no finite features.*--dtype float32"):
        worker.table([str(tmp_path / "a.png")])


def test_what_is_put_into_a_bucket_is_whole(bucket):
    folder = Folder("memory://out")
    with pytest.raises(RuntimeError), folder.new_file("a.bin") as file:
        file.write(b"half")
        raise RuntimeError
    assert not folder.exists("a.bin")
    folder.write("a.bin", b"whole")
    assert folder.read("a.bin") == b"whole"
    assert filesystem("memory://out/a.bin")[0].cat_file("/out/a.bin") == b"whole"
