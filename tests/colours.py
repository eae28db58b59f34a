"""Colour profiles for test images, and the sRGB values that their colours must get.

The profiles are written and evaluated here, without the worker and without LittleCMS.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Colour = tuple[int, ...]
Matrix = tuple[tuple[float, float, float], ...]

# Colorants in the profile connection space (D50), from Apple's and Adobe's profiles.
_P3 = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
_ADOBE = ((0.60974, 0.20528, 0.14919), (0.31111, 0.62567, 0.06322), (0.01947, 0.06087, 0.74457))
_SRGB = ((0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410))
_FROM_D50 = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
_WHITE = (0.9642, 1.0, 0.8249)


def srgb_to_linear(value: float) -> float:
    """Return the linear value of an sRGB value, both from 0 to 1."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def linear_to_srgb(value: float) -> float:
    """Return the sRGB value of a linear value, both from 0 to 1."""
    clipped = min(max(value, 0.0), 1.0)
    return clipped * 12.92 if clipped <= 0.0031308 else 1.055 * clipped ** (1 / 2.4) - 0.055


def multiply(matrix: Matrix, vector: Sequence[float]) -> tuple[float, ...]:
    """Return a matrix times a vector."""
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def xyz_to_srgb(xyz: Sequence[float]) -> Colour:
    """Return the 8-bit sRGB colour of a colour of the profile connection space."""
    return tuple(round(255 * linear_to_srgb(value)) for value in multiply(_FROM_D50, xyz))


@dataclass(frozen=True, slots=True)
class Profile:
    """An ICC profile, and the 8-bit sRGB colour of each of its 8-bit colours."""

    data: bytes
    to_srgb: Callable[[Colour], Colour]


def _gamma(exponent: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


def _parametric() -> bytes:
    numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, numbers))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def icc(space: bytes, tags: Mapping[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """Return an ICC profile with tags (https://www.color.org/specification/ICC.1-2022-05.pdf)."""
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    texts = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)}
    table, body = b"", b""
    start = 128 + 4 + 12 * (len(tags) + 1)
    for name, value in {**texts, **tags}.items():
        table += name + struct.pack(">II", start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, kind, space, pcs)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += b"".join(map(_fixed, _WHITE))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags) + 1) + table + body


def matrix_profile(matrix: Matrix, curve: bytes, decode: Callable[[float], float]) -> Profile:
    """Return an RGB profile of three colorants and one curve."""
    columns = {
        name: _xyz(column)
        for name, column in zip(_COLORANTS, zip(*matrix, strict=True), strict=True)
    }
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    data = icc(b"RGB ", {b"wtpt": _xyz(_WHITE), **columns, **curves})
    return Profile(data, lambda c: xyz_to_srgb(multiply(matrix, [decode(v / 255) for v in c])))


_COLORANTS = (b"rXYZ", b"gXYZ", b"bXYZ")


def _grey() -> Profile:
    data = icc(b"GRAY", {b"wtpt": _xyz(_WHITE), b"kTRC": _gamma(1.0)})
    return Profile(data, lambda c: (round(255 * linear_to_srgb(c[0] / 255)),) * 3)


def _from_lab(lab: Sequence[float]) -> Colour:
    """Return the sRGB colour of a CIELAB colour (D50)."""
    y = (lab[0] + 16) / 116
    roots = (y + lab[1] / 500, y, y - lab[2] / 200)
    ratios = (f**3 if f > 6 / 29 else (f - 4 / 29) * 3 * (6 / 29) ** 2 for f in roots)
    return xyz_to_srgb([white * ratio for white, ratio in zip(_WHITE, ratios, strict=True)])


def _ink_lab(corner: Sequence[int]) -> tuple[float, float, float]:
    """Return an invented CIELAB colour of full inks (cyan, magenta, yellow, black)."""
    cyan, magenta, yellow, black = corner
    light = 100 - 35 * cyan - 42 * magenta - 6 * yellow
    green_red, blue_yellow = -32 * cyan + 65 * magenta - 4 * yellow, 80 * yellow - 42 * cyan
    return (12, 0, 0) if black else (light, green_red, blue_yellow)


def _cmyk() -> Profile:
    """Return a profile with a table of the 16 full inks; only these have exact colours."""
    corners = [[n >> shift & 1 for shift in (3, 2, 1, 0)] for n in range(16)]
    table = b"".join(
        struct.pack("3B", round(light * 2.55), round(a) + 128, round(b) + 128)
        for light, a, b in map(_ink_lab, corners)
    )
    identity = b"".join(_fixed(float(row == column)) for row in range(3) for column in range(3))
    lines = bytes(range(256))
    head = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + identity
    lut = head + lines * 4 + table + lines * 3
    data = icc(b"CMYK", {b"wtpt": _xyz(_WHITE), b"A2B0": lut}, pcs=b"Lab ")
    return Profile(data, lambda c: _from_lab(_ink_lab([round(v / 255) for v in c])))


DISPLAY_P3 = matrix_profile(_P3, _parametric(), srgb_to_linear)
ADOBE_RGB = matrix_profile(_ADOBE, _gamma(563 / 256), lambda value: value ** (563 / 256))
LINEAR_RGB = matrix_profile(_SRGB, _gamma(1.0), lambda value: value)
SRGB = matrix_profile(_SRGB, _parametric(), srgb_to_linear)
LINEAR_GREY = _grey()
CMYK = _cmyk()
