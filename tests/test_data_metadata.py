"""Damaged metadata and other faults of files: the pixels, or a sentence."""

import io
import os
import struct

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import decoding, read_images
from egan_keras.data.decoding import EncodedImage, UnreadableError

ORIENTATION = (274, 3, 1, 6)
LYING = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3)


def exif(*entries, following=0):
    """An EXIF block of entries (tag, type, count, value or place)."""
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries))
    for entry in entries:
        block += struct.pack("<HHII", *entry)
    return block + struct.pack("<I", following)


def encoded(kind, block=None, **options):
    file = io.BytesIO()
    if block is not None:
        options["exif"] = block
    Image.fromarray(LYING).save(file, kind, **options)
    return EncodedImage(f"a.{kind}", file.getvalue())


STANDING = {
    "two orientations": exif((274, 3, 2, 6 + (1 << 16))),
    "whole": exif(ORIENTATION),
    "mistyped maker": exif((271, 3, 1, 5), ORIENTATION),
    "mistyped copyright": exif(ORIENTATION, (33432, 11, 1, 0x3FC00000)),
    "mistyped comment": exif(ORIENTATION, (37510, 3, 1, 5)),
    "resolution by zero": exif(ORIENTATION, (282, 5, 1, 0)),
    "huge count": exif(ORIENTATION, (270, 2, 2**32 - 1, 8)),
    "unknown type": exif(ORIENTATION, (40000, 99, 1, 7)),
    "inner block is text": exif(ORIENTATION, (34665, 2, 4, 0x636261)),
    "inner block is the outer": exif(ORIENTATION, (34665, 4, 1, 8), (34853, 4, 1, 8)),
    "inner block is nowhere": exif(ORIENTATION, (34665, 4, 1, 2**32 - 16)),
    "next block is the same": exif(ORIENTATION, following=8),
}
AS_STORED = {
    "orientation 99": exif((274, 3, 1, 99)),
    "orientation as text": exif((274, 2, 2, ord("6"))),
    "orientation without a type": exif((274, 0, 1, 6)),
    "far too many orientations": exif((274, 3, 2**32 - 1, 8)),
    "cut": exif(ORIENTATION)[:18],
    "empty": b"Exif\0\0",
    "no block": b"Exif\0\0" + bytes(range(40)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", [*STANDING, *AS_STORED])
def test_damaged_exif_leaves_the_pixels_and_what_orientation_it_tells(kind, name):
    standing = name in STANDING
    source = encoded(kind, STANDING[name] if standing else AS_STORED[name])
    pixels = decoding.decode(source).pixels
    assert decoding.read_header(source).size == pixels.shape[:2]
    expected = decoding.decode(encoded(kind)).pixels
    if standing:
        expected = np.rot90(expected, -1)
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_once(compression, orientation):
    source = encoded("TIFF", tiffinfo={274: orientation}, compression=compression)
    png = Image.Exif()
    png[274] = orientation
    pixels = decoding.decode(source).pixels
    assert decoding.read_header(source).size == pixels.shape[:2]
    np.testing.assert_array_equal(pixels, decoding.decode(encoded("PNG", png)).pixels)


@pytest.mark.parametrize(
    ("tag", "kind", "value"), [(34665, 4, 2**32 - 16), (34853, 4, 8), (700, 2, "<x")]
)
def test_damaged_blocks_of_tiff_leave_the_pixels(tag, kind, value):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    info = ImageFileDirectory_v2()
    info.tagtype[tag] = kind
    info[tag] = value
    pixels = decoding.decode(encoded("TIFF", tiffinfo=info)).pixels
    np.testing.assert_array_equal(pixels, LYING)


@pytest.mark.parametrize("block", [b"\xff\xfe", b'<tiff:Orientation="x"', b""])
def test_damaged_xmp_leaves_the_pixels(block):
    source = encoded("JPEG", xmp=block)
    assert decoding.decode(source).pixels.shape == LYING.shape


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("'NoneType' object has no attribute 'x'"),
        AssertionError(),
        ZeroDivisionError("division by zero"),
        MemoryError(),
        RecursionError("maximum recursion depth exceeded"),
        NotImplementedError("unknown\nmethod"),
        struct.error("unpack requires 4 bytes"),
        RuntimeError("decoder"),
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range"),
        Image.DecompressionBombError("too large"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("place", ["open", "load"])
def test_whatever_is_raised_the_file_is_named(tmp_path, monkeypatch, error, place):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(LYING).save(good)
    Image.fromarray(LYING).save(bad)

    def fail(method):
        def failing(self, *args, **kwargs):
            name = self if place == "open" else self.filename
            if str(name).endswith("bad.png"):
                raise error
            return method(self, *args, **kwargs)

        return failing

    if place == "open":
        monkeypatch.setattr(Image, "open", fail(Image.open))
    else:
        plugin = type(Image.open(good))
        monkeypatch.setattr(plugin, "load", fail(plugin.load))
    said = (str(error) or type(error).__name__).split("\n")[0]
    with pytest.raises(ValueError, match=rf"bad\.png \({said[:20]}.*skip_unreadable"):
        read_images([good, bad])
    assert read_images([good, bad], skip_unreadable=True)[2] == [bad]


def test_an_empty_file_and_a_pipe_are_told_as_such(tmp_path):
    (tmp_path / "a.png").touch()
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(ValueError, match="a.png .an empty file.*b.png .not a regular"):
        read_images([tmp_path / "a.png", tmp_path / "b.png"])


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (9, 90, 200)])
def test_images_of_one_colour_are_refused_or_left_out(tmp_path, colour, size):
    varied, plain = tmp_path / "varied.png", tmp_path / "plain.png"
    Image.fromarray(LYING).save(varied)
    Image.new("RGB", (16, 8), colour).save(plain)
    with pytest.raises(ValueError, match=r"plain\.png .all its pixels are of one colo"):
        read_images([varied, plain], image_size=size)
    _, kept, skipped = read_images(
        [varied, plain], image_size=size, skip_unreadable=True
    )
    assert (kept, skipped) == ([varied], [plain])


def test_a_dot_that_the_size_hides_makes_an_image_none_of_one_colour(tmp_path):
    image = Image.new("L", (1000, 1000), 0)
    image.putpixel((500, 500), 1)
    image.save(tmp_path / "a.png")
    assert read_images([tmp_path / "a.png"], image_size=8)[0].max() == 0


def test_a_header_that_is_none_raises_what_callers_expect():
    with pytest.raises(UnreadableError, match="not an image of type PNG"):
        decoding.read_header(EncodedImage("a", b"none"))
