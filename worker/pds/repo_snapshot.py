"""Read a whole repo at one commit, as a stream in bounded memory.

A repo is a Merkle search tree of blocks. `CarBlocks` keeps the verified blocks in a temporary file;
a snapshot keeps the keys of the records and the places of their blocks in memory, about 60 bytes
per record. A decoded block needs up to 72 times its size in memory. Blocks are therefore limited in
size, and records are loaded and decoded one at a time. https://atproto.com/specs/repository
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from worker.core.cid import RAW_CID_LENGTH, is_raw_cid, json_form, spell_cid
from worker.core.errors import TransientError
from worker.core.record_keys import is_rkey
from worker.core.records import document_ref
from worker.pds.car import Block, CarBlocks, SortedIndex, decode_block

_REPO_VERSION = 3
_MAX_DEPTH = 128  # layers; the hash of a key has 128 pairs of bits
_MAX_KEY = 1024  # bytes of a collection and a record key
_MAX_RECORDS = 2_000_000
_MAX_COLLECTIONS = 10_000  # each needs 700 bytes in memory
_MAX_KEY_BYTES = 64_000_000  # of all record keys, and of all `ref`s
_MAX_REPEATED = 16_000_000  # bytes of records that several keys name
_HASH_MASK = 2**64 - 1
# An entry of a node: the number of bytes that its key shares with the key before, the rest of the
# key, the CID of the record, and the subtree to the right.
_Entry = tuple[int, bytes, bytes, bytes | None]


class RepoDamagedError(TransientError):
    """The repo sent by the PDS is incomplete, or does not match its hashes."""

    step, code = "read", "repo_damaged"


class TemporaryStorageError(TransientError):
    """The temporary directory cannot store a repo: it is full, for example."""

    step, code = "read", "temporary_storage"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record in a repo. `raw_cid` is its CID as bytes, for fast comparisons.

    `ref` is the `_id` of its document, or None, and `content` the record in DAG-CBOR.
    """

    rkey: str
    raw_cid: bytes
    ref: str | None
    content: bytes = field(repr=False)

    @property
    def cid(self) -> str:
        return spell_cid(self.raw_cid)

    @property
    def value(self) -> Mapping[str, object]:
        """Return the record in JSON form; raises RepoDamagedError if it is nested too deeply."""
        try:
            return {name: json_form(part) for name, part in decode_block(self.content).items()}
        except RecursionError:
            raise _nested_error(self.rkey) from None

    @property
    def blobs(self) -> tuple[str, ...]:
        """Return the CIDs of the record's blobs; raises RepoDamagedError as `value` does."""
        try:
            return tuple(dict.fromkeys(_blobs(decode_block(self.content))))
        except RecursionError:
            raise _nested_error(self.rkey) from None


class CollectionRecords(Mapping[str, StoredRecord]):
    """The records of one collection by rkey, lowest first; each access loads a record.

    Access raises RepoDamagedError if the record is missing or malformed.
    """

    def __init__(self, did: str, collection: str, blocks: CarBlocks) -> None:
        self._did = did
        self._collection = collection
        self._blocks = blocks
        self._rkeys = bytearray()  # all, without separators
        self._ends = array("I")
        self._places = array("Q")  # of the blocks; 0 if missing
        self._cids = bytearray()  # all, without separators

    def add(self, rkey: bytes, cid: bytes, place: int) -> None:
        """Add a record with a key higher than those before; `place` is 0 if it is missing."""
        self._rkeys += rkey
        self._ends.append(len(self._rkeys))
        self._places.append(place)
        self._cids += cid if place else bytes(RAW_CID_LENGTH)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        return map(self.rkey, range(len(self)))

    def __getitem__(self, rkey: str) -> StoredRecord:
        position = self.position(rkey)
        if position is None:
            raise KeyError(rkey)
        return self.at(position)

    def __contains__(self, rkey: object) -> bool:
        return isinstance(rkey, str) and self.position(rkey) is not None

    def position(self, rkey: str, near: int = 0) -> int | None:
        """Return the position of a record in the order of keys, or None.

        The search is fast at and after the position `near`.
        """
        key, count = bytearray(rkey, "ascii", "replace"), len(self._ends)
        low, step = near, 1
        if near >= count or self._key(near) > key:
            low, high = 0, near
        else:
            while (high := low + step) < count and self._key(high) <= key:
                low, step = high, step * 2
        position = bisect_left(range(count), key, low, min(high, count), key=self._key)
        return position if position < count and self._key(position) == key else None

    def check(self) -> None:
        """Raise RepoDamagedError if a record is missing."""
        if 0 in self._places:
            self.at(self._places.index(0))

    def at(self, position: int) -> StoredRecord:
        """Load the record at a position in the order of keys; raises RepoDamagedError."""
        cid, content, ref = self._load(position)
        return StoredRecord(self.rkey(position), cid, ref, content)

    def cid(self, position: int) -> str:
        """Return the CID of the record at a position, without decoding it.

        Raises RepoDamagedError.
        """
        cid, place = self._cid(position), self._places[position]
        if not place or not self._blocks.contains(place, cid):
            raise self.damaged_error(position, "is missing")
        return spell_cid(cid)

    def ref(self, position: int) -> str | None:
        """Load only the `ref` of the record at a position; raises RepoDamagedError."""
        return self._load(position)[2]

    def _load(self, position: int) -> tuple[bytes, bytes, str | None]:
        """Return the CID of a record, the record in DAG-CBOR, and its `ref`."""
        cid = self._cid(position)
        try:
            if not (place := self._places[position]):
                raise ValueError("is missing")  # noqa: TRY301 - as of another CID
            content = self._blocks.load(place, cid)
            return cid, content, document_ref(decode_block(content))
        except ValueError as error:
            raise self.damaged_error(position, str(error)) from None

    def _cid(self, position: int) -> bytes:
        start = RAW_CID_LENGTH * position
        return bytes(self._cids[start : start + RAW_CID_LENGTH])

    def rkey(self, position: int) -> str:
        return self._key(position).decode()

    def _key(self, position: int) -> bytearray:
        start = self._ends[position - 1] if position else 0
        return self._rkeys[start : self._ends[position]]

    def damaged_error(self, position: int, fault: str) -> RepoDamagedError:
        return _damaged_error(self._did, f"record {self._collection}/{self.rkey(position)} {fault}")


class RecordsByRef:
    """The records of one collection by the `_id` of their documents; raises RepoDamagedError.

    Records of the same document are sorted by rkey: with TIDs, the oldest comes first. Records that
    name no document are omitted, and those with a flag in `omitted`. Each other record is loaded
    once for its `ref`, which stays in memory.
    """

    def __init__(self, records: CollectionRecords, omitted: Sequence[int] = ()) -> None:
        self._records = records
        self._refs = bytearray()  # all, without separators
        self._ends = array("I")
        self._index = SortedIndex()
        for position in range(len(records)):
            is_omitted = omitted and omitted[position]
            if not is_omitted and (ref := records.ref(position)) is not None:
                self._index.add(_hash(ref), position)
                self._refs += ref.encode()
            self._ends.append(len(self._refs))
            if len(self._refs) > _MAX_KEY_BYTES:
                raise records.damaged_error(position, "exceeds the total length of `ref`s")
        self._index.sort()

    def __iter__(self) -> Iterator[str]:
        """Yield each `_id` once."""
        for position in range(len(self._records)):
            ref = self._ref(position)
            first = self._index.find_first(_hash(ref))
            if first is None:
                continue
            if self._ref(first) != ref:  # which has the same hash
                first = next(self._find(ref))
            if first == position:
                yield ref

    def positions(self, ref: str) -> list[int]:
        """Return the positions of a document's records."""
        return list(self._find(ref))

    def choose(self, ref: str, rkey: str | None) -> StoredRecord | None:
        """Return the record of a document at `rkey`, or else its first one; None if it has none.

        A document may have any number of records: only two are loaded.
        """
        preferred = self._records.get(rkey) if rkey else None
        if preferred and preferred.ref == ref:
            return preferred
        position = next(self._find(ref), None)
        return None if position is None else self._records.at(position)

    def _find(self, ref: str) -> Iterator[int]:
        positions = self._index.find(_hash(ref))
        return (position for position in positions if self._ref(position) == ref)

    def _ref(self, position: int) -> str:
        """Return the `ref` of a record; "" if it has none."""
        start = self._ends[position - 1] if position else 0
        return self._refs[start : self._ends[position]].decode()


def _hash(ref: str) -> int:
    return hash(ref) & _HASH_MASK


@dataclass(frozen=True, slots=True)
class RepoSnapshot:
    """The records in all collections of a repo, at one commit."""

    did: str
    commit: str
    _collections: Mapping[str, CollectionRecords] = field(repr=False)
    _blocks: CarBlocks = field(repr=False)

    @classmethod
    def read(cls, did: str, chunks: Iterable[bytes]) -> RepoSnapshot:
        """Read the repo of `did` from a CAR file.

        Raises RepoDamagedError and TemporaryStorageError.
        """
        try:
            blocks = CarBlocks.read(chunks)
        except ValueError as error:
            raise _damaged_error(did, str(error)) from error
        except OSError as error:
            raise _storage_error(did, error) from error
        tree = _Tree(did, blocks)
        commit = tree.block(blocks.root, "its commit")
        if commit.get("did") != did or commit.get("version") != _REPO_VERSION:
            raise _damaged_error(did, "its commit is another repo's, or of an unknown version")
        tree.walk(commit.get("data"), _MAX_DEPTH)
        blocks.drop_index()
        return cls(did, spell_cid(blocks.root), tree.collections, blocks)

    @property
    def counts(self) -> Mapping[str, int]:
        return {collection: len(records) for collection, records in self._collections.items()}

    def records(self, collection: str) -> CollectionRecords:
        """Return a collection's records by rkey, lowest first."""
        none = CollectionRecords(self.did, collection, self._blocks)
        return self._collections.get(collection, none)

    def by_ref(self, collection: str) -> RecordsByRef:
        """Group a collection's records by the `_id` of their documents."""
        return RecordsByRef(self.records(collection))


class _Tree:
    """Reads a Merkle search tree: https://atproto.com/specs/repository#mst-structure."""

    def __init__(self, did: str, blocks: CarBlocks) -> None:
        self._did = did
        self._blocks = blocks
        self._last = b""
        self._block_bytes = 0
        self._records = 0
        self._key_bytes = 0
        self._bytes = 0
        self._prefix = b""  # of the keys in the current collection
        self._current = CollectionRecords(did, "", blocks)
        self.collections: dict[str, CollectionRecords] = {}

    def block(self, cid: bytes, what: str) -> Block:
        """Load and decode a block; `what` describes it in a RepoDamagedError."""
        place = self._blocks.find(cid)
        if place is None:
            raise _damaged_error(self._did, f"{what} is missing")
        self._block_bytes += self._blocks.length(place)
        try:
            return decode_block(self._blocks.load(place, cid))
        except ValueError as error:
            raise _damaged_error(self._did, f"{what} {error}") from None

    def walk(self, cid: object, depth: int) -> None:
        """Add the keys below a node to `collections`, at most `depth` layers deep.

        Raises RepoDamagedError if they do not ascend, or if the nodes read are larger than the
        file, so that a malicious tree is not endless.
        """
        if depth == 0 or not isinstance(cid, bytes):
            raise self._no_tree_error()
        left, entries = self._node(cid)
        key = b""
        if left is not None:
            self.walk(left, depth - 1)
        for prefix, suffix, value, right in entries:
            key = key[:prefix] + suffix
            self._add(key, value)
            if right is not None:
                self.walk(right, depth - 1)

    def _node(self, cid: bytes) -> tuple[object, Sequence[_Entry]]:
        """Return the left subtree and the entries of a node; drop all other fields of the node."""
        node = self.block(cid, "a node of its tree")
        if self._block_bytes > self._blocks.size:
            raise self._no_tree_error()
        try:
            return node["l"], [_parse_entry(entry) for entry in node["e"]]
        except (LookupError, TypeError):
            raise _damaged_error(self._did, "a node of its tree is malformed") from None

    def _no_tree_error(self) -> RepoDamagedError:
        return _damaged_error(self._did, "its tree is not a tree")

    def _add(self, key: bytes, cid: bytes) -> None:
        if key <= self._last:
            raise _damaged_error(self._did, f"its keys are out of order at {ascii(key)[:100]}")
        self._last = key
        if not (self._prefix and key.startswith(self._prefix)):
            self._begin_collection(key)
        rkey = key[len(self._prefix) : _MAX_KEY + 1]
        if len(key) > _MAX_KEY or not is_rkey(rkey.decode("ascii", "replace")):
            raise self._key_error(key)
        self._records += 1
        self._key_bytes += len(rkey)
        if self._records > _MAX_RECORDS or self._key_bytes > _MAX_KEY_BYTES:
            raise _damaged_error(self._did, "it has too many records")
        place = self._blocks.find(cid) or 0
        self._bytes += self._blocks.length(place)
        if self._bytes > self._blocks.size + _MAX_REPEATED:
            raise _damaged_error(self._did, "its keys name the same records too often")
        self._current.add(rkey, cid, place)

    def _begin_collection(self, key: bytes) -> None:
        name, separator, _ = key[: _MAX_KEY + 1].partition(b"/")
        if not (name and separator and name.isascii()):
            raise self._key_error(key)
        if len(self.collections) == _MAX_COLLECTIONS:
            raise _damaged_error(self._did, "it has too many collections")
        collection = name.decode()
        self._prefix = name + separator
        self._current = CollectionRecords(self._did, collection, self._blocks)
        self.collections[collection] = self._current

    def _key_error(self, key: bytes) -> RepoDamagedError:
        return _damaged_error(self._did, f"an entry of its tree is malformed: {ascii(key)[:100]}")


def _parse_entry(raw: Block) -> _Entry:
    """Parse an entry of a node; raises LookupError or TypeError."""
    entry = prefix, suffix, value, right = raw["p"], raw["k"], raw["v"], raw["t"]
    is_link = right is None or isinstance(right, bytes)
    is_key = isinstance(prefix, int) and isinstance(suffix, bytes)
    if not (is_key and is_link and isinstance(value, bytes)):
        raise TypeError("a part of the entry has another type")
    return entry


def _blobs(value: object) -> Iterator[str]:
    """Yield blob CIDs at any depth (https://atproto.com/specs/data-model#blob-type)."""
    if isinstance(value, list):
        for item in value:
            yield from _blobs(item)
    elif isinstance(value, dict):
        ref = value.get("ref")
        if value.get("$type") == "blob" and isinstance(ref, bytes) and is_raw_cid(ref):
            yield spell_cid(ref)
        else:
            for item in value.values():
                yield from _blobs(item)


def _nested_error(rkey: str) -> RepoDamagedError:
    return RepoDamagedError(f"the PDS sent the record {rkey}, which is nested too deeply")


def _damaged_error(did: str, fault: str) -> RepoDamagedError:
    return RepoDamagedError(f"the PDS sent a damaged repo of {did}: {fault}")


def _storage_error(did: str, error: OSError) -> TemporaryStorageError:
    # The default of `tempfile` may be unknown if no directory is usable.
    place = os.environ.get("TMPDIR") or "the temporary directory"
    return TemporaryStorageError(f"the repo of {did} cannot be stored in {place}: {error.strerror}")
