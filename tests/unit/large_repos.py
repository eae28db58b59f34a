"""Repos with many records, generated in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from tempfile import TemporaryFile

import libipld

from tests.unit.cars import DID, MOODS, Block, entry, framed, framed_block, node

_CHUNK = 65_536
_PREFIX = bytes((0x01, 0x71, 0x12, 0x20))


def mood(number: int) -> Block:
    """Return the record of the mood with the `_id` `item_of(number)`."""
    text = text_of(number)
    when = "2026-01-01T00:00:00.000Z"
    return {"$type": MOODS, "mood": text, "text": text, "when": when, "ref": item_of(number)}


def text_of(number: int) -> str:
    """Return the text of a mood."""
    return f"*gentle* number {number}, and a few words more of it"


def item_of(number: int) -> str:
    """Return the `_id` of a mood, as text."""
    return f"{number:024x}"


def rkey_of(number: int) -> str:
    """Return a key of 13 characters, as long as a TID."""
    return f"3l{number:011}"


def chunks_of_repo(count: int, record_of: Callable[[int], Block] = mood) -> Iterator[bytes]:
    """Yield the CAR file of a repo with `count` records in chunks, its commit last."""
    with TemporaryFile() as file:
        tree = _write_tree(file.write, count, record_of)
        fields = {"did": DID, "version": 3, "data": tree, "rev": "3n2w3xb6x7j27", "prev": None}
        commit = framed_block({**fields, "sig": b"signed"})
        header = {"version": 1, "roots": [_PREFIX + hashlib.sha256(commit[2 + 36 :]).digest()]}
        yield framed(libipld.encode_dag_cbor(header))
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
        yield commit


def _write_tree(
    write: Callable[[bytes], object], count: int, record_of: Callable[[int], Block]
) -> bytes:
    """Write the records, and nodes of a Merkle search tree; return the CID of its root."""

    def add(block: Block) -> bytes:
        data = libipld.encode_dag_cbor(block)
        cid = _PREFIX + hashlib.sha256(data).digest()
        write(framed(cid + data))
        return cid

    def build(numbers: Sequence[int], layer: int) -> bytes | None:
        """Add the nodes for keys of at most this layer."""
        if not numbers:
            return None
        key, left = "", None
        entries: list[Block] = []
        for is_own, group in groupby(numbers, lambda each: _layer(each) == layer):
            if not is_own:
                child = build(list(group), layer - 1)
                if entries:
                    entries[-1] = {**entries[-1], "t": child}
                else:
                    left = child
                continue
            for number in group:
                own = f"{MOODS}/{rkey_of(number)}"
                shared = _shared(key, own)
                entries.append(entry(own, add(record_of(number)), shared=shared))
                key = own
        return add(node(entries, left))

    layers = max(map(_layer, range(count)), default=0)
    return build(range(count), layers) or add(node([]))


def _layer(number: int) -> int:
    """Return half the number of leading zero bits of a key's hash."""
    digest = hashlib.sha256(f"{MOODS}/{rkey_of(number)}".encode()).digest()
    return (256 - int.from_bytes(digest).bit_length()) // 2


def _shared(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
