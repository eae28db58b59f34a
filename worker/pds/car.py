"""Read a CAR file as a stream, and keep its verified blocks in a private temporary file.

Only an index of 16 bytes per block stays in memory. `libipld.decode_car` cannot be used, because it
returns blocks without their bytes. Encoding a block again may give different bytes: libipld decodes
bytes that begin like a CID as a link. https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import libipld

from worker.core.cid import RAW_CID_LENGTH, is_raw_cid

Block = Mapping[str, Any]
MAX_BLOCK = 2**20  # bytes of a record, a node, a commit or a header; a record has 1 MB at most
_MAX_FRAME = MAX_BLOCK + RAW_CID_LENGTH
_DIGEST = 4  # where the hash begins in a CID
_LENGTH_BITS = 21  # of the length of a frame, in a place
_MORE = 0x80  # set in all bytes of a length except the last
_MAX_VARINT = 9  # bytes: https://github.com/multiformats/unsigned-varint
_BUCKETS = 256


class SortedIndex:
    """Maps 64-bit keys to 64-bit values, in 16 bytes each; a key may have several values.

    Evenly distributed keys are required. Call `sort` after the last `add`, before the first `find`.
    """

    def __init__(self) -> None:
        self._keys = [array("Q") for _ in range(_BUCKETS)]
        self._values = [array("Q") for _ in range(_BUCKETS)]

    def add(self, key: int, value: int) -> None:
        bucket = key % _BUCKETS
        self._keys[bucket].append(key)
        self._values[bucket].append(value)

    def sort(self) -> None:
        for number, pairs in enumerate(zip(self._keys, self._values, strict=True)):
            ordered = sorted(zip(*pairs, strict=True))
            self._keys[number] = array("Q", [key for key, _ in ordered])
            self._values[number] = array("Q", [value for _, value in ordered])

    def find(self, key: int) -> Sequence[int]:
        """Return the values of a key, lowest first."""
        keys, values = self._keys[key % _BUCKETS], self._values[key % _BUCKETS]
        start = bisect_left(keys, key)
        return values[start : bisect_right(keys, key, start)]


class CarBlocks:
    """The blocks of a CAR file with the CID `root` in its header; they have `size` bytes in total.

    Each block matches its CID. A block is identified by its `place` in the temporary file, which
    has no name and is deleted with this object.
    """

    def __init__(self, root: bytes, size: int, file: int, index: SortedIndex) -> None:
        self.root = root
        self.size = size
        self._file = file
        self._index = index
        weakref.finalize(self, os.close, file)

    @classmethod
    def read(cls, chunks: Iterable[bytes]) -> CarBlocks:
        """Read a CAR file; raises ValueError if it is malformed or a block does not match."""
        frames, index = _frames(chunks), SortedIndex()
        _, header = next(frames, (0, b""))
        root, offset = _root(header), 0
        with tempfile.TemporaryFile() as file:
            for position, frame in frames:
                _verify(frame, position)
                file.write(frame)
                index.add(_key(frame), offset << _LENGTH_BITS | len(frame))
                offset += len(frame)
            file.flush()
            index.sort()
            return cls(root, offset, os.dup(file.fileno()), index)

    def find(self, cid: bytes) -> int | None:
        """Return the place of a block, or None if it is missing.

        The index has 64 bits of the hash. The CID of a place may differ only if the file lacks the
        block, and `load` compares it.
        """
        if not is_raw_cid(cid):
            return None
        places = self._index.find(_key(cid))
        if len(places) > 1:
            places = [place for place in places if self._read(place)[0] == cid]
        return places[0] if places else None

    @staticmethod
    def length(place: int) -> int:
        return place & (1 << _LENGTH_BITS) - 1

    def load(self, place: int, cid: bytes) -> bytes:
        """Return the bytes of a block; raises ValueError if the block has another CID."""
        found, block = self._read(place)
        if found != cid:
            raise ValueError("is missing")
        return block

    def _read(self, place: int) -> tuple[bytes, bytes]:
        frame = os.pread(self._file, self.length(place), place >> _LENGTH_BITS)
        return frame[:RAW_CID_LENGTH], frame[RAW_CID_LENGTH:]


def decode_block(block: bytes) -> Block:
    """Decode an object in DAG-CBOR; raises ValueError."""
    if len(block) > MAX_BLOCK:
        raise ValueError("is too large")
    try:
        value = libipld.decode_dag_cbor(block)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("is not an object")  # noqa: TRY004 - bad data
    return value


def _key(cid: bytes) -> int:
    return int.from_bytes(cid[_DIGEST : _DIGEST + 8])


def _verify(frame: bytes, position: int) -> None:
    cid = frame[:RAW_CID_LENGTH]
    if not is_raw_cid(cid):
        raise ValueError(f"a block has no CID, at byte {position}")
    if hashlib.sha256(frame[RAW_CID_LENGTH:]).digest() != cid[_DIGEST:]:
        raise ValueError(f"a block does not match its CID, at byte {position}")


def _root(header: bytes) -> bytes:
    try:
        root = decode_block(header)["roots"][0]
    except (ValueError, LookupError, TypeError):
        root = None
    if not isinstance(root, bytes):
        raise ValueError("it has no header that names a commit")  # noqa: TRY004 - bad data
    return root


def _frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the position in the file and the content of each frame; raises ValueError."""
    buffer, position, offset = b"", 0, 0
    for chunk in chunks:
        offset += position
        buffer, position = buffer[position:] + chunk, 0
        while (found := _frame(buffer, position, offset)) is not None:
            start, position = found
            yield offset + start, buffer[start:position]
    if offset + position == 0 or position < len(buffer):
        raise _cut_short(offset + position)


def _frame(buffer: bytes, position: int, offset: int) -> tuple[int, int] | None:
    """Return the start and end of the content of the frame at `position`; None if incomplete.

    A frame begins with its length, as an unsigned varint. Raises ValueError.
    """
    length = 0
    for index, byte in enumerate(buffer[position : position + _MAX_VARINT]):
        length |= (byte & 0x7F) << 7 * index
        if byte < _MORE:
            if length > _MAX_FRAME:
                raise ValueError(f"a block is too large, at byte {offset + position}")
            start = position + index + 1
            return (start, start + length) if start + length <= len(buffer) else None
    if len(buffer) - position >= _MAX_VARINT:
        raise _cut_short(offset + position)
    return None


def _cut_short(position: int) -> ValueError:
    return ValueError(f"it is cut short, or no CAR file, at byte {position}")
