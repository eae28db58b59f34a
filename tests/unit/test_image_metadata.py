"""Image files without their extras: the same picture, and nothing that takes much room."""

from __future__ import annotations

import tracemalloc
import zlib
from io import BytesIO

import pytest
from PIL import Image

from tests import pictures
from tests.refusals import fails_with
from worker.files.image_metadata import read_image
from worker.files.image_metadata.exif import read_orientation
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

LARGE = bytes(100_000)
SMALL = ThumbnailSettings(size=32)


def jpeg_with(*segments: tuple[int, bytes], data: bytes) -> bytes:
    """Return a JPEG with segments after its first marker."""
    parts = (
        bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body
        for marker, body in segments
    )
    return data[:2] + b"".join(parts) + data[2:]


def png_with(*chunks: bytes, data: bytes) -> bytes:
    """Return a PNG with chunks after its header."""
    return data[:33] + b"".join(chunks) + data[33:]


def webp_with(data: bytes) -> bytes:
    """Return a WebP of which the frames, and what is told of it, are large."""
    with Image.open(BytesIO(data)) as image:
        options = {"lossless": True, "exif": pictures.exif(6), "xmp": LARGE, "icc_profile": LARGE}
        return pictures.encode(image, "WEBP", options)


EXTRAS = {
    "texts of a PNG": png_with(
        pictures.chunk(b"tEXt", b"a\0" + LARGE),
        pictures.chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(LARGE * 9)),
        pictures.chunk(b"eXIf", LARGE),
        data=pictures.with_exif("PNG"),
    ),
    "segments of a JPEG": jpeg_with(
        *[(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + LARGE[:60_000])] * 2,
        *[(0xE2, b"ICC_PROFILE\0\1\1" + LARGE[:60_000])] * 2,
        (0xFE, LARGE[:60_000]),
        data=pictures.with_exif("JPEG"),
    ),
    "colours of a JPEG": jpeg_with(*[(0xE5, LARGE[:60_000])] * 2, data=pictures.cmyk()),
    "chunks of a WebP": webp_with(pictures.with_exif("WEBP")),
    "after the end of a WebP": pictures.with_exif("WEBP") + LARGE,
}


@pytest.mark.parametrize("name", EXTRAS)
def test_the_picture_is_the_same_without_extras(name: str) -> None:
    """Its pixels, its colours, and which way is up."""
    data = EXTRAS[name]
    parts = read_image(data)
    bare = parts.data
    assert len(bare) < len(data) - 60_000
    assert read_image(bare).data is bare
    with Image.open(BytesIO(data)) as before, Image.open(BytesIO(bare)) as after:
        assert (before.mode, before.size, before.tobytes()) == (
            after.mode,
            after.size,
            after.tobytes(),
        )
        assert before.getexif().get(0x0112, 1) == read_orientation(parts.exif)
        assert len(after.getexif()) == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_file_without_metadata_is_not_copied(kind: str) -> None:
    """That saves memory."""
    data = pictures.photo(kind)
    assert read_image(data).data is data


def test_later_frames_are_left_out() -> None:
    """Of a WebP with many only the first is handed to the decoder."""
    frames = [Image.effect_noise((64, 64), 200) for _ in range(40)]
    options = {"save_all": True, "append_images": frames[1:], "lossless": True}
    data = pictures.encode(frames[0], "WEBP", options)
    bare = read_image(data).data
    assert len(bare) < len(data) / 10
    assert make_thumbnail(bare, SMALL) == make_thumbnail(data, SMALL)


@pytest.mark.parametrize("name", [name for name in EXTRAS if "end" not in name])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_file_that_is_cut_off_before_its_picture_stays_so(name: str, share: float) -> None:
    """What is left out never makes a whole picture of half a file."""
    data = EXTRAS[name]
    with fails_with("image_unreadable"):
        make_thumbnail(data[: int(len(data) * share)], SMALL)


MANY = 20_000


@pytest.mark.parametrize(
    ("kind", "position", "part"),
    [
        ("PNG", 33, pictures.chunk(b"prVt", b"") + pictures.chunk(b"IDAT", b"")),
        ("JPEG", 2, b"\xff\xe5\0\2\xff\xdd\0\4\0\0"),
        ("JPEG", 2, b"\xff\xe2\0\x10ICC_PROFILE\0\1\1"),
        ("WEBP", 12, b"junk\0\0\0\0"),
        ("GIF", 13, b"!\xfe\0"),
    ],
)
def test_countless_small_parts_take_little_memory(kind: str, position: int, part: bytes) -> None:
    """A multiple of the file's size at most."""
    data = pictures.photo(kind)
    if kind == "GIF":
        position = data.index(b",", 13 + (3 << (data[10] & 7) + 1))
    data = data[:position] + part * MANY + data[position:]
    if kind == "WEBP":
        data = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:]
    tracemalloc.start()
    read_image(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(data)
