"""Build ICC profiles of RGB colour spaces.

Source: https://www.color.org/specification/ICC.1-2022-05.pdf
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

Vector = Sequence[float]
Matrix = Sequence[Vector]

# Chromaticities x, y of white, red, green and blue.
BT709 = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BT2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)
_DISPLAY_P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
# By code point of https://www.itu.int/rec/T-REC-H.273. Curves of high dynamic range are left out.
# For video (1, 6, 14, 15), browsers use the exponent of displays.
_PRIMARIES = {1: BT709, 9: _BT2020, 12: _DISPLAY_P3}
_EXPONENTS = {1: 2.4, 4: 2.2, 5: 2.8, 6: 2.4, 8: 1.0, 14: 2.4, 15: 2.4}
_SRGB = 13
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_VERSION = 0x02400000
_HEADER_SIZE = 128


def srgb_profile() -> bytes:
    """Return the profile of sRGB."""
    return _profile(BT709, _curve(3, _SRGB_CURVE))


def profile_of_codes(codes: bytes) -> bytes:
    """Return the profile of the four code points of cICP, or b"" if they are not supported."""
    primaries, transfer, matrix, is_full_range = codes
    if primaries not in _PRIMARIES or matrix or not is_full_range:
        return b""
    if transfer == _SRGB:
        return _profile(_PRIMARIES[primaries], _curve(3, _SRGB_CURVE))
    if transfer in _EXPONENTS:
        return profile_of_gamma(_PRIMARIES[primaries], _EXPONENTS[transfer])
    return b""


def profile_of_gamma(chromaticities: Vector, exponent: float) -> bytes:
    """Return the profile of a colour space whose linear values are `value ** exponent`.

    Returns b"" for impossible chromaticities.
    """
    try:
        return _profile(chromaticities, _curve(0, (exponent,)))
    except (ZeroDivisionError, struct.error):
        return b""


def _curve(kind: int, numbers: Vector) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _fixed(numbers)


def _fixed(numbers: Vector) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def _profile(chromaticities: Vector, curve: bytes) -> bytes:
    columns = zip(*_to_d50(chromaticities), strict=True)
    tags = {b"wtpt": b"XYZ " + bytes(4) + _fixed(_D50)}
    for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True):
        tags[name] = b"XYZ " + bytes(4) + _fixed(column)
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, values = struct.pack(">I", len(tags)), b""
    start = _HEADER_SIZE + len(table) + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", start + len(values), len(value))
        values += value
    head = struct.pack(">I4xI", start + len(values), _VERSION) + b"mntrRGB XYZ "
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + _fixed(_D50)
    return head.ljust(_HEADER_SIZE, b"\0") + table + values


def _to_d50(chromaticities: Vector) -> Matrix:
    """Return the matrix from linear RGB to XYZ with the white point D50.

    Source: http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html
    """
    white, *colours = (
        (x / y, 1.0, (1 - x - y) / y)
        for x, y in zip(chromaticities[::2], chromaticities[1::2], strict=True)
    )
    primaries = tuple(zip(*colours, strict=True))
    scale = _apply(_inverse(primaries), white)
    to_xyz = [
        [value * factor for value, factor in zip(row, scale, strict=True)] for row in primaries
    ]
    cones = zip(_apply(_BRADFORD, _D50), _apply(_BRADFORD, white), strict=True)
    gains = [after / before for after, before in cones]
    adapted = [[gain * value for value in row] for gain, row in zip(gains, _BRADFORD, strict=True)]
    return _multiply(_inverse(_BRADFORD), _multiply(adapted, to_xyz))


def _apply(matrix: Matrix, vector: Vector) -> Vector:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def _multiply(left: Matrix, right: Matrix) -> Matrix:
    columns = [_apply(left, column) for column in zip(*right, strict=True)]
    return list(zip(*columns, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    """Return the inverse of a matrix; raises ZeroDivisionError if it has none."""
    rows = [
        _cross(matrix[1], matrix[2]),
        _cross(matrix[2], matrix[0]),
        _cross(matrix[0], matrix[1]),
    ]
    determinant = sum(a * b for a, b in zip(matrix[0], rows[0], strict=True))
    return [[row[n] / determinant for row in rows] for n in range(3)]


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
