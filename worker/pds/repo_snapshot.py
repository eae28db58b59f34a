"""Read and verify a whole repo at one commit, from a CAR file.

A repo is a Merkle search tree of blocks. Each block is named by the hash of its bytes, and the hash
is verified before the block is used. `libipld.decode_car` cannot be used, because it returns blocks
without their bytes. Encoding a block again may give different bytes: libipld decodes bytes that
begin like a CID as a link.

A decoded block needs up to 72 times its size in memory. Blocks are therefore limited in size, and
records are decoded one at a time: only their bytes are kept.
https://atproto.com/specs/repository and https://ipld.io/specs/transport/car/carv1/
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import libipld

from worker.core.cid import RAW_CID_LENGTH, is_raw_cid, json_form, spell_cid
from worker.core.errors import TransientError
from worker.core.record_keys import is_rkey
from worker.core.records import document_ref

Block = Mapping[str, Any]
_REPO_VERSION = 3
_DIGEST = 32  # bytes at the end of a CID
_MAX_BLOCK = 2**20  # bytes of a record, a node, a commit or a header; a record has 1 MB at most
_MAX_DEPTH = 128  # layers; the hash of a key has 128 pairs of bits
_MAX_KEY = 1024  # bytes of a collection and a record key
_MORE = 0x80  # set in all bytes of a length except the last
_MAX_VARINT = 9  # bytes: https://github.com/multiformats/unsigned-varint


def read_car(car: bytes) -> tuple[bytes, Mapping[bytes, bytes]]:
    """Parse a CAR file into root CID and unverified blocks by CID; raises ValueError."""
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
        root = _decode(header)["roots"][0]
    except (ValueError, LookupError, TypeError):
        root = None
    if not isinstance(root, bytes):
        raise ValueError("it has no header that names a commit")  # noqa: TRY004 - bad data
    return root


def _frame(car: bytes, position: int) -> tuple[int, int]:
    """Return the start and the end of the content of the frame at `position`.

    A frame begins with its length, as an unsigned varint. Raises ValueError.
    """
    length = 0
    for index, byte in enumerate(car[position : position + _MAX_VARINT]):
        length |= (byte & 0x7F) << 7 * index
        if byte < _MORE:
            start = position + index + 1
            if start + length <= len(car):
                return start, start + length
            break
    raise ValueError(f"it is cut short, or no CAR file, at byte {position}")


class RepoDamagedError(TransientError):
    """The repo sent by the PDS is incomplete, or does not match its hashes."""

    step, code = "read", "repo_damaged"


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
            return {name: json_form(part) for name, part in _decode(self.content).items()}
        except RecursionError:
            raise _nested_error(self.rkey) from None

    @property
    def blobs(self) -> tuple[str, ...]:
        """Return the CIDs of the record's blobs; raises RepoDamagedError as `value` does."""
        try:
            return tuple(dict.fromkeys(_blobs(_decode(self.content))))
        except RecursionError:
            raise _nested_error(self.rkey) from None


@dataclass(frozen=True, slots=True)
class RepoSnapshot:
    """The records in all collections of a repo, at one commit."""

    did: str
    commit: str
    _keys: Mapping[str, Mapping[str, bytes]] = field(repr=False)
    _blocks: Mapping[bytes, bytes] = field(repr=False)

    @classmethod
    def parse(cls, did: str, car: bytes) -> RepoSnapshot:
        """Read the repo of `did` from a CAR file; raises RepoDamagedError."""
        try:
            root, blocks = read_car(car)
        except ValueError as error:
            raise _damaged_error(did, str(error)) from error
        tree = _Tree(did, blocks)
        commit = tree.block(root, "its commit")
        if commit.get("did") != did or commit.get("version") != _REPO_VERSION:
            raise _damaged_error(did, "its commit is another repo's, or of an unknown version")
        tree.walk(commit.get("data"), _MAX_DEPTH)
        return cls(did, spell_cid(root), tree.keys, blocks)

    @property
    def counts(self) -> Mapping[str, int]:
        return {collection: len(keys) for collection, keys in self._keys.items()}

    def records(self, collection: str) -> Mapping[str, StoredRecord]:
        """Return a collection's records by rkey, lowest first; raises RepoDamagedError."""
        tree, keys = _Tree(self.did, self._blocks), self._keys.get(collection, {})
        refs: dict[bytes, str | None] = {}  # a block is decoded once, however many keys name it
        for rkey, cid in keys.items():
            if cid not in refs:
                refs[cid] = document_ref(tree.block(cid, f"record {collection}/{rkey}"))
        return {
            rkey: StoredRecord(rkey, cid, refs[cid], self._blocks[cid])
            for rkey, cid in keys.items()
        }

    def by_ref(self, collection: str) -> Mapping[str, Sequence[StoredRecord]]:
        """Group a collection's records by the `_id` of their documents.

        Records of the same document are sorted by rkey: with TIDs, the oldest comes first. Records
        that name no document are omitted. Raises RepoDamagedError.
        """
        found: dict[str, list[StoredRecord]] = {}
        for record in self.records(collection).values():
            if (ref := record.ref) is not None:
                found.setdefault(ref, []).append(record)
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a node: a key shares `prefix` bytes with the key before it."""

    prefix: int
    suffix: bytes
    value: bytes
    right: bytes | None

    @classmethod
    def parse(cls, raw: Block) -> Self:
        """Parse an entry; raises LookupError or TypeError."""
        prefix, suffix, value, right = raw["p"], raw["k"], raw["v"], raw["t"]
        parts_are_bytes = isinstance(suffix, bytes) and isinstance(value, bytes)
        if not (isinstance(prefix, int) and parts_are_bytes and isinstance(right, bytes | None)):
            raise TypeError("a part of the entry has another type")
        return cls(prefix, suffix, value, right)


class _Tree:
    """Reads a Merkle search tree: https://atproto.com/specs/repository#mst-structure."""

    def __init__(self, did: str, blocks: Mapping[bytes, bytes]) -> None:
        self._did = did
        self._blocks = blocks
        self._last = b""
        self._nodes: set[bytes] = set()
        self.keys: dict[str, dict[str, bytes]] = {}

    def block(self, cid: bytes, what: str) -> Block:
        """Verify and decode a block; `what` describes it in a RepoDamagedError."""
        block = self._blocks.get(cid)
        if block is None:
            raise _damaged_error(self._did, f"{what} is missing")
        if hashlib.sha256(block).digest() != cid[-_DIGEST:]:
            raise _damaged_error(self._did, f"{what} does not match its CID")
        try:
            return _decode(block)
        except ValueError as error:
            raise _damaged_error(self._did, f"{what} {error}") from None

    def walk(self, cid: object, depth: int) -> None:
        """Add the keys below a node to `keys`, at most `depth` layers deep.

        Raises RepoDamagedError if they do not ascend, or if a node occurs twice, so that a
        malicious tree is not endless.
        """
        if depth == 0 or not isinstance(cid, bytes) or cid in self._nodes:
            raise _damaged_error(self._did, "its tree is not a tree")
        self._nodes.add(cid)
        left, entries = self._node(cid)
        key = b""
        if left is not None:
            self.walk(left, depth - 1)
        for entry in entries:
            key = key[: entry.prefix] + entry.suffix
            self._add(key, entry.value)
            if entry.right is not None:
                self.walk(entry.right, depth - 1)

    def _node(self, cid: bytes) -> tuple[object, Sequence[_Entry]]:
        """Return the left subtree and the entries of a node; drop all other fields of the node."""
        node = self.block(cid, "a node of its tree")
        try:
            return node["l"], [_Entry.parse(entry) for entry in node["e"]]
        except (LookupError, TypeError):
            raise _damaged_error(self._did, "a node of its tree is malformed") from None

    def _add(self, key: bytes, cid: bytes) -> None:
        collection, _, rkey = key[: _MAX_KEY + 1].decode("ascii", "replace").partition("/")
        is_key = collection and is_rkey(rkey) and len(key) <= _MAX_KEY
        if not is_key:
            raise _damaged_error(
                self._did, f"an entry of its tree is malformed: {ascii(key)[:100]}"
            )
        if key <= self._last:
            raise _damaged_error(self._did, f"its keys are out of order at {ascii(key)[:100]}")
        self._last = key
        self.keys.setdefault(collection, {})[rkey] = cid


def _decode(block: bytes) -> Block:
    """Decode an object in DAG-CBOR; raises ValueError."""
    if len(block) > _MAX_BLOCK:
        raise ValueError("is too large")
    try:
        value = libipld.decode_dag_cbor(block)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("is not an object")  # noqa: TRY004 - bad data
    return value


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
