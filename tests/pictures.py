"""Real image files in every mode and state that an upload can have, made on the spot.

All functions return the bytes of a file. The pictures are small unless a size is asked for, and
the same on each call.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO

from PIL import Image, PngImagePlugin

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
SECRET = b"GPS-and-names-stay-here"
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ORIENTATION, _MAKER, _GPS_IFD = 0x0112, 0x010F, 0x8825
_SCAN, _END = b"\xff\xda", b"\xff\xd9"


def encode(image: Image.Image, kind: str, options: Mapping[str, object] | None = None) -> bytes:
    """Return an image as a file of a format, with that format's own options of Pillow."""
    output = BytesIO()
    image.save(output, kind, **(options or {}))
    return output.getvalue()


def decode(data: bytes) -> Image.Image:
    """Return the first frame of a file as RGB."""
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB")


def pixel(image: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    """Return the bands of a pixel of an image with several."""
    value = image.getpixel(place)
    assert isinstance(value, tuple)
    return tuple(int(band) for band in value)


def gradient(mode: str, size: tuple[int, int]) -> Image.Image:
    """Return a smooth picture like a photo: each band another gradient."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    round_ = Image.radial_gradient("L").resize(size)
    bands = (across, down, round_, down)
    count = len(Image.new(mode, (1, 1)).getbands())
    return Image.merge(mode, bands[:count]) if count > 1 else across.convert(mode)


def checkers(size: tuple[int, int], colours: Sequence[tuple[int, int, int]]) -> Image.Image:
    """Return pixel art: every pixel one of a few colours, in diagonal stripes."""
    image = Image.new("RGB", size)
    width, height = size
    image.putdata([colours[(x + y) % len(colours)] for y in range(height) for x in range(width)])
    return image


def pixel_art(size: tuple[int, int] = (8, 8)) -> bytes:
    """PNG with a palette of four colours."""
    return encode(checkers(size, (RED, GREEN, BLUE, WHITE)).quantize(4), "PNG")


def photo(kind: str = "JPEG", size: tuple[int, int] = (48, 36)) -> bytes:
    """RGB gradients as PNG, JPEG or WEBP."""
    return encode(gradient("RGB", size), kind)


def progressive(size: tuple[int, int] = (48, 36), mode: str = "RGB") -> bytes:
    """JPEG sent in several scans; with mode CMYK, in four colours."""
    return encode(gradient(mode, size), "JPEG", {"progressive": True, "subsampling": 0})


def many_scans(count: int, size: tuple[int, int] = (48, 36)) -> bytes:
    """Progressive JPEG whose last scan is repeated: a few bytes each, a pass over all pixels."""
    data = progressive(size, "L")
    last = data[data.rindex(_SCAN) : -len(_END)]
    return data[: -len(_END)] + last * count + _END


def cmyk() -> bytes:
    """JPEG for print, in four colours."""
    return encode(gradient("CMYK", (48, 36)), "JPEG")


def transparent(kind: str = "PNG", size: tuple[int, int] = (16, 16)) -> bytes:
    """RGBA: left half opaque red, right half fully transparent green."""
    image = Image.new("RGBA", size, (*GREEN, 0))
    image.paste((*RED, 255), (0, 0, size[0] // 2, size[1]))
    return encode(image, kind, {"lossless": True} if kind == "WEBP" else None)


def transparent_palette() -> bytes:
    """PNG with a palette of which red, the left half, is transparent."""
    image = checkers((16, 16), (BLUE,))
    image.paste(RED, (0, 0, 8, 16))
    paletted = image.quantize(2)
    return encode(paletted, "PNG", {"transparency": paletted.getpixel((0, 0))})


def bilevel() -> bytes:
    """PNG of one bit a pixel: left half white, right half black."""
    image = Image.new("1", (16, 16))
    image.paste(1, (0, 0, 8, 16))
    return encode(image, "PNG")


def grey(mode: str = "L") -> bytes:
    """PNG in greys, with mode LA also with transparency."""
    return encode(gradient(mode, (16, 16)), "PNG")


def grey16() -> bytes:
    """PNG of 16 bits a pixel, its four columns black, dark, light and white."""
    row = b"\0" + struct.pack(">4H", 0, 64 * 257, 192 * 257, 255 * 257)
    return png((4, 4), depth=16, colour=0, rows=row * 4)


def colour16(size: tuple[int, int] = (4, 4)) -> bytes:
    """PNG of RGBA with 16 bits a band."""
    return png(size, depth=16, colour=6, rows=(b"\0" + b"\x80\0" * 4 * size[0]) * size[1])


def interlaced(size: tuple[int, int] = (16, 16)) -> bytes:
    """PNG of RGBA in seven passes (Adam7).

    Source: https://www.w3.org/TR/png-3/#8Interlace
    """
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
    rows = b""
    for left, top, across, down in (*passes, (0, 1, 1, 2)):
        width, height = -(-(size[0] - left) // across), -(-(size[1] - top) // down)
        rows += (b"\0" + bytes((*RED, 255)) * width) * height if width > 0 else b""
    return png(size, depth=8, colour=6, rows=rows, interlace=1)


def with_exif(kind: str = "JPEG", orientation: int = 6) -> bytes:
    """Picture of 32x16, left red and right blue, with orientation, maker and position in EXIF."""
    image = Image.new("RGB", (32, 16), BLUE)
    image.paste(RED, (0, 0, 16, 16))
    return encode(image, kind, {"exif": exif(orientation)})


def exif(orientation: int) -> bytes:
    """EXIF with an orientation, a maker and a position."""
    block = Image.Exif()
    block[_ORIENTATION] = orientation
    block[_MAKER] = SECRET.decode()
    block[_GPS_IFD] = {1: "N", 2: (52.0, 31.0, 12.0)}
    return block.tobytes()


def with_broken_exif(kind: str, damage: Callable[[bytes], bytes]) -> bytes:
    """Picture of 8x8, good in itself, whose EXIF went through `damage`."""
    image = Image.new("RGB", (8, 8), RED)
    return encode(image, kind, {"exif": damage(exif(6))})


def with_text() -> bytes:
    """PNG with text, compressed text and a colour profile."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", SECRET.decode())
    text.add_text("Comment", SECRET.decode(), zip=True)
    options = {"pnginfo": text, "icc_profile": SECRET}
    return encode(checkers((8, 8), (RED, BLUE)), "PNG", options)


def animated(kind: str = "GIF", size: tuple[int, int] = (16, 16)) -> bytes:
    """Two frames, the first red, the second blue: GIF, WEBP or PNG."""
    first, second = Image.new("RGB", size, RED), Image.new("RGB", size, BLUE)
    return encode(first, kind, {"save_all": True, "append_images": [second], "duration": 100})


def polyglot() -> bytes:
    """GIF that is a ZIP archive as well, by what follows its end."""
    return encode(checkers((8, 8), (RED, BLUE)), "GIF") + b"PK\x03\x04" + SECRET


def bomb(size: tuple[int, int]) -> bytes:
    """PNG that announces any size and holds next to nothing."""
    return png(size, depth=8, colour=6, rows=b"")


def truncated(data: bytes) -> bytes:
    """Cut a file off after two thirds."""
    return data[: len(data) * 2 // 3]


def noise(size: tuple[int, int]) -> Image.Image:
    """Return a picture that no compression makes smaller; not the same on each call."""
    return Image.merge("RGB", [Image.effect_noise(size, 200) for _ in range(3)])


def png(
    size: tuple[int, int],
    *,
    depth: int,
    colour: int,
    rows: bytes,
    interlace: int = 0,
    extra: bytes = b"",
) -> bytes:
    """PNG from its parts: `rows` with their filter bytes, `extra` chunks before the data.

    Source: https://www.w3.org/TR/png-3/#11IHDR
    """
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlace)
    data = chunk(b"IDAT", zlib.compress(rows, 1))
    return SIGNATURE + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# Not one of these can be decoded.
NOT_IMAGES: Mapping[str, bytes] = {
    "nothing": b"",
    "text": b"this is no image",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
    "html": b"<!doctype html><title>404</title>",
    "png signature alone": SIGNATURE,
    "tiff": b"II*\0\x08\0\0\0" + bytes(100),
    "zeros": bytes(1000),
}
