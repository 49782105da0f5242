import json

import pytest

from egan_keras import schemas
from egan_keras.thresholds import Calibration

CALIBRATION = {
    "threshold": 1.5,
    "criterion": "f1",
    "target": None,
    "confidence": None,
    "n_majority": 30,
    "n_minority": 2,
    "guarantee": "No guarantee.",
}


def parse(**changes):
    return schemas.parse(
        json.dumps(CALIBRATION | changes).encode(), schemas.CALIBRATION
    )


def test_what_was_written_is_read():
    assert parse() == CALIBRATION
    assert parse(of_a_later_version=1)["of_a_later_version"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": float("nan")}, "the number NaN"),
        ({"threshold": float("inf")}, "the number Infinity"),
        ({"threshold": 1e39}, "'threshold' must be smaller than or equal to 3e"),
        ({"threshold": 10**400}, "'threshold' must be smaller than or equal to 3e"),
        ({"threshold": True}, "'threshold' must be number, not True"),
        ({"threshold": None}, "'threshold' must be number, not None"),
        ({"target": 1}, "'target' must be smaller than 1"),
        ({"confidence": "0.9"}, "'confidence' must be number or null, not '0.9'"),
        ({"n_majority": -1}, "'n_majority' must be bigger than or equal to 0"),
        ({"n_minority": 2.0}, "'n_minority' must be integer, not 2.0"),
        ({"guarantee": "x" * 10**6}, "'guarantee' must be shorter"),
        ({"more": [[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]}, "deeper than 20"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(changes, message):
    with pytest.raises(ValueError, match=message):
        parse(**changes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "can't decode"),
        (b"null", "it must be object, not None"),
        (b"{}", "it must contain .*'threshold'"),
        (b"[" * 10**5, "deeper than 20"),
        (b'{"a": 1, "a": 2}', "a key twice"),
        (b'{"a": -1e999}', "the number -1e999"),
        (b"9" * 5000, "4300 digits"),
    ],
)
def test_what_is_no_such_json_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        schemas.parse(content, schemas.CALIBRATION)


def test_values_are_shown_short_and_without_what_a_terminal_acts_upon():
    with pytest.raises(ValueError) as caught:
        parse(**{"threshold": "\x1b[2J\n" * 10**4})
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "large.json"
    path.write_text(" " * 1001)
    with pytest.raises(ValueError, match="1001 bytes, more than 1000"):
        schemas.read(path, schemas.ANYTHING, 1000)


@pytest.mark.parametrize("path", ["/a", "..", "a/../b", "x\n/../y", "a/..", "a\0b", ""])
def test_paths_stay_below_their_folder(path):
    with pytest.raises(ValueError, match="must match pattern"):
        schemas.check(path, schemas.PATH)


@pytest.mark.parametrize("path", ["a", "a/b.png", "..a/b..", "caf\udce9/照片.png"])
def test_odd_names_are_paths(path):
    schemas.check(path, schemas.PATH)


def test_a_calibration_has_a_threshold():
    read = Calibration.from_dict(CALIBRATION | {"later": 1}).to_dict()
    assert read == CALIBRATION | {"costs": None}
    with pytest.raises(ValueError, match="calibration.*cannot be.*'n_majority'"):
        Calibration.from_dict(CALIBRATION | {"n_majority": "many"})
    with pytest.raises(ValueError, match="finite number.*threshold=nan"):
        Calibration(**CALIBRATION | {"threshold": float("nan")})
