"""CAR files made by hand, so that they can be wrong in any way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import libipld

DID = "did:plc:abcdefghijklmnopqrstuvwx"
MOODS = "computer.aesthetic.mood"
Block = Mapping[str, Any]
_PREFIX = bytes((0x01, 0x71, 0x12, 0x20))


class Car:
    """A CAR file in the making: blocks, each kept under its CID or another."""

    def __init__(self) -> None:
        self._blocks: list[tuple[bytes, bytes]] = []

    def add(self, block: Any, *, cid: bytes | None = None) -> bytes:
        """Keep a block, under a false CID if one is given; return the CID."""
        return self.keep(libipld.encode_dag_cbor(block), cid=cid)

    def keep(self, data: bytes, *, cid: bytes | None = None) -> bytes:
        """Keep a block as it is encoded; return the CID."""
        name = _PREFIX + hashlib.sha256(data).digest() if cid is None else cid
        self._blocks.append((name, data))
        return name

    def file(self, root: bytes) -> bytes:
        """Return the file, its root as given."""
        header = libipld.encode_dag_cbor({"version": 1, "roots": [root]})
        blocks = [framed(cid + data) for cid, data in self._blocks]
        return b"".join([framed(header), *blocks])

    def commit(self, tree: object, **changes: object) -> bytes:
        """Return the file of a repo whose tree is at the CID given."""
        fields = {"did": DID, "version": 3, "data": tree, "rev": "3n2w3xb6x7j27", "prev": None}
        return self.file(self.add({**fields, "sig": b"signed", **changes}))


def entry(key: str, cid: bytes, *, right: bytes | None = None, shared: int = 0) -> Block:
    """Return an entry of a node, its key written after `shared` bytes of the one before."""
    return {"p": shared, "k": key.encode()[shared:], "v": cid, "t": right}


def node(entries: Sequence[Block], left: bytes | None = None) -> Block:
    """Return a node of a tree."""
    return {"l": left, "e": list(entries)}


def repo_of(records: Mapping[str, Block]) -> bytes:
    """Return the CAR file of a repo with these records, by `NSID/rkey`, in one node."""
    car = Car()
    entries = [entry(key, car.add(record)) for key, record in records.items()]
    return car.commit(car.add(node(entries)))


def raw_cid(text: str) -> bytes:
    """Return the bytes of a CID."""
    raw: bytes = libipld.decode_multibase(text)[1]
    return raw


def framed_block(block: Any) -> bytes:
    """Return a block and its CID, as they are in a file."""
    data = libipld.encode_dag_cbor(block)
    return framed(_PREFIX + hashlib.sha256(data).digest() + data)


def framed(data: bytes) -> bytes:
    """Return a block with its length before it."""
    length, prefix = len(data), b""
    while length >= 0x80:
        prefix, length = prefix + bytes([length & 0x7F | 0x80]), length >> 7
    return prefix + bytes([length]) + data
