"""CAR files: the blocks of a repo one after the other, each under its CID.

`libipld.decode_car` decodes every block and keeps none of their bytes, and only the bytes can be
held against a CID: to encode a block again does not always lead back to them, since libipld takes
what begins like a CID for a link, be it a signature.
https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Mapping

import libipld

from worker.core.cid import RAW_CID_LENGTH, is_raw_cid

_MORE = 0x80  # set in every byte of a length but the last
_LONGEST_VARINT = 9  # bytes: https://github.com/multiformats/unsigned-varint


def read_car(car: bytes) -> tuple[bytes, Mapping[bytes, bytes]]:
    """Return the CID of the root and all blocks by CID, which nobody has checked yet.

    CIDs are in bytes. Raises ValueError that says what is wrong with the file.
    """
    start, end = _frame(car, 0)
    root = _root(car[start:end])
    blocks: dict[bytes, bytes] = {}
    while end < len(car):
        start, end = _frame(car, end)
        body = start + RAW_CID_LENGTH
        cid = car[start:body]
        if body > end or not is_raw_cid(cid):
            raise ValueError(f"a block has no CID, at byte {start}")
        blocks[cid] = car[body:end]
    return root, blocks


def _root(header: bytes) -> bytes:
    try:
        root = libipld.decode_dag_cbor(header)["roots"][0]
    except (ValueError, LookupError, TypeError, RecursionError):
        root = None
    if not isinstance(root, bytes):
        raise ValueError("it has no header that names a commit")  # noqa: TRY004 - bad data
    return root


def _frame(car: bytes, position: int) -> tuple[int, int]:
    """Return where the content of the frame at a position begins, and where it ends.

    Its length comes first, seven bits to a byte, the lowest bits first.
    """
    length = 0
    for index, byte in enumerate(car[position : position + _LONGEST_VARINT]):
        length |= (byte & 0x7F) << 7 * index
        if byte < _MORE:
            start = position + index + 1
            if start + length <= len(car):
                return start, start + length
            break
    raise ValueError(f"it is cut short, or no CAR file, at byte {position}")
