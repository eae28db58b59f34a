"""CAR files: the blocks of a repo one after the other, each under its CID.

`libipld.decode_car` decodes every block and keeps none of their bytes. Of most records the CID is
all that is needed, and only the bytes can be held against it.
https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

from collections.abc import Mapping

import libipld

from worker.cid import RAW_CID_LENGTH, is_raw_cid


def read_car(car: bytes) -> tuple[bytes, Mapping[bytes, bytes]]:
    """Return the CID of the root and all blocks by CID, which nobody has checked yet.

    CIDs are in bytes. Raises ValueError that says what is wrong with the file.
    """
    root, position = _header(car)
    blocks: dict[bytes, bytes] = {}
    size = len(car)
    while position < size:
        start, end = _frame(car, position)
        body = start + RAW_CID_LENGTH
        cid = car[start:body]
        if end > size or not is_raw_cid(cid) or body > end:
            raise ValueError(f"the file is cut short, or is none of a repo, at byte {position}")
        blocks[cid] = car[body:end]
        position = end
    return root, blocks


def _header(car: bytes) -> tuple[bytes, int]:
    start, end = _frame(car, 0)
    try:
        root = libipld.decode_dag_cbor(car[start:end])["roots"][0]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError("the file has no header that names a commit") from None
    if not isinstance(root, bytes):
        raise ValueError("the file has no header that names a commit")  # noqa: TRY004
    return root, end


def _frame(car: bytes, position: int) -> tuple[int, int]:
    """Return where the frame that begins here has its content, and where it ends.

    Its length comes first, seven bits to a byte, the lowest first.
    """
    length = shift = 0
    for index in range(position, min(position + _LONGEST_VARINT, len(car))):
        byte = car[index]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return index + 1, index + 1 + length
        shift += 7
    raise ValueError(...)
