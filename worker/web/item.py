"""Load the contents of an item's page, and the item's image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pymongo

from worker.core.documents import BlobState, DocumentId, MediaDocument
from worker.database.leases import is_held
from worker.database.state import dump_state
from worker.files.thumbnail import MAX_BYTES
from worker.media import MediaType
from worker.operations.status.inspection import InspectedItem, Inspector, PublishedState
from worker.operations.text import STATE_LABELS
from worker.services import Services
from worker.services.media import Media
from worker.web.snapshots import Unavailable, try_fetch

LOOKUP_TIMEOUT = 5.0  # seconds
_MAX_FIELDS = 60
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_SHOWN_ELSEWHERE = {"status", "did", "blobs", "error", "failingSince"}

Row = tuple[str, object]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """The bytes of an image, and the MIME type detected from the first bytes."""

    data: bytes
    mime_type: str


@dataclass(frozen=True, slots=True)
class ItemPage:
    """The contents of an item's page; `remote` is Unavailable if the PDS failed."""

    item: InspectedItem
    remote: PublishedState | Unavailable
    is_held: bool

    @property
    def document_rows(self) -> Sequence[Row]:
        return _rows(self.item.content)

    @property
    def record_rows(self) -> Sequence[Row]:
        found = None if isinstance(self.remote, Unavailable) else self.remote.found
        if found is None:
            return []
        return [("uri", found.uri), ("cid", found.cid), *_rows(found.value)]

    @property
    def state_rows(self) -> Sequence[Row]:
        """The fields of the state, except those in other parts of the page."""
        state = self.item.document.state
        rows = [
            (STATE_LABELS.get(name, name), value)
            for name, value in dump_state(state).items()
            if value is not None and name not in _SHOWN_ELSEWHERE
        ]
        if state.lease:
            rows.append(("leased to a worker until", state.lease.until))
        return rows

    @property
    def has_image(self) -> bool:
        return _find_image(self.item.document) is not None

    @property
    def faults(self) -> int:
        """The number of differences and faults; 0 if the PDS failed."""
        return 0 if isinstance(self.remote, Unavailable) else self.remote.faults


def _rows(values: Mapping[str, object]) -> Sequence[Row]:
    rows: list[Row] = list(values.items())[:_MAX_FIELDS]
    more = len(values) - len(rows)
    return [*rows, ("...", f"and {more} more fields")] if more else rows


def open_item(services: Services, kind: MediaType, ids: tuple[DocumentId, ...]) -> ItemPage | None:
    """Load the page of an item; return None if no document has one of `ids`.

    Raises StoreUnavailableError.
    """
    inspector = Inspector.of(services)
    with pymongo.timeout(LOOKUP_TIMEOUT):
        item = inspector.load(kind, ids)
        if item is None:
            return None
        remote = try_fetch(lambda: inspector.compare_with_pds(item))
    return ItemPage(item, remote, is_held(item.document, holder=""))


def open_image(
    services: Services, kind: MediaType, ids: tuple[DocumentId, ...]
) -> StoredImage | None:
    """Return an item's published PNG or JPEG image, or None if it has none.

    Reads the thumbnail cache, then the PDS. Detects the type from the bytes, so that a browser
    never gets HTML. Raises StoreUnavailableError and the errors of `pds_of` and PdsClient.
    """
    with pymongo.timeout(LOOKUP_TIMEOUT):
        document = services.storage.store.find(kind, ids)
        blob = _find_image(document) if document else None
        if document is None or blob is None or blob.cid is None:
            return None
        data = _cached_image(services.media, blob)
        if data is None and (repo := document.state.repo):
            data = services.pds.client_of(repo).get_blob(repo, blob.cid)
    if data is None or len(data) > MAX_BYTES:
        return None
    types = (each for signature, each in _SIGNATURES.items() if data.startswith(signature))
    return next((StoredImage(data, mime_type) for mime_type in types), None)


def _find_image(document: MediaDocument) -> BlobState | None:
    blobs = document.state.blobs.values()
    images = (blob for blob in blobs if blob.cid and blob.mime_type in _SIGNATURES.values())
    return next(images, None)


def _cached_image(media: Media, blob: BlobState) -> bytes | None:
    settings = media.thumbnail_settings
    cached = media.thumbnails.get(blob.source or "", settings)
    return cached.thumbnail.data if cached and cached.cid == blob.cid else None
