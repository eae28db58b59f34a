"""Read a CAR file as a stream, and keep its verified blocks in a private temporary file.

Only an index of 16 bytes per block stays in memory. `libipld.decode_car` cannot be used, because it
returns blocks without their bytes. Encoding a block again may give different bytes: libipld decodes
bytes that begin like a CID as a link. https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
import weakref
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import libipld

from worker.core.cid import RAW_CID_LENGTH, is_raw_cid

Block = Mapping[str, Any]
MAX_BLOCK = 2**20  # bytes of a record, a node, a commit or a header; a record has 1 MB at most
_MAX_FRAME = MAX_BLOCK + RAW_CID_LENGTH
_DIGEST = 4  # where the hash begins in a CID
_LENGTH_BITS = 21  # of the length of a frame, in a place
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1
_MORE = 0x80  # set in all bytes of a length except the last
_MAX_VARINT = 9  # bytes: https://github.com/multiformats/unsigned-varint
_BUCKETS = 256


class SortedIndex:
    """Maps 64-bit keys to 64-bit values, in 16 bytes each; a key may have several values.

    Keys must be parts of hashes. Call `sort` after the last `add`, before the first `find`.
    """

    def __init__(self) -> None:
        # A PDS can search for hashes with equal bits, but not if it does not know which count.
        self._shift = secrets.randbelow(57)
        self._keys = [array("Q") for _ in range(_BUCKETS)]
        self._values = [array("Q") for _ in range(_BUCKETS)]

    def add(self, key: int, value: int) -> None:
        bucket = (key >> self._shift) % _BUCKETS
        self._keys[bucket].append(key)
        self._values[bucket].append(value)

    def sort(self, *, unique: bool = False) -> None:
        """Sort the index; `unique` keeps only the first value of each key."""
        for number, (keys, values) in enumerate(zip(self._keys, self._values, strict=True)):
            positions = range(len(keys))
            if unique:
                firsts = dict(zip(reversed(keys), reversed(positions), strict=True))
                order = sorted(firsts.values(), key=keys.__getitem__)
            else:
                order = sorted(positions, key=keys.__getitem__)
            self._keys[number] = array("Q", map(keys.__getitem__, order))
            self._values[number] = array("Q", map(values.__getitem__, order))

    def find_first(self, key: int) -> int | None:
        """Return the value added first for a key."""
        bucket = (key >> self._shift) % _BUCKETS
        keys = self._keys[bucket]
        position = bisect_left(keys, key)
        is_found = position < len(keys) and keys[position] == key
        return self._values[bucket][position] if is_found else None

    def find(self, key: int) -> Sequence[int]:
        """Return the values of a key in the order in which they were added."""
        bucket = (key >> self._shift) % _BUCKETS
        keys, values = self._keys[bucket], self._values[bucket]
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
        index, size = SortedIndex(), 0
        with tempfile.TemporaryFile(buffering=0) as file:
            frames = _frames(_written(chunks, file))
            _, header = next(frames, (0, b""))
            root = _root(header)
            for position, frame in frames:
                _verify(frame, position)
                index.add(_key(frame), position << _LENGTH_BITS | len(frame))
                size += len(frame)
            index.sort(unique=True)
            return cls(root, size, os.dup(file.fileno()), index)

    def find(self, cid: bytes) -> int | None:
        """Return the place of a block, or None if it is missing.

        The index has 64 bits of the hash, and `load` compares all of it. Of several blocks with the
        same 64 bits, only the first is kept: they are copies, or a PDS searched for them.
        """
        return self._index.find_first(_key(cid))

    @staticmethod
    def length(place: int) -> int:
        return place & _LENGTH_MASK

    def load(self, place: int, cid: bytes) -> bytes:
        """Return the bytes of a block; raises ValueError if the block has another CID."""
        frame = os.pread(self._file, place & _LENGTH_MASK, place >> _LENGTH_BITS)
        if frame[:RAW_CID_LENGTH] != cid:
            raise ValueError("is missing")
        return frame[RAW_CID_LENGTH:]

    def contains(self, place: int, cid: bytes) -> bool:
        """Return whether the block at a place has this CID, without loading the block."""
        return os.pread(self._file, RAW_CID_LENGTH, place >> _LENGTH_BITS) == cid

    def drop_index(self) -> None:
        """Free the memory of the index; `find` must not be called again."""
        self._index = SortedIndex()


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


def _written(chunks: Iterable[bytes], file: BinaryIO) -> Iterator[bytes]:
    """Yield chunks, and write them to an unbuffered file first."""
    for chunk in chunks:
        remaining = memoryview(chunk)
        while remaining:
            remaining = remaining[file.write(remaining) :]
        yield chunk


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
    length, start, last = 0, position, position + _MAX_VARINT
    try:
        while (byte := buffer[start]) >= _MORE and start < last:
            length |= (byte & 0x7F) << 7 * (start - position)
            start += 1
    except IndexError:
        return None
    if start == last:
        raise _cut_short(offset + position)
    length |= byte << 7 * (start - position)
    if length > _MAX_FRAME:
        raise ValueError(f"a block is too large, at byte {offset + position}")
    start += 1
    return (start, start + length) if start + length <= len(buffer) else None


def _cut_short(position: int) -> ValueError:
    return ValueError(f"it is cut short, or no CAR file, at byte {position}")
