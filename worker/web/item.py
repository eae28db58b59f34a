"""What an item's page tells, and the picture on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pymongo

from worker.core.documents import BlobState, DocumentId, Status
from worker.database.leases import is_held
from worker.database.state import dump_state
from worker.files.thumbnail import MAX_BYTES
from worker.media import MediaType
from worker.operations.status.inspection import InspectedItem, Inspector, PublishedState
from worker.services import Services
from worker.web.snapshots import Unavailable, try_fetch

LOOK_UP = 5.0  # seconds
_MAX_FIELDS = 60
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_LABELS = {
    "attemptedAt": "last tried",
    "syncedAt": "last right",
    "retryAt": "next try",
    "heldUntil": "held until",
}
_APART = {"status", "blobs", "error"}

Row = tuple[str, object]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """The bytes of an image, and of which type they are by the bytes themselves."""

    data: bytes
    mime_type: str


@dataclass(frozen=True, slots=True)
class ItemPage:
    """An item as its page tells it; `remote` is Missing when its PDS does not tell."""

    item: InspectedItem
    remote: PublishedState | Unavailable
    is_held: bool

    @property
    def status(self) -> str:
        """Return its status in a word."""
        status = self.item.document.state.status
        return str(status) if status else "never published"

    @property
    def needs_a_person(self) -> bool:
        """Tell whether it was given up."""
        return self.item.document.state.status is Status.FAILED

    @property
    def document_rows(self) -> Sequence[Row]:
        """Return the document's fields, so many at most."""
        return _rows(self.item.content)

    @property
    def record_rows(self) -> Sequence[Row]:
        """Return the fields of the record that is on the PDS."""
        found = None if isinstance(self.remote, Unavailable) else self.remote.found
        if found is None:
            return []
        return [("uri", found.uri), ("cid", found.cid), *_rows(found.value)]

    @property
    def state_rows(self) -> Sequence[Row]:
        """Return the state, less what is told elsewhere on the page."""
        state = self.item.document.state
        rows = [
            (_LABELS.get(name, name), value)
            for name, value in dump_state(state).items()
            if value is not None and name not in _APART
        ]
        if state.lease:
            rows.append(("in the hands of a worker until", state.lease.until))
        return rows

    @property
    def picture(self) -> BlobState | None:
        """Return the blob that is its picture, if it has one."""
        blobs = self.item.document.state.blobs.values()
        return next((blob for blob in blobs if blob.cid and _is_image(blob)), None)

    @property
    def faults(self) -> int:
        """Return how many things are not as they should be, as far as the PDS tells."""
        return 0 if isinstance(self.remote, Unavailable) else self.remote.faults


def _rows(values: Mapping[str, object]) -> Sequence[Row]:
    rows: list[Row] = list(values.items())[:_MAX_FIELDS]
    more = len(values) - len(rows)
    return [*rows, ("...", f"and {more} more fields")] if more else rows


def open_item(services: Services, kind: MediaType, ids: tuple[DocumentId, ...]) -> ItemPage | None:
    """Return an item; None when there is no document of these ids.

    Raises StoreUnavailableError.
    """
    inspector = Inspector.of(services)
    with pymongo.timeout(LOOK_UP):
        item = inspector.load(kind, ids)
        if item is None:
            return None
        remote = try_fetch(lambda: inspector.compare_with_pds(item))
    return ItemPage(item, remote, is_held(item.document, holder=""))


def open_picture(
    services: Services, kind: MediaType, ids: tuple[DocumentId, ...]
) -> StoredImage | None:
    """Return an item's picture, with the bytes that its CID names; None when there is none to show.

    From the cache if they are there, or else from the PDS. Raises the errors of both.
    """
    with pymongo.timeout(LOOK_UP):
        document = services.store.find(kind, ids)
        if document is None:
            return None
        blobs = document.state.blobs.values()
        blob = next((blob for blob in blobs if blob.cid and _is_image(blob)), None)
        if blob is None or blob.cid is None:
            return None
        data = _cached_image(services, blob)
        if data is None and document.state.repo:
            data = services.pds_of(document.state.repo).get_blob(document.state.repo, blob.cid)
    return _as_image(data) if data else None


def _cached_image(services: Services, blob: BlobState) -> bytes | None:
    settings = services.publisher.attachments.blobs.thumbnails
    identity = (blob.source or "").removesuffix(f" {settings.key}")
    cached = services.thumbnails.get(identity, settings)
    return cached.thumbnail.data if cached and cached.cid == blob.cid else None


def _as_image(data: bytes) -> StoredImage | None:
    """Return the bytes as an image, if they begin as one that lexicons take; else None.

    Whatever a PDS or a document calls them, a browser gets no other kind of them from us.
    """
    kinds = (kind for first, kind in _SIGNATURES.items() if data.startswith(first))
    kind = next(kinds, None)
    return StoredImage(data, kind) if kind and len(data) <= MAX_BYTES else None


def _is_image(blob: BlobState) -> bool:
    return blob.mime_type in _SIGNATURES.values()
