"""Value types for records and blobs on a PDS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from worker.core.record_keys import is_rkey

_PART = "[!-.0-~]"  # a printable ASCII character except the slash
_URI = re.compile(f"at://{_PART}{{1,2048}}/{_PART}{{1,317}}/({_PART}{{1,512}})")
_CID = re.compile(r"[!-~]{1,256}")


def is_record_uri(text: str) -> bool:
    """Return whether a text has the form of the at:// URI of a record."""
    match = _URI.fullmatch(text)
    return match is not None and is_rkey(match[1])


def is_record_version(uri: str, cid: str) -> bool:
    """Return whether texts of a PDS have the form of the at:// URI and the CID of a record."""
    return is_record_uri(uri) and _CID.fullmatch(cid) is not None


def document_ref(record: Mapping[str, object]) -> str | None:
    """Return the `_id` of a record's document: its `ref`, or `mongoId` if it has no `ref`.

    Returns None if that is missing or not text.
    """
    ref = record.get("ref", record.get("mongoId"))
    return ref if isinstance(ref, str) else None


@dataclass(frozen=True, slots=True)
class RecordRef:
    """One version of a record: its at:// URI and CID."""

    uri: str
    cid: str


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """A record returned by the PDS, with its at:// URI and CID."""

    uri: str
    cid: str
    value: Mapping[str, object]

    @property
    def rkey(self) -> str:
        return self.uri.rpartition("/")[2]

    @property
    def ref(self) -> str | None:
        return document_ref(self.value)

    @property
    def blob_cids(self) -> list[str]:
        """Return the CIDs of the blobs in the fields of the record."""
        refs = (each.get("ref") for each in self.value.values() if isinstance(each, Mapping))
        links = (ref.get("$link") for ref in refs if isinstance(ref, Mapping))
        return [link for link in links if isinstance(link, str)]


@dataclass(frozen=True, slots=True)
class UploadedBlob:
    """A blob on the PDS, which detects `mime_type` from the bytes."""

    cid: str
    mime_type: str
    size: int


@dataclass(frozen=True, slots=True)
class RecordKey:
    """The address of a record: DID of the repo, NSID of the collection, record key."""

    repo: str
    collection: str
    rkey: str

    @property
    def uri(self) -> str:
        return f"at://{self.repo}/{self.collection}/{self.rkey}"

    @classmethod
    def parse(cls, uri: str) -> RecordKey:
        """Parse the at:// URI of a record (https://atproto.com/specs/at-uri-scheme)."""
        repo, collection, rkey = uri.removeprefix("at://").split("/")
        return cls(repo, collection, rkey)

    def as_json(self) -> dict[str, str]:
        """Return the key as parameters of an XRPC call."""
        return {"repo": self.repo, "collection": self.collection, "rkey": self.rkey}


@dataclass(frozen=True, slots=True)
class Write:
    """One write in applyWrites; `value` is the new record, None for a deletion."""

    action: Literal["create", "update", "delete"]
    key: RecordKey
    value: Mapping[str, object] | None = None

    def as_json(self) -> dict[str, object]:
        """Return the write as an element of the applyWrites parameter `writes`."""
        kind = f"com.atproto.repo.applyWrites#{self.action}"
        write: dict[str, object] = {"$type": kind}
        write |= {"collection": self.key.collection, "rkey": self.key.rkey}
        return write if self.value is None else write | {"value": self.value}
