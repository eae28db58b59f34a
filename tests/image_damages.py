"""JPEG, GIF and WebP files with malformed metadata, and the picture that they must show."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from PIL import Image

from tests import colours, pictures
from tests.pictures import encode

_LONG = b"x" * 60_000
_SIZE = (32, 16)


def two_halves(mode: str = "RGB") -> Image.Image:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", _SIZE, pictures.BLUE)
    image.paste(pictures.RED, (0, 0, _SIZE[0] // 2, _SIZE[1]))
    return image.convert(mode)


def segment(marker: int, body: bytes, length: int | None = None) -> bytes:
    """Return a segment of a JPEG, also one with a wrong length."""
    size = len(body) + 2 if length is None else length
    return struct.pack(">BBH", 0xFF, marker, size) + body


def _profile_parts(profile: bytes, count: int) -> list[bytes]:
    """Return the ICC segments of a profile that is split into parts."""
    size = -(-len(profile) // count)
    parts = [profile[n * size : (n + 1) * size] for n in range(count)]
    return [icc_segment(n + 1, count, part) for n, part in enumerate(parts)]


def icc_segment(number: int, count: int, part: bytes) -> bytes:
    """Return one ICC segment."""
    return segment(0xE2, b"ICC_PROFILE\0" + bytes((number, count)) + part)


_JFIF = b"JFIF\0\1\1\0\0\1\0\1\0\0"
_ADOBE = b"Adobe\0d\0\0\0\0\1"
_LINEAR = _profile_parts(colours.LINEAR_RGB.data, 3)
_NAMES = {
    "JFIF": (0xE0, b"JFIF\0"),
    "JFXX": (0xE0, b"JFXX\0"),
    "Exif": (0xE1, b"Exif\0\0"),
    "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0"),
    "ICC": (0xE2, b"ICC_PROFILE\0"),
    "MPF": (0xE2, b"MPF\0"),
    "FPXR": (0xE2, b"FPXR\0"),
    "Photoshop": (0xED, b"Photoshop 3.0\x00"),
    "Adobe": (0xEE, b"Adobe"),
    "comment": (0xFE, b""),
}
_BODIES = {
    "empty": b"",
    "one byte": b"\1",
    "zeros": bytes(9),
    "8BIM": b"8BIM\4\4\0\0\xff\xff\xff\xff",
}
_SEGMENTS: Mapping[str, bytes] = {
    **{
        f"{name} {how}": segment(marker, start + body)
        for how, body in _BODIES.items()
        for name, (marker, start) in _NAMES.items()
    },
    **{f"APP{n} empty": segment(0xE0 + n, b"") for n in range(16)},
    **{f"APP{n} without a length": segment(0xE0 + n, b"", 0) for n in range(16)},
    **{f"{name} cut": segment(marker, start[:3]) for name, (marker, start) in _NAMES.items()},
    "very long segments": segment(0xE5, _LONG) * 20,
    "JFIF repeated": segment(0xE0, _JFIF) * 3,
    "JFIF long": segment(0xE0, _JFIF[:-2] + b"\xff\xff" + _LONG),
    "Adobe repeated": segment(0xEE, _ADOBE[:5] + bytes(7)) + segment(0xEE, _ADOBE),
    "ICC without its second part": _LINEAR[0] + _LINEAR[2],
    "ICC with a part twice": b"".join(_LINEAR) + _LINEAR[1],
    "ICC with a part of number zero": icc_segment(0, 1, colours.LINEAR_RGB.data),
    "ICC with two counts": _LINEAR[0] + _LINEAR[1] + icc_segment(3, 4, b""),
    "ICC of nonsense": icc_segment(1, 1, b"no profile" * 50),
    "ICC cut": icc_segment(1, 1, colours.LINEAR_RGB.data[:150]),
    "ICC of greys": icc_segment(1, 1, colours.LINEAR_GREY.data),
    "ICC of inks": icc_segment(1, 1, colours.CMYK.data),
    "fill bytes": b"\xff" * 1000,
    "other data between segments": b"junk\0\xff\0junk",
}


def _jpegs() -> Mapping[str, bytes]:
    data = encode(two_halves(), "JPEG", {"quality": 95, "subsampling": 0})
    return {name: data[:2] + extra + data[2:] for name, extra in _SEGMENTS.items()}


def _gif_extension(label: int, *blocks: bytes) -> bytes:
    parts = (bytes((len(block),)) + block for block in blocks)
    return b"!" + bytes((label,)) + b"".join(parts) + b"\0"


_EXTENSIONS: Mapping[str, bytes] = {
    "empty comment": _gif_extension(0xFE),
    "long comment": _gif_extension(0xFE, *[b"x" * 255] * 400),
    "empty application": _gif_extension(0xFF),
    "short application": _gif_extension(0xFF, b"NETSCAPE"),
    "looping without a count": _gif_extension(0xFF, b"NETSCAPE2.0"),
    "looping cut": _gif_extension(0xFF, b"NETSCAPE2.0", b"\1"),
    "profile": _gif_extension(0xFF, b"ICCRGBG1012", colours.LINEAR_RGB.data[:200]),
    "short text": _gif_extension(0x01, b"x"),
    "unknown": _gif_extension(0x42, b"x"),
    **{f"control of {n} bytes": _gif_extension(0xF9, bytes(n)) for n in (0, 1, 2, 3, 5, 9)},
    "control repeated": _gif_extension(0xF9, b"\1\0\0\0") + _gif_extension(0xF9, bytes(4)),
}


def _gifs() -> Mapping[str, bytes]:
    data = encode(two_halves(), "GIF")
    start = data.index(b",", 13 + (3 << (data[10] & 7) + 1))
    damaged = {name: data[:start] + extra + data[start:] for name, extra in _EXTENSIONS.items()}
    return {**damaged, "no trailer": data[:-1], "after the trailer": data + _LONG}


def riff(*chunks: bytes) -> bytes:
    """Return a WebP of chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def riff_chunk(name: bytes, body: bytes) -> bytes:
    """Return a chunk of a WebP."""
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _webps() -> Mapping[str, bytes]:
    plain = encode(two_halves(), "WEBP", {"lossless": True})
    picture = plain[12:]
    flags = riff_chunk(
        b"VP8X",
        bytes((0x2C, 0, 0, 0))
        + struct.pack("<I", _SIZE[0] - 1)[:3]
        + struct.pack("<I", _SIZE[1] - 1)[:3],
    )
    files = {
        f"{name.decode().strip()} {how}": riff(flags, riff_chunk(name, body), picture)
        for name in (b"ICCP", b"EXIF", b"XMP ", b"junk")
        for how, body in {"empty": b"", "one byte": b"\1", "nonsense": b"nonsense" * 30}.items()
    }
    exif = riff_chunk(b"EXIF", b"II*\0\xff\xff\xff\xff")
    return {
        **files,
        "EXIF cut": riff(flags, picture, exif[:-3]),
        "EXIF without padding": riff(flags, picture, riff_chunk(b"EXIF", b"odd")[:-1]),
        "EXIF after the end": riff(flags, picture) + exif,
        "very long chunks": riff(flags, picture, riff_chunk(b"XMP ", _LONG) * 20),
        "profile repeated": riff(flags, riff_chunk(b"ICCP", b"x") * 2, picture),
        "a size that is too large": b"RIFF\xff\xff\0\0" + plain[8:],
        "after the picture": riff(picture, riff_chunk(b"ICCP", b""), riff_chunk(b"EXIF", b"")),
    }


DAMAGED: Mapping[str, bytes] = {
    f"{kind}: {name}": data
    for kind, files in (("JPEG", _jpegs()), ("GIF", _gifs()), ("WebP", _webps()))
    for name, data in files.items()
}
"""All of these show `two_halves`."""
