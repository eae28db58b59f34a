"""The values that travel through the engine: items, accounts, and the state kept on a document.

All are frozen. The store and the accounts parse MongoDB's documents into them; nothing further
in handles raw ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bson import ObjectId

from worker.core.errors import MediaError, PermanentError
from worker.core.fields import Fields
from worker.core.secrets import Secret

DocumentId = ObjectId | str | int


class Status(StrEnum):
    """What a document's `atproto.status` says."""

    PENDING = "pending"
    SYNCED = "synced"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ItemRef:
    """Which document: the media type's name and the document's `_id`."""

    type: str
    id: DocumentId

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


@dataclass(frozen=True, slots=True)
class OwnedItem:
    """An item, and the subject whose it is."""

    ref: ItemRef
    owner: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as a person needs it to act; never holds a secret."""

    step: str
    code: str
    message: str
    permanent: bool
    at: datetime

    @classmethod
    def of(cls, error: MediaError, at: datetime) -> Failure:
        """Describe one of our own errors."""
        permanent = isinstance(error, PermanentError)
        return cls(error.step, error.code, error.message[:1000], permanent, at)


@dataclass(frozen=True, slots=True)
class BlobState:
    """What is known of one blob field: the blob last uploaded, and what failed since.

    `source` is the identity of the bytes the blob was made from; `error` is set while the blob
    is missing (`cid` empty) or older than its source.
    """

    cid: str | None = None
    mime_type: str = ""
    size: int = 0
    source: str | None = None
    error: Failure | None = None

    @property
    def status(self) -> str:
        """`uploaded`, `old` (an earlier blob is still up) or `missing`."""
        if self.error is None:
            return "uploaded"
        return "old" if self.cid else "missing"

    def as_ref(self) -> Mapping[str, object]:
        """Return the blob as a record refers to it (https://atproto.com/specs/data-model#blob-type)."""
        return {
            "$type": "blob",
            "ref": {"$link": self.cid},
            "mimeType": self.mime_type,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class Lease:
    """Who works on a document now: a token per run, the message it serves, and until when."""

    token: str
    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class SyncState:
    """A document's `atproto` field.

    `repo` is the DID in whose repo `rkey` is reserved. `cid` is the record's CID as published,
    confirmed by the PDS. `fingerprint` names the content that the state speaks of. `strays` are
    URIs that a run wrote to after it had lost its lease: what is there is in doubt.
    `retry_at` is when to look again if nothing happens before; before `held_until` nothing may
    be sent at all, because the PDS asked for it.
    """

    status: Status | None = None
    reason: str | None = None
    repo: str | None = None
    rkey: str | None = None
    uri: str | None = None
    cid: str | None = None
    blobs: Mapping[str, BlobState] = field(default_factory=dict)
    links: Mapping[str, bool] = field(default_factory=dict)
    fingerprint: str | None = None
    attempts: int = 0
    lost: int = 0
    attempted_at: datetime | None = None
    synced_at: datetime | None = None
    retry_at: datetime | None = None
    held_until: datetime | None = None
    error: Failure | None = None
    lease: Lease | None = None
    strays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaDocument:
    """One item as it is in MongoDB now.

    `owner` is the subject whose account it belongs to (the guest subject for a guest's item);
    `takedown_flag` is the flag that takes it down (`nuked`, `deleted`) or None; `fault` is what
    keeps anyone from telling whose it is.
    """

    ref: ItemRef
    owner: str
    is_guest: bool
    takedown_flag: str | None
    fields: Fields
    state: SyncState
    fault: PermanentError | None = None

    @property
    def fingerprint(self) -> str:
        """Return what names the document's content, its state apart."""
        return self.fields.fingerprint


@dataclass(frozen=True, slots=True)
class Account:
    """An AT Protocol account of a platform user (or of all guests).

    `handle` is the account's name on its PDS; `screen_name` the user's name on the platform,
    without `@`, when there is one. `password` is as stored: plain or sealed.
    """

    subject: str
    did: str
    handle: str
    password: Secret
    screen_name: str | None = None
