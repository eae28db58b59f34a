"""Value types of the engine: items, accounts, and the state saved on a document.

The types created most often are named tuples: creating a frozen dataclass of 22 fields takes four
times as long.

The `database` package parses raw MongoDB documents into these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from bson import ObjectId

from worker.core.errors import MediaError, PermanentError
from worker.core.fields import Fields
from worker.core.secrets import Secret

DocumentId = ObjectId | str | int
EMPTY: Mapping[str, Any] = MappingProxyType({})
"""An immutable default of mappings."""


class Status(StrEnum):
    """The values of the document field `atproto.status`."""

    PENDING = "pending"
    SYNCED = "synced"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"


class ItemRef(NamedTuple):
    """Identifies an item: the name of its media type and the `_id` of its document."""

    type: str
    id: DocumentId

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


@dataclass(frozen=True, slots=True)
class OwnedItem:
    """An item and the subject of its owner, such as `auth0|ada`."""

    ref: ItemRef
    owner: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error saved on the document for the operator; never contains a secret."""

    step: str
    code: str
    message: str
    permanent: bool
    at: datetime

    @classmethod
    def of(cls, error: MediaError, at: datetime) -> Failure:
        permanent = isinstance(error, PermanentError)
        return cls(error.step, error.code, error.message, permanent, at)


@dataclass(frozen=True, slots=True)
class BlobState:
    """The state of one blob field: the last uploaded blob and any later error.

    `key` is the store key of the source file, and `source` identifies its version. `source` is
    None for a blob that another program uploaded. `error` is set while the blob is missing (`cid`
    is None) or older than its source file.
    """

    cid: str | None = None
    mime_type: str = ""
    size: int = 0
    source: str | None = None
    error: Failure | None = None
    key: str | None = None

    @property
    def status(self) -> str:
        """Return `uploaded`, `old` (a blob of an earlier source file) or `missing`."""
        if self.error is None:
            return "uploaded"
        return "old" if self.cid else "missing"

    def as_ref(self) -> Mapping[str, object]:
        """Build the blob reference (https://atproto.com/specs/data-model#blob-type)."""
        link = {"$link": self.cid}
        return {"$type": "blob", "ref": link, "mimeType": self.mime_type, "size": self.size}


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease on a document: the token of the run, its holder, and the end time."""

    token: str
    holder: str
    until: datetime


class SyncState(NamedTuple):
    """The state in a document's `atproto` field.

    `rkey` is the record key reserved in the repo with the DID `repo`. `cid` is the CID of the
    published record, confirmed by the PDS. `adopted` means that an older program wrote that record,
    and that the document was not edited since. `fingerprint` is the fingerprint of the processed
    document. `links` are the store keys of the files of links, None for missing files. `strays`
    are the URIs of records that a run may have written after it lost its lease. `remake` means that
    the next run makes thumbnails again, although their files are unchanged. The sweep enqueues the
    item at `retry_at`; no PDS call is made for it before `held_until`.

    `synced_at` is the time of the last run that confirmed the record, or that it is gone.
    `published_at` is the time of the last run that wrote a new version of the record; None if our
    runs wrote none. `failing_since` is the time of the first error since the last run without one.
    """

    status: Status | None = None
    reason: str | None = None
    repo: str | None = None
    rkey: str | None = None
    uri: str | None = None
    cid: str | None = None
    adopted: bool = False
    blobs: Mapping[str, BlobState] = EMPTY
    links: Mapping[str, str | None] = EMPTY
    fingerprint: str | None = None
    attempts: int = 0
    lost: int = 0
    attempted_at: datetime | None = None
    synced_at: datetime | None = None
    published_at: datetime | None = None
    retry_at: datetime | None = None
    held_until: datetime | None = None
    error: Failure | None = None
    failing_since: datetime | None = None
    lease: Lease | None = None
    strays: tuple[str, ...] = ()
    remake: bool = False

    def with_error(self, error: Failure) -> SyncState:
        """Return this state with a new error; `failing_since` is that of an error before it."""
        since = self.failing_since if self.error else None
        return self._replace(error=error, failing_since=since or error.at)


class MediaDocument(NamedTuple):
    """The document of one item, parsed from MongoDB.

    `owner` is the subject of the owner's account (the guest subject for a guest's item).
    `hidden` is the reason why the item is hidden, such as `nuked` or `draft`, or None. `fault` is
    the error if the owner field is invalid.
    """

    ref: ItemRef
    owner: str
    is_guest: bool
    hidden: str | None
    fields: Fields
    state: SyncState
    fault: PermanentError | None = None

    @property
    def fingerprint(self) -> str:
        """Return the hash of the document fields, without the state."""
        return self.fields.fingerprint

    @property
    def is_edited(self) -> bool:
        """Return whether fields changed since the last run; False before the first run."""
        return self.state.fingerprint not in {None, self.fingerprint}


@dataclass(frozen=True, slots=True)
class Account:
    """An AT Protocol account of a platform user (or of all guests).

    `handle` is the AT Protocol handle. `screen_name` is the user name on the platform, without
    `@`, or None. `password` is plain or encrypted, as stored in MongoDB.
    """

    subject: str
    did: str
    handle: str
    password: Secret
    screen_name: str | None = None
