import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import ImageFiles, load_folder, load_tfds, read_images

TWELVE_BITS = 2**12 - 1


def write(path, *values):
    """Write images of noise up to the largest value of the array's type or less."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(*values, seed=zlib.crc32(bytes(path)))).save(path)
    return path


def noise(largest, dtype="uint16", smallest=0, seed=0):
    random = np.random.default_rng(seed)
    pixels = random.uniform(smallest, largest, (8, 8)).astype(dtype)
    pixels[0, :2] = smallest, largest
    return pixels


def write_classes(root, largest, dtype="uint16", suffix="tif"):
    for name, count in (("good", 8), ("bad", 4)):
        for number in range(count):
            write(root / name / f"{number}.{suffix}", largest, dtype)
    return root


def load(root, **options):
    return load_folder(root, majority="good", minority="bad", **options)


@pytest.mark.parametrize(
    ("largest", "dtype", "suffix", "advice"),
    [
        (TWELVE_BITS, "uint16", "tif", r"gray_range=\(0, 4095\)"),
        (TWELVE_BITS, "uint16", "png", r"--gray-range=0,4095"),
        (1000, "uint16", "png", r"gray_range=\(0, 1023\)"),
        (2**14 - 1, "uint16", "tif", r"gray_range=\(0, 16383\)"),
        (60_000, "int32", "tif", r"\(0, 65535\).*\(0, 2147483647\) .*takes them as"),
        (0.0625, "float32", "tif", r"gray_range=\(0, 0.0625\)"),
    ],
)
def test_a_small_part_of_the_range_is_refused(tmp_path, largest, dtype, suffix, advice):
    write_classes(tmp_path, largest, dtype, suffix)
    with pytest.raises(ValueError, match=f"class 'good' have .*{advice}"):
        load(tmp_path)


def test_values_in_the_middle_are_refused_with_their_own_range(tmp_path):
    # As a thermal camera's, in hundredths of a kelvin.
    paths = [write(tmp_path / f"{n}.tif", 31_000, "uint16", 29_000) for n in range(3)]
    with pytest.raises(ValueError, match=r"gray_range=\(29000, 31000\)"):
        read_images(paths)


def test_one_dark_image_among_others_is_as_it_should_be(tmp_path):
    write_classes(tmp_path, 2**16 - 1)
    write(tmp_path / "good" / "3.tif", 900)
    splits = load(tmp_path)
    darkest = min(image.max() for split in splits for image in split.images)
    assert darkest == round(900 / 257)


def test_a_class_of_few_bits_does_not_hide_behind_another(tmp_path):
    write_classes(tmp_path, 2**16 - 1)
    for path in (tmp_path / "bad").iterdir():
        write(path, TWELVE_BITS)
    with pytest.raises(ValueError, match="training class 'bad'"):
        load(tmp_path)


def test_few_deep_images_among_many_of_8_bits_are_found(tmp_path):
    write_classes(tmp_path, 255, "uint8", "png")
    write(tmp_path / "good" / "deep.tif", TWELVE_BITS)
    with pytest.raises(ValueError, match="1 of 1 looked at of training class 'good'"):
        load(tmp_path)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_range_makes_the_pixels_of_12_bits_those_of_16(tmp_path, lazy):
    narrow = write_classes(tmp_path / "narrow", TWELVE_BITS)
    wide = tmp_path / "wide"
    for path in narrow.rglob("*.tif"):
        target = wide / path.relative_to(narrow)
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(Image.open(path)) / TWELVE_BITS * (2**16 - 1)
        Image.fromarray(np.rint(pixels).astype(np.uint16)).save(target)
    splits = load(narrow, gray_range=(0, TWELVE_BITS), lazy=lazy)
    for split, expected in zip(splits, load(wide), strict=True):
        difference = split.images[:].astype(int) - expected.images
        assert np.abs(difference).max() <= 1
        assert split.images[:].max() == 255


def test_values_outside_the_range_are_clipped_and_counted(tmp_path):
    paths = [write(tmp_path / f"{n}.tif", 3000 + n) for n in range(3)]
    with pytest.warns(UserWarning, match="2 of 3 .* from 0 to 3002; they are clipped"):
        images = read_images(paths, gray_range=(0, 3000))[0]
    assert images.min() == 0 and images.max() == 255


def test_negative_values_take_a_range(tmp_path):
    # As tomographs measure.
    path = write(tmp_path / "a.tif", 3071, "int32", -1024)
    with pytest.raises(ValueError, match=r"gray_range=\(-1024, 3071\)"):
        read_images([path])
    image = read_images([path], gray_range=(-1024, 3071))[0][0]
    assert image[0, :2, 0].tolist() == [0, 255]


def test_all_of_the_range_can_be_asked_for(tmp_path):
    path = write(tmp_path / "a.tif", TWELVE_BITS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_images([path], gray_range=(0, 65535))[0][0]
    assert image.max() == round(TWELVE_BITS / 257)


def test_colour_of_16_bits_is_refused_where_8_of_them_are_nearly_empty(
    tmp_path,
):
    # Pillow cannot write it, but keeps 8 bits on reading it: 12 of them as 0 to 15.
    path = tmp_path / "a.png"
    path.write_bytes(sixteen_bit_colour(TWELVE_BITS))
    for options in ({}, {"gray_range": (0, TWELVE_BITS)}):
        with pytest.raises(ValueError, match="save such images with 8 bits a channel"):
            read_images([path], **options)
    assert read_images([path], gray_range=(0, 65535))[0].max() == 15
    path.write_bytes(sixteen_bit_colour(2**16 - 1))
    assert read_images([path])[0].max() == 255


def sixteen_bit_colour(largest):
    values = np.linspace(0, largest, 8 * 8 * 3).astype(">u2").reshape(8, 24)
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def test_files_that_nobody_checked_are_when_they_are_read(tmp_path):
    paths = [write(tmp_path / f"{n}.tif", TWELVE_BITS) for n in range(3)]
    images = ImageFiles(paths, 8)
    with pytest.raises(ValueError, match="3 of 3 looked at have values"):
        images[:1]
    scaled = ImageFiles(paths, 8, (0, TWELVE_BITS))
    assert scaled[:].max() == scaled.select(np.array([1]))[:].max() == 255
    marks = [b"".join(files.identity()) for files in (images, scaled)]
    assert marks[0] != marks[1]


def test_records_take_a_range_too(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    write_classes(tmp_path / "train", TWELVE_BITS, suffix="png")
    builder = tfds.folder_dataset.ImageFolder(str(tmp_path))
    roles = {"majority": "good", "minority": "bad"}
    with pytest.raises(ValueError, match=r"gray_range=\(0, 4095\)"):
        load_tfds(builder, **roles)
    splits = load_tfds(builder, gray_range=(0, TWELVE_BITS), **roles)
    assert splits.train.images.max() == 255


@pytest.mark.parametrize(
    "gray_range", [5, (1,), (0, 1, 2), (3, 3), (5, 0), (0, float("nan")), ("a", "b")]
)
def test_ranges_that_are_none_are_refused(tmp_path, gray_range):
    path = write(tmp_path / "a.tif", TWELVE_BITS)
    with pytest.raises(ValueError, match="two numbers, the values that are black"):
        read_images([path], gray_range=gray_range)
