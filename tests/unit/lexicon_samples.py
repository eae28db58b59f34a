"""One full, valid record of each type, and ways to spoil it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from worker.core.cid import cid_of_blob
from worker.core.errors import PermanentError
from worker.media.validation import Lexicons, load_lexicons

Record = dict[str, Any]

LEXICONS = load_lexicons()
BLOB_CID = cid_of_blob(b"pixels")
WHEN = "2024-02-29T23:59:59.123Z"
FAMILY = "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}"  # one grapheme, 18 bytes
FIELDS = "defs.main.record.properties"
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
    "mood": "calm, like a lake \N{SWIMMER}",
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


def refusal(
    nsid: str, record: Any, match: str = ".", lexicons: Lexicons = LEXICONS
) -> PermanentError:
    """Return the error for which a record is refused."""
    with pytest.raises(PermanentError, match=match) as refused:
        lexicons.validate(nsid, record)
    assert (refused.value.step, refused.value.code) == ("validate", "lexicon_violation")
    return refused.value


def field_of(error: PermanentError) -> str:
    """Return the path of the field that an error names."""
    return error.message.split()[1]


def required_of(nsid: str) -> set[str]:
    """Return the fields that a record must have."""
    main: Any = LEXICONS.document(nsid)["defs"]
    return set(main["main"]["record"]["required"])


def fields_of(document: Any) -> dict[str, dict[str, Any]]:
    """Return the definitions of the fields in a lexicon document."""
    fields: dict[str, dict[str, Any]] = document["defs"]["main"]["record"]["properties"]
    return fields


def lexicon(
    nsid: str, properties: Mapping[str, object], defs: Mapping[str, object], **record: object
) -> dict[str, Any]:
    """Return a lexicon document of a record with these fields, and other definitions."""
    value = {"type": "object", **record, "properties": properties}
    main = {"type": "record", "key": "tid", "record": value}
    return {"lexicon": 1, "id": nsid, "defs": {"main": main, **defs}}


def absolute(path: str) -> str:
    """Return the path in a lexicon document of a path that, with a dot first, is one of a field."""
    return f"{FIELDS}{path}" if path.startswith(".") else path


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
