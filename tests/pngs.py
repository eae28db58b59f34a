"""PNG files of every colour type, with every ancillary chunk, whole and damaged.

Source: https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests import colours
from tests.pictures import SIGNATURE, chunk

SIDE = 4
_GREY, _RGB, INDEXED, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
WITH_ALPHA = frozenset({_GREY_ALPHA, _RGBA})
_BANDS = {_GREY: 1, _RGB: 3, INDEXED: 1, _GREY_ALPHA: 2, _RGBA: 4}
_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    INDEXED: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}
Pixel = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """A colour type and bit depth, with a picture of 4 x 4 pixels."""

    colour: int
    depth: int

    @property
    def samples(self) -> Sequence[tuple[int, ...]]:
        """Return the values of each pixel; every fifth is transparent, if there is alpha."""
        top = (1 << min(self.depth, 8)) - 1
        values = [
            [(7 * n + 5 * band + 2) % (top + 1) for band in range(_BANDS[self.colour])]
            for n in range(SIDE * SIDE)
        ]
        if self.colour in WITH_ALPHA:
            values = [[*value[:-1], top * (n % 5 > 0)] for n, value in enumerate(values)]
        scale = 257 if self.depth == 16 else 1
        return [tuple(v * scale for v in value) for value in values]

    @property
    def palette(self) -> Sequence[Pixel]:
        """Return as many colours as the depth allows."""
        return [(n % 251, (n * 31) % 253, 255 - n) for n in range(1 << self.depth)]

    def pixels(self, transparent: tuple[int, ...] | None = None) -> Sequence[Pixel]:
        """Return the 8-bit colour of each pixel; black where it is transparent."""
        return [
            (0, 0, 0) if samples == transparent else self._pixel(samples)
            for samples in self.samples
        ]

    def _pixel(self, samples: tuple[int, ...]) -> Pixel:
        if self.colour == INDEXED:
            return self.palette[samples[0]]
        top = (1 << self.depth) - 1
        values = [value * 255 // top for value in samples]
        if self.colour in WITH_ALPHA and values.pop() == 0:
            return 0, 0, 0
        red, green, blue = values * 3 if len(values) == 1 else values
        return red, green, blue

    @property
    def transparency(self) -> bytes:
        """Return a tRNS chunk's data that makes the second pixel's colour transparent."""
        samples = self.samples[1]
        if self.colour == INDEXED:
            return b"\xff" * samples[0] + b"\0"
        return struct.pack(f">{len(samples)}H", *samples)

    def build(self, extra: Mapping[str, Sequence[bytes]]) -> bytes:
        """Return the PNG, with chunks after `IHDR`, `PLTE` and `IDAT`."""
        header = struct.pack(">IIBBBBB", SIDE, SIDE, self.depth, self.colour, 0, 0, 0)
        data = zlib.compress(b"".join(b"\0" + row for row in self._rows()))
        chunks = [chunk(b"IHDR", header), *extra.get("IHDR", ())]
        if self.colour == INDEXED:
            chunks.append(chunk(b"PLTE", b"".join(map(bytes, self.palette))))
        middle = len(data) // 2
        chunks += [*extra.get("PLTE", ()), chunk(b"IDAT", data[:middle])]
        chunks += [chunk(b"IDAT", data[middle:]), *extra.get("IDAT", ()), chunk(b"IEND", b"")]
        return SIGNATURE + b"".join(chunks)

    def _rows(self) -> Iterator[bytes]:
        for start in range(0, SIDE * SIDE, SIDE):
            number = 0
            row = [value for pixel in self.samples[start : start + SIDE] for value in pixel]
            for value in row:
                number = number << self.depth | value
            bits = len(row) * self.depth
            yield (number << -bits % 8).to_bytes(-(-bits // 8), "big")


KINDS = [Kind(colour, depth) for colour, depths in _DEPTHS.items() for depth in depths]

_BOMB = zlib.compress(bytes(3 << 20))
# Pillow uses texts with these names in place of other chunks.
_TEXTS = ("xmp", "exif", "transparency", "XML:com.adobe.xmp", "icc_profile", "Comment")
CHUNKS: Mapping[str, tuple[bytes, bytes]] = {
    "cHRM": (b"cHRM", struct.pack(">8I", *(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))),
    "gAMA": (b"gAMA", struct.pack(">I", 45455)),
    "iCCP": (b"iCCP", b"sRGB\0\0" + zlib.compress(colours.SRGB.data)),
    "iCCP of nonsense": (b"iCCP", b"name\0\0" + zlib.compress(b"no profile" * 40)),
    "iCCP that inflates to 3 MiB": (b"iCCP", b"name\0\0" + _BOMB),
    "iCCP without NUL": (b"iCCP", b"name"),
    "sBIT": (b"sBIT", b"\1"),
    "sRGB": (b"sRGB", b"\0"),
    "cICP": (b"cICP", bytes((1, 13, 0, 1))),
    "mDCV": (b"mDCV", bytes(24)),
    "cLLI": (b"cLLI", bytes(8)),
    **{f"tEXt {name}": (b"tEXt", name.encode() + b"\0text") for name in _TEXTS},
    **{f"zTXt {name}": (b"zTXt", name.encode() + b"\0\0" + _BOMB) for name in _TEXTS[:3]},
    **{f"iTXt {name}": (b"iTXt", name.encode() + b"\0\0\0\0\0text") for name in _TEXTS[:4]},
    "iTXt that inflates": (b"iTXt", b"xmp\0\1\0\0\0" + _BOMB),
    "bKGD": (b"bKGD", bytes(6)),
    "hIST": (b"hIST", bytes(8)),
    "pHYs": (b"pHYs", struct.pack(">IIB", 1, 1, 1)),
    "sPLT": (b"sPLT", b"name\0\x08" + bytes(6)),
    "eXIf": (b"eXIf", b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x0112, 3, 1, 1, 0)),
    "tIME": (b"tIME", bytes((7, 208, 1, 1, 0, 0, 0))),
    "acTL": (b"acTL", struct.pack(">II", 2, 0)),
    "fcTL": (b"fcTL", struct.pack(">5IHHBB", 0, SIDE, SIDE, 0, 0, 1, 1, 0, 0)),
    "fdAT": (b"fdAT", struct.pack(">I", 1) + zlib.compress(bytes(20))),
    "unknown": (b"prVt", b"private"),
}
"""Every ancillary chunk that changes no pixel, except tRNS: its name and data."""


def wrong_checksum(name: bytes, data: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return chunk(name, data)[:-4] + b"\0\0\0\0"


DAMAGES: Mapping[str, Callable[[bytes, bytes], Mapping[str, Sequence[bytes]]]] = {
    "whole": lambda name, data: {"PLTE": [chunk(name, data)]},
    "empty": lambda name, data: {"PLTE": [chunk(name, b"")]},
    "short": lambda name, data: {"PLTE": [chunk(name, data[: len(data) // 2])]},
    "one byte": lambda name, data: {"PLTE": [chunk(name, data[:1])]},
    "long": lambda name, data: {"PLTE": [chunk(name, data + b"\xff" * 10)]},
    "very long": lambda name, data: {"PLTE": [chunk(name, data + b"\xff" * 100_000)]},
    "duplicated": lambda name, data: {"PLTE": [chunk(name, data)] * 2},
    "before the palette": lambda name, data: {"IHDR": [chunk(name, data)]},
    "after the pixels": lambda name, data: {"IDAT": [chunk(name, data)]},
    "everywhere": lambda name, data: {
        place: [chunk(name, data)] for place in ("IHDR", "PLTE", "IDAT")
    },
    "wrong checksum": lambda name, data: {"PLTE": [wrong_checksum(name, data)]},
}
