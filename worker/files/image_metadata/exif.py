"""Read the orientation from EXIF data."""

from __future__ import annotations

import struct

_PREFIX = b"Exif\0\0"
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION = 0x0112
_INTEGERS = {3: "H", 4: "I"}  # by field type; the type should be SHORT, but LONG occurs


def read_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, or 1 if it is missing or malformed.

    Source: https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6
    """
    tiff = exif.removeprefix(_PREFIX)
    order = _BYTE_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    try:
        return _find(tiff, order)
    except struct.error:
        return 1


def _find(tiff: bytes, order: str) -> int:
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, position)
        if tag == _ORIENTATION and kind in _INTEGERS:
            value: int = struct.unpack_from(order + _INTEGERS[kind], tiff, position + 8)[0]
            return value
    return 1
