"""Image files and folders as they should not be, made by chance from a seed."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (32, 32)
FORMATS = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "GIF": "gif", "WEBP": "webp"}
FORMATS |= {"TIFF": "tif"}

Random = np.random.Generator


def picture(random: Random, level: int = 128) -> Image.Image:
    """Returns noise around a gray level."""
    noise = random.integers(-60, 60, (*SIZE, 3)) + level
    return Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options) -> bytes:
    """Returns the bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def any_file(random: Random) -> tuple[bytes, str]:
    """Returns an undamaged image file of any format, and its suffix."""
    kind = random.choice(list(FORMATS))
    return encode(picture(random), kind), FORMATS[kind]


def bits_flipped(random: Random) -> tuple[bytes, str]:
    """Damages a few bytes, half of the time those of the header."""
    data, suffix = any_file(random)
    data = bytearray(data)
    end = random.choice([min(200, len(data)), len(data)])
    for _ in range(random.integers(1, 10)):
        data[random.integers(end)] ^= 1 << random.integers(8)
    return bytes(data), suffix


def truncated(random: Random) -> tuple[bytes, str]:
    """Leaves out the end."""
    data, suffix = any_file(random)
    return data[: random.integers(1, len(data))], suffix


def with_another_suffix(random: Random) -> tuple[bytes, str]:
    """Gives a suffix of another format, of none, or none at all."""
    data, _ = any_file(random)
    if random.random() < 0.3:
        data = b"text %d" % random.integers(2**40)
    return data, str(random.choice([*FORMATS.values(), "jfif", "txt", "heic", "7z"]))


def with_another_header(random: Random) -> tuple[bytes, str]:
    """Puts the beginning of one file before the rest of another."""
    (first, _), (second, suffix) = any_file(random), any_file(random)
    cut = random.integers(1, 64)
    return first[:cut] + second[cut:], suffix


def with_damaged_exif(random: Random) -> tuple[bytes, str]:
    """Writes entries of wrong types and places, or damages whole ones."""
    tags = random.choice([271, 274, 282, 296, 33432, 34665, 34853, 37510, 40965], 4)
    block = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags))
    for tag in tags:
        count = random.choice([0, 1, 2, 2**32 - 1])
        value = random.choice([3, 6, 8, 99, 2**32 - 16])
        block += struct.pack("<HHII", tag, random.integers(14), count, value)
    block += struct.pack("<I", random.choice([0, 8]))
    if random.random() < 0.5:
        block = block[: random.integers(6, len(block))]
    kind = random.choice(["JPEG", "PNG", "WEBP"])
    return encode(picture(random), kind, exif=block), FORMATS[kind]


def empty(random: Random) -> tuple[bytes, str]:
    """Holds nothing."""
    return b"", str(random.choice(list(FORMATS.values())))


def of_more_bits(random: Random) -> tuple[bytes, str]:
    """Holds 16 or 32 bits, of which some use all, and floats beyond 0..1."""
    largest = random.choice([2**10, 2**12, 2**16]) - 1
    values = random.integers(0, largest, SIZE)
    kinds = [("TIFF", np.uint16), ("PNG", np.uint16), ("TIFF", np.int32)]
    kind, dtype = [*kinds, ("TIFF", np.float32)][random.integers(4)]
    return encode(Image.fromarray(values.astype(dtype)), kind), FORMATS[kind]


def of_another_mode(random: Random) -> tuple[bytes, str]:
    """Holds a palette, transparency, inks, two colours, or one."""
    image = picture(random)
    mode = random.choice(["P", "RGBA", "LA", "CMYK", "1", "L", "constant"])
    if mode == "constant":
        colour = tuple(map(int, random.integers(0, 256, 3)))
        return encode(Image.new("RGB", SIZE, colour), "PNG"), "png"
    return encode(image.convert(mode), "TIFF"), "tiff"


def animated(random: Random) -> tuple[bytes, str]:
    """Holds several frames, often of damaged bytes."""
    kind = random.choice(["GIF", "WEBP", "TIFF", "PNG"])
    frames = [picture(random) for _ in range(3)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    data = bytearray(data)
    if random.random() < 0.5:
        data[random.integers(len(data))] ^= 255
    return bytes(data), FORMATS[kind]


def of_huge_sizes(random: Random) -> tuple[bytes, str]:
    """Declares more pixels than it holds."""
    height, width = map(int, random.integers(2**10, 2**17, 2))
    if random.random() < 0.5:
        data = bytearray(encode(picture(random), "BMP"))
        data[18:26] = struct.pack("<ii", width, height)
        return bytes(data), "bmp"
    data = encode(picture(random), "PNG")
    header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
    check = struct.pack(">I", zlib.crc32(header))
    return data[:12] + header + check + data[33:], "png"


KINDS: tuple[Callable[[Random], tuple[bytes, str]], ...] = (
    bits_flipped,
    truncated,
    with_another_suffix,
    with_another_header,
    with_damaged_exif,
    empty,
    of_more_bits,
    of_another_mode,
    animated,
    of_huge_sizes,
)

NAMES = (
    b"line\nbreak",
    b"\x1b[2Jcleared",
    b"M\xfcller",
    "照片".encode(),
    "\u202egnp.exe".encode(),
    b"$x_1$ {a} %s",
    b"-rf",
    b"a,b;c'd\"e",
    b"<b>bold<br>",
    b" blank ",
    b"n" * 200,
    b"..two",
    b"tab\tbell\a",
)


def write_image(path: Path | bytes, random: Random, level: int = 128) -> None:
    """Writes an undamaged image, whatever the suffix."""
    with open(path, "wb") as file:
        file.write(encode(picture(random, level), "PNG"))


class Folder:
    """A folder of images with what else may be in one.

    Args:
        root: the folder; it is made.
        random: what is in it.

    Attributes:
        n_read: how many files and folders training must account for.
        n_scored: the same of scoring, which searches all of it.
    """

    def __init__(self, root: Path, random: Random) -> None:
        self.root, self._random = root, random
        self._far = root.with_name(f"{root.name}-elsewhere")
        self._count = 0
        self.n_read = self.n_scored = 0

    def fill(self, folder: Path, count: int, level: int) -> None:
        """Adds undamaged images of a class."""
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            write_image(folder / f"{self._next()}.png", self._random, level)
        self._add(count)

    def add_mutant(self, folder: Path, kind: Callable) -> None:
        """Adds a file of one of the kinds."""
        data, suffix = kind(self._random)
        (folder / f"{self._next()}.{suffix}").write_bytes(data)
        self._add(1)

    def add_odd(self, folder: Path) -> None:
        """Adds one odd thing to a class folder."""
        oddities = (
            self._odd_name,
            self._linked_folder,
            self._linked_file,
            self._circle,
            self._broken_link,
            self._hidden,
            self._pipe,
            self._socket,
            self._nested,
            self._other_file,
            self._no_image,
        )
        oddities[self._random.integers(len(oddities))](folder)

    def add_beside(self) -> None:
        """Adds a folder that is no class, and a file beside the folders."""
        other = self.root / f"ground_truth {self._next()}"
        other.mkdir(parents=True)
        write_image(other / "mask.png", self._random)
        (self.root / f"{self._next()}.md").write_text("read me")
        self._add(2)

    def _add(self, n_read: int, n_scored: int | None = None) -> None:
        self.n_read += n_read
        self.n_scored += n_read if n_scored is None else n_scored

    def _next(self) -> str:
        self._count += 1
        return f"{self._count:04}"

    def _odd_name(self, folder: Path) -> None:
        name = NAMES[self._random.integers(len(NAMES))] + self._next().encode()
        # Names that begin with a dot are hidden, and are counted alike.
        write_image(os.path.join(os.fsencode(folder), name + b".png"), self._random)
        self._add(1)

    def _linked_folder(self, folder: Path) -> None:
        far = self._far / self._next()
        far.mkdir(parents=True)
        for number in range(2):
            write_image(far / f"{number}.png", self._random)
        for name in ("link", "again"):
            (folder / f"{name} {self._next()}").symlink_to(far)
        # Two images, and the second link, which leads to no more.
        self._add(3)

    def _linked_file(self, folder: Path) -> None:
        self._far.mkdir(exist_ok=True)
        far = self._far / f"{self._next()}.blob"
        write_image(far, self._random)
        for name in ("link", "again"):
            (folder / f"{name} {self._next()}.png").symlink_to(far)
        self._add(2)

    def _circle(self, folder: Path) -> None:
        target = [".", "..", "../.."][self._random.integers(3)]
        (folder / f"round {self._next()}").symlink_to(target)
        self._add(1)

    def _broken_link(self, folder: Path) -> None:
        (folder / f"{self._next()}.png").symlink_to("nowhere.png")
        self._add(1)

    def _hidden(self, folder: Path) -> None:
        hidden = folder / f".{self._next()}"
        hidden.mkdir()
        write_image(hidden / "in.png", self._random)
        (folder / f".{self._next()}.png").touch()
        self._add(2)

    def _pipe(self, folder: Path) -> None:
        os.mkfifo(folder / f"{self._next()}.png")
        self._add(1)

    def _socket(self, folder: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            name = f"{self._next()}.png"
            # Its whole name must be short.
            place = os.open(folder, os.O_RDONLY)
            listening.bind(f"/proc/self/fd/{place}/{name}")
            os.close(place)
        self._add(1)

    def _nested(self, folder: Path) -> None:
        deep = folder.joinpath(*["in.png"] * 12, self._next())
        deep.mkdir(parents=True)
        write_image(deep / "1.png", self._random)
        self._add(1)

    def _other_file(self, folder: Path) -> None:
        suffix = [".txt", ".zip", "", ".JSON", ".p ng"][self._random.integers(5)]
        (folder / f"{self._next()}{suffix}").touch()
        self._add(1)

    def _no_image(self, folder: Path) -> None:
        (folder / f"{self._next()}.png").write_text(f"none {self._count}")
        (folder / f"empty folder {self._next()}").mkdir()
        self._add(1)
