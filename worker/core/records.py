"""Records and blobs as they are addressed and returned on the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RecordRef:
    """Where a record is, and which version of it: an at:// URI and a CID."""

    uri: str
    cid: str


@dataclass(frozen=True, slots=True)
class RemoteRecord:
    """A record as the PDS gives it."""

    uri: str
    cid: str
    value: Mapping[str, object]

    @property
    def rkey(self) -> str:
        """Return the record's key, the last part of its URI."""
        return self.uri.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class UploadedBlob:
    """A blob as the PDS took it in: it decides the MIME type by the bytes."""

    cid: str
    mime_type: str
    size: int


@dataclass(frozen=True, slots=True)
class RecordKey:
    """Which record: a repo's DID, a collection's NSID and an rkey."""

    repo: str
    collection: str
    rkey: str

    @property
    def uri(self) -> str:
        """Return the record's at:// URI."""
        return f"at://{self.repo}/{self.collection}/{self.rkey}"

    @classmethod
    def parse(cls, uri: str) -> RecordKey:
        """Return the key in a record's at:// URI (https://atproto.com/specs/at-uri-scheme)."""
        repo, collection, rkey = uri.removeprefix("at://").split("/")
        return cls(repo, collection, rkey)

    def as_json(self) -> dict[str, str]:
        """Return the key as XRPC calls take it."""
        return {"repo": self.repo, "collection": self.collection, "rkey": self.rkey}


@dataclass(frozen=True, slots=True)
class Write:
    """One write of applyWrites: what is done to a record, and the value that it gets."""

    action: Literal["create", "update", "delete"]
    key: RecordKey
    value: Mapping[str, object] | None = None

    def as_json(self) -> dict[str, object]:
        """Return the write as XRPC calls take it."""
        kind = f"com.atproto.repo.applyWrites#{self.action}"
        write: dict[str, object] = {"$type": kind}
        write |= {"collection": self.key.collection, "rkey": self.key.rkey}
        return write if self.value is None else write | {"value": self.value}
