import errno
import os
import subprocess
import sys

import pytest

from egan_keras import files
from egan_keras.review.label_file import LabelFile, TakenError

KNOWN = ("good", "bad", "unsure")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.csv"


@pytest.fixture
def opened(path):
    """opened() opens the file as a new reviewer does, after the last one ended."""
    latest = []

    def opened():
        for each in latest:
            each.close()
        latest.append(LabelFile(path, KNOWN))
        return latest[-1]

    yield opened
    for each in latest:
        each.close()


def test_a_label_is_in_the_file_when_it_is_added(path, opened):
    labels = opened()
    assert path.read_text() == "path,label\n"
    labels.add("a/1.png", "bad")
    labels.add('b, "c"\n.png', "good")
    assert path.read_text() == 'path,label\na/1.png,bad\n"b, ""c""\n.png",good\n'
    again = opened()
    assert again.labels == {"a/1.png": "bad", 'b, "c"\n.png': "good"}
    assert not again.notes


def test_undo_takes_back_label_by_label_also_those_of_before(path, opened):
    labels = opened()
    for number in range(3):
        labels.add(f"{number}.png", "good")
    assert labels.undo() == ("2.png", "good")
    labels.add("2.png", "bad")
    again = opened()
    assert [again.undo() for _ in range(4)] == [
        ("2.png", "bad"),
        ("1.png", "good"),
        ("0.png", "good"),
        None,
    ]
    assert path.read_text() == "path,label\n"


@pytest.mark.parametrize("torn", ["b.p", "b.png,ba", '"b\n', "b.png,bad"])
def test_a_torn_last_line_is_dropped_and_told(path, opened, torn):
    path.write_text(f"path,label\na.png,good\n{torn}")
    labels = opened()
    assert labels.labels == {"a.png": "good"}
    assert "torn" in labels.notes[0]
    labels.add("c.png", "bad")
    assert path.read_text() == "path,label\na.png,good\nc.png,bad\n"


def test_a_torn_header_is_written_again(path, opened):
    path.write_text("path,la")
    opened().add("a.png", "bad")
    assert path.read_text() == "path,label\na.png,bad\n"


def test_of_doubled_rows_the_last_is_kept_and_told(path, opened):
    path.write_text("path,label\na.png,good\nb.png,bad\na.png,unsure\n")
    labels = opened()
    assert labels.labels == {"b.png": "bad", "a.png": "unsure"}
    assert "1 rows" in labels.notes[0] and "a.png" in labels.notes[0]
    assert path.read_text() == "path,label\nb.png,bad\na.png,unsure\n"
    assert labels.undo() == ("a.png", "unsure")
    assert path.read_text() == "path,label\nb.png,bad\n"


def test_further_columns_and_a_spreadsheets_marks_are_kept(path, opened):
    path.write_bytes(b"\xef\xbb\xbfpath,label,group\r\na.png,good,7\r\n")
    labels = opened()
    labels.add("b.png", "bad")
    assert path.read_bytes().endswith(b"a.png,good,7\r\nb.png,bad,\n")
    assert opened().undo() == ("b.png", "bad")
    assert opened().labels == {"a.png": "good"}


def test_names_that_are_no_text_keep_their_bytes(path, opened):
    name = os.fsdecode(b"caf\xe9.png")
    opened().add(name, "bad")
    assert b"caf\xe9.png,bad" in path.read_bytes()
    assert opened().labels == {name: "bad"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image;class\n", "of another kind"),
        ("hello", "of another kind"),
        ("path,label\na.png,scratched\n", "unknown label; expected one of good"),
        ("path,label\na.png\n", "unknown label"),
    ],
)
def test_other_files_are_refused_and_stay_as_they_are(path, text, message):
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        LabelFile(path, KNOWN)
    assert path.read_text() == text


def test_a_second_reviewer_is_told(path, opened):
    opened()
    with pytest.raises(TakenError, match="one reviewer at a time"):
        LabelFile(path, KNOWN)


def test_the_lock_goes_with_a_process_that_is_killed(path):
    program = (
        "import os, sys; from egan_keras.review.label_file import LabelFile\n"
        "labels = LabelFile(sys.argv[1], ['bad']); labels.add('a.png', 'bad')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, path])
    labels = LabelFile(path, KNOWN)
    assert labels.labels == {"a.png": "bad"}
    labels.close()


def test_on_a_full_disk_a_label_is_refused_and_nothing_is_lost(
    path, opened, monkeypatch
):
    labels = opened()
    labels.add("a.png", "bad")
    written = os.fsync

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(files.FullDiskError, match="disk is full"):
        labels.add("b.png", "good")
    assert path.read_text() == "path,label\na.png,bad\n"
    assert labels.labels == {"a.png": "bad"}
    monkeypatch.setattr(os, "fsync", written)
    labels.add("b.png", "good")
    assert labels.undo() == ("b.png", "good")
    assert path.read_text() == "path,label\na.png,bad\n"
