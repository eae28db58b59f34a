"""Accepted images that take the most memory, named after their format and its cost."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO

from PIL import Image

SIDE = 4096
WEBP_SIDE = 3238  # five eighths of the pixels
_EXTRAS = 17_000_000  # bytes of metadata; with the picture just below the limit of 20 MiB
_LONG, _SHORT = 65_500, 256


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    output = BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def gradient(mode: str, size: tuple[int, int]) -> Image.Image:
    """Return a smooth picture with a gradient in each band."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    count = len(Image.new(mode, (1, 1)).getbands())
    return Image.merge(mode, [across, down, across, down][:count]) if count > 1 else across


def png(
    size: tuple[int, int], *, depth: int = 8, colour: int = 6, extra: bytes = b"", pixel: int = 4
) -> bytes:
    """Return a black PNG with `pixel` bytes for each pixel, and `extra` chunks before them."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    rows = (b"\0" + bytes(size[0] * pixel)) * size[1]
    body = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(rows, 1))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with_texts() -> bytes:
    """Return a PNG with 63 MB of compressed text, of which Python makes four bytes a character."""
    text = zlib.compress(("a" * ((1 << 20) - 4) + "\U0001f3a8").encode())
    texts = (_chunk(b"iTXt", b"T%d\0\1\0\0\0" % number + text) for number in range(63))
    return png((SIDE, SIDE), extra=b"".join(texts) + _chunk(b"prVt", bytes(_EXTRAS)))


def webp(*, pixels_in_file: int = 0) -> bytes:
    """Return the largest lossless WebP, filled with metadata or with rows of noise."""
    picture = gradient("RGBA", (WEBP_SIDE, WEBP_SIDE))
    if pixels_in_file:
        size = (WEBP_SIDE, pixels_in_file)
        noise = Image.merge("RGBA", [Image.effect_noise(size, 200) for _ in range(4)])
        picture.paste(noise, (0, 0))
    exif = {} if pixels_in_file else {"exif": bytes(_EXTRAS)}
    return _encoded(picture, "WEBP", lossless=True, method=0, quality=0, **exif)


def jpeg(size: tuple[int, int], name: bytes = b"Exif\0\0", marker: int = 0xE1) -> bytes:
    """Return a progressive JPEG of four colours, with as many segments of metadata as fit."""
    data = _encoded(gradient("CMYK", size), "JPEG", progressive=True, subsampling=0)
    payload = name + bytes(65_000)
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(payload) + 2) + payload
    return data[:2] + segment * (_EXTRAS // len(segment)) + data[2:]


def gif() -> bytes:
    """Return an animation of two frames, with a comment of 17 MB."""
    frames = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("red", "blue")]
    data = _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    start = data.index(b"!\xf9\x04")  # where the first extension is
    comment = b"!\xfe" + (b"\xff" + b"a" * 255) * (_EXTRAS // 256) + b"\0"
    return data[:start] + comment + data[start:]


def noise(side: int) -> bytes:
    """Return a PNG of random pixels; below the size of thumbnails, theirs are the largest."""
    bands = [Image.effect_noise((side, side), 200) for _ in range(3)]
    return _encoded(Image.merge("RGB", bands), "PNG", compress_level=1)


WORST: Mapping[str, Callable[[], bytes]] = {
    "WebP full of noise": lambda: webp(pixels_in_file=1400),
    "WebP with metadata": webp,
    "CMYK JPEG in scans, with EXIF": lambda: jpeg((SIDE, SIDE)),
    "CMYK JPEG, narrow": lambda: jpeg((_LONG, _SHORT)),
    "PNG with texts": png_with_texts,
    "PNG, RGBA of 16 bits, wide": lambda: png((65_535, _SHORT), depth=16, pixel=8),
    "PNG, RGBA of 16 bits, tall": lambda: png((_SHORT, 65_535), depth=16, pixel=8),
    "PNG, RGBA": lambda: png((SIDE, SIDE)),
    "PNG, grey of 16 bits": lambda: png((SIDE, SIDE), depth=16, colour=0, pixel=2),
    "PNG, RGB of 16 bits with a transparent colour": lambda: png(
        (SIDE, SIDE), depth=16, colour=2, pixel=6, extra=_chunk(b"tRNS", bytes(6))
    ),
    "PNG, grey with transparency": lambda: png((SIDE, SIDE), colour=4, pixel=2),
    "PNG of noise": lambda: noise(2400),
    "GIF with a comment": gif,
}
"""Each is at the limits of pixels and bytes that a worker accepts, or just below."""
