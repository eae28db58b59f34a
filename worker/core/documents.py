"""The values of the engine: items, accounts, and the state saved on a document.

The store and the accounts parse MongoDB's documents into them; all other code handles no raw ones.
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
    """The values of a document's `atproto.status`."""

    PENDING = "pending"
    SYNCED = "synced"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ItemRef:
    """A media type's name and a document's `_id`."""

    type: str
    id: DocumentId

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


@dataclass(frozen=True, slots=True)
class OwnedItem:
    """An item and the subject of its owner."""

    ref: ItemRef
    owner: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as saved on the document for the operator; never contains a secret."""

    step: str
    code: str
    message: str
    permanent: bool
    at: datetime

    @classmethod
    def of(cls, error: MediaError, at: datetime) -> Failure:
        permanent = isinstance(error, PermanentError)
        return cls(error.step, error.code, error.message[:1000], permanent, at)


@dataclass(frozen=True, slots=True)
class BlobState:
    """The state of one blob field: the blob last uploaded, and the failure since.

    `source` is the identity of the bytes that the blob was made from; `error` is set while the
    blob is missing (`cid` is None) or older than its source.
    """

    cid: str | None = None
    mime_type: str = ""
    size: int = 0
    source: str | None = None
    error: Failure | None = None

    @property
    def status(self) -> str:
        """Return `uploaded`, `old` (an earlier blob is still published) or `missing`."""
        if self.error is None:
            return "uploaded"
        return "old" if self.cid else "missing"

    def as_ref(self) -> Mapping[str, object]:
        """Return the JSON form (https://atproto.com/specs/data-model#blob-type)."""
        link = {"$link": self.cid}
        return {"$type": "blob", "ref": link, "mimeType": self.mime_type, "size": self.size}


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of a document: the run's token, its message, and the end."""

    token: str
    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class SyncState:
    """A document's `atproto` field.

    `rkey` is reserved in the repo of the DID `repo`. `cid` is the CID of the published record,
    confirmed by the PDS. `fingerprint` identifies the content that the state is about. `strays`
    are the URIs of stray writes: a run may have written there after it lost its lease. The sweep
    enqueues the item at `retry_at`; before `held_until` nothing may be sent, as the PDS asked.
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

    `owner` is the subject of its account (the guest subject for a guest's item);
    `takedown_flag` is the flag that takes it down (`nuked`, `deleted`) or None; `fault` is the
    error in its owner field, if any.
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
        """Return the hash of the document's content, without its state."""
        return self.fields.fingerprint


@dataclass(frozen=True, slots=True)
class Account:
    """An AT Protocol account of a platform user (or of all guests).

    `handle` is the account's name on its PDS; `screen_name` the user's name on the platform,
    without `@`, or None. `password` is as stored: plain or sealed.
    """

    subject: str
    did: str
    handle: str
    password: Secret
    screen_name: str | None = None
