import numpy as np
import pytest
from PIL import Image

from egan_keras.data import decoding, find_images, images, read_images

GRAY = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)
COLOUR = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)


def save(path, image, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


def read_one(path, **options):
    return read_images([path], **options)[0][0]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_rgb_pixels_arrive_unchanged(tmp_path, suffix):
    pixels = read_one(save(tmp_path / f"a.{suffix}", COLOUR))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, COLOUR)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "gif"])
def test_lossy_formats_are_read_as_rgb(tmp_path, suffix):
    stored = np.full((16, 16, 3), 90, np.uint8)
    stored[8:] = 160
    pixels = read_one(save(tmp_path / f"a.{suffix}", stored))
    assert pixels.shape == (16, 16, 3)
    np.testing.assert_allclose(pixels, stored, atol=2)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("8-bit.png", GRAY),
        ("16-bit.png", GRAY.astype(np.uint16) * 257),
        ("16-bit.tif", GRAY.astype(np.uint16) * 257),
        ("float.tif", (GRAY / 255).astype(np.float32)),
        ("signed-32-bit.tif", (GRAY / 255 * (2**31 - 1)).astype(np.int32)),
    ],
)
def test_grayscale_of_every_depth_becomes_three_equal_channels(tmp_path, name, stored):
    expected = np.repeat(GRAY[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read_one(save(tmp_path / name, stored)), expected)


def test_unsigned_32_bit_grayscale_uses_the_whole_range(tmp_path):
    path = save(tmp_path / "a.tif", np.array([[0, -1]], np.int32))
    # Pillow cannot write it, so the tag SampleFormat is turned from 2 to 1.
    signed = b"\x53\x01\x03\x00\x01\x00\x00\x00\x02"
    assert path.read_bytes().count(signed) == 1
    path.write_bytes(path.read_bytes().replace(signed, signed[:-1] + b"\x01"))
    assert read_one(path)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("values", [[0.0, 1.5], [-0.1, 1.0], [0.0, np.nan]])
def test_float_grayscale_outside_0_to_1_is_refused(tmp_path, values):
    path = save(tmp_path / "a.tif", np.array([values], np.float32))
    with pytest.raises(ValueError, match=r"a\.tif .*outside 0\.\.1"):
        read_images([path])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_on_white(tmp_path, mode):
    image = Image.new(mode, (3, 1), 0)
    image.putpixel((1, 0), (0,) * (len(mode) - 1) + (255,))
    image.putpixel((2, 0), (0,) * (len(mode) - 1) + (128,))
    pixels = read_one(save(tmp_path / "a.png", image))
    assert pixels[0].tolist() == [[255] * 3, [0] * 3, [127] * 3]


def test_palette_colours_and_their_transparency_are_resolved(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 10, 20, 30, 40, 50])
    image.putpixel((1, 0), 1)
    plain = save(tmp_path / "a.png", image)
    clear = save(tmp_path / "b.png", image, transparency=0)
    assert read_one(plain)[0].tolist() == [[200, 10, 20], [30, 40, 50]]
    assert read_one(clear)[0].tolist() == [[255] * 3, [30, 40, 50]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied_to_size_and_pixels(tmp_path, suffix):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"a.{suffix}", stored, exif=exif)
    pixels = read_one(path)
    assert pixels.shape == (32, 16, 3)
    assert pixels[:12].min() > 200
    assert pixels[20:].max() < 50


def test_images_are_stretched_bilinearly_with_antialias(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    expected = Image.fromarray(COLOUR).resize((3, 2), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_one(path, image_size=(2, 3)), expected)
    assert read_one(path, image_size=5).shape == (5, 5, 3)


def test_different_sizes_are_stretched_to_224_with_a_warning(tmp_path):
    paths = [save(tmp_path / "a.png", COLOUR), save(tmp_path / "b.png", COLOUR[:4])]
    with pytest.warns(UserWarning, match="2 different sizes.*224 x 224"):
        pixels = read_images(paths)[0]
    assert pixels.shape == (2, 224, 224, 3)


def damaged_files(folder):
    whole = save(folder / "whole.png", np.tile(COLOUR, (20, 20, 1)))
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.png").write_bytes(whole.read_bytes()[:-200])
    # A format that Pillow knows, but that is not on the list.
    (folder / "ppm.png").write_bytes(b"P5 1 1 255\n\x00")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("name", ["text.png", "empty.jpg", "cut.png", "ppm.png"])
def test_an_unreadable_file_is_named_with_the_alternative(tmp_path, name):
    damaged_files(tmp_path)
    with pytest.raises(ValueError, match=rf"{name}.*skip_unreadable=True"):
        read_images([tmp_path / "whole.png", tmp_path / name])


def test_unreadable_files_are_skipped_and_listed(tmp_path):
    paths = damaged_files(tmp_path)
    pixels, kept, skipped = read_images(paths, skip_unreadable=True)
    assert kept == [tmp_path / "whole.png"]
    assert sorted(skipped) == [path for path in paths if path != kept[0]]
    np.testing.assert_array_equal(pixels[0], np.tile(COLOUR, (20, 20, 1)))
    with pytest.raises(ValueError, match="None of the 1 files can be read"):
        read_images([tmp_path / "cut.png"], skip_unreadable=True)


def test_headers_are_checked_before_anything_is_decoded(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(images, "decode", lambda *args: decoded.append(args))
    paths = [save(tmp_path / "a.png", COLOUR), tmp_path / "b.png"]
    paths[1].write_text("not an image")
    with pytest.raises(ValueError, match="b.png"):
        read_images(paths)
    assert decoded == []


@pytest.mark.parametrize("limit", ["MAX_FILE_BYTES", "MAX_PIXELS"])
def test_files_over_the_limits_are_refused(tmp_path, monkeypatch, limit):
    path = save(tmp_path / "a.png", COLOUR)
    monkeypatch.setattr(decoding, limit, 40)
    with pytest.raises(ValueError, match="a.png.*more than the 40 allowed"):
        read_images([path])


def test_many_images_keep_their_order_whatever_thread_read_them(tmp_path):
    paths = [
        save(tmp_path / f"{i:03}.png", np.array([[i, 255]], np.uint8))
        for i in range(200)
    ]
    assert read_images(paths)[0][:, 0, 0, 0].tolist() == list(range(200))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, (8,), (8, 0), "8"])
def test_impossible_image_sizes_are_refused(tmp_path, size):
    path = save(tmp_path / "a.png", COLOUR)
    with pytest.raises(ValueError, match="one positive int or .height, width."):
        read_images([path], image_size=size)


def test_missing_paths_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no images to read"):
        read_images([])
    with pytest.raises(FileNotFoundError, match="no such image file.*a.png"):
        read_images([tmp_path / "a.png"], skip_unreadable=True)


def test_find_images_searches_folders_and_passes_over_other_files(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    names = ["b.PNG", "a.jpg", "deep/c.tif", "deep/er/d.webp"]
    for name in [*names, ".hidden.png", "notes.txt", "deep/e.psd"]:
        (tmp_path / name).touch()
    found = find_images([tmp_path / "deep", tmp_path, tmp_path / "a.jpg"])
    assert found == sorted(tmp_path / name for name in names)
    assert find_images(str(tmp_path / "a.jpg")) == [tmp_path / "a.jpg"]


def test_find_images_refuses_what_holds_no_image(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="holds no images.*1 other files"):
        find_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        find_images(tmp_path / "missing")
    with pytest.raises(ValueError, match="supported image type.*notes.txt"):
        find_images(tmp_path / "notes.txt")
