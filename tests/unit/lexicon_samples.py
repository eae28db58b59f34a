"""One full, valid record of each type, and ways to spoil it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from worker.cid import cid_of_blob

Record = dict[str, Any]

BLOB_CID = cid_of_blob(b"pixels")
WHEN = "2024-02-29T23:59:59.123Z"
REF = "65f0c0ffee0102030405aabb"

PAINTING: Record = {
    "$type": "computer.aesthetic.painting",
    "slug": "2024.2.29.23.59.59.123:2024.2.29.23.59.59.456",
    "code": "a3b",
    "imageUrl": "https://aesthetic.computer/media/paintings/a3b",
    "recordingUrl": "https://aesthetic.computer/media/paintings/a3b.zip",
    "acUrl": "https://aesthetic.computer/#a3b",
    "thumbnail": {
        "$type": "blob",
        "ref": {"$link": BLOB_CID},
        "mimeType": "image/png",
        "size": 20480,
    },
    "when": WHEN,
    "ref": REF,
}
MOOD: Record = {
    "$type": "computer.aesthetic.mood",
    "text": "calm, like a lake \N{SWIMMER}",
    "when": WHEN,
    "ref": REF,
}
PIECE: Record = {
    "$type": "computer.aesthetic.piece",
    "slug": "wand",
    "code": "wnd",
    "source": {
        "$type": "blob",
        "ref": {"$link": BLOB_CID},
        "mimeType": "text/javascript",
        "size": 512,
    },
    "acUrl": "https://aesthetic.computer/wand",
    "when": WHEN,
    "ref": REF,
}
KIDLISP: Record = {
    "$type": "computer.aesthetic.kidlisp",
    "code": "cow",
    "source": '(wipe "blue")\n(ink 255 0 0)\n(line)',
    "acUrl": "https://aesthetic.computer/$cow",
    "when": WHEN,
    "ref": REF,
}
SAMPLES: Mapping[str, Record] = {
    sample["$type"]: sample for sample in (PAINTING, MOOD, PIECE, KIDLISP)
}


def put(record: Record, path: str, value: object) -> Record:
    """Return a copy of `record` with `value` at the dotted `path`."""
    return _at(record, path, lambda parent, key: parent.__setitem__(key, value))


def drop(record: Record, path: str) -> Record:
    """Return a copy of `record` without what is at the dotted `path`."""
    return _at(record, path, lambda parent, key: parent.__delitem__(key))


def _at(record: Record, path: str, change: Any) -> Record:
    fresh = copy.deepcopy(record)
    *parents, key = path.split(".")
    parent: Any = fresh
    for name in parents:
        parent = parent[name]
    change(parent, key)
    return fresh
