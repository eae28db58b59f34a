"""Create, update and delete media records from Python; docs/python-api.md has an example.

The document in MongoDB decides what is published: the caller's values are compared with it, then it
is synced as by a live save. `type_name` is the name of a media type, `user_sub` the subject of a
user, or None for guests. With `dry_run` they only read. A failed sync is returned, with its error.

All raise MediaRecordError, PermanentError for an unknown type, an invalid id or a user without an
account, ContendedError, and StoreUnavailableError; a deletion also the MediaError of a PDS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import EllipsisType
from uuid import uuid4

from worker.core.documents import DocumentId, Failure, MediaDocument, Status
from worker.core.errors import PermanentError
from worker.core.ids import parse_id
from worker.database.store import projection
from worker.media import media_type
from worker.operations.expected import Record
from worker.operations.preview import Action, preview
from worker.services import Services


class MediaTypes(StrEnum):
    """The names of the media types of this project."""

    PAINTING = "painting"
    MOOD = "mood"
    PIECE = "piece"
    KIDLISP = "kidlisp"


class MediaRecordError(PermanentError):
    """The call contradicts the documents in MongoDB; nothing was changed."""

    step = "document"


@dataclass(frozen=True, slots=True)
class MediaRecordResult:
    """The state of an item after a call; of a dry run, also what a call would do.

    `id` is None if the document is gone. `status` is None if another run holds the item; `reason`
    says so. `worker.operations.preview` describes `action` and `record`.
    """

    type: str
    id: DocumentId | None
    status: Status | None
    reason: str | None = None
    uri: str | None = None
    cid: str | None = None
    rkey: str | None = None
    error: Failure | None = None
    action: Action | None = None
    record: Record | None = None


def create_media_record(
    services: Services,
    type_name: str,
    item: Mapping[str, object] | DocumentId,
    *,
    user_sub: str | EllipsisType | None = ...,
    dry_run: bool = False,
) -> MediaRecordResult:
    """Publish a saved document; `item` is the document or its `_id`, `user_sub` its owner."""
    kind, values = media_type(type_name), item if isinstance(item, Mapping) else {"_id": item}
    document = services.storage.store.find(kind, parse_id(values.get("_id")))
    if document is None:
        message = f"no {kind.name} has the _id {values['_id']}: save the document first"
        raise MediaRecordError(message, code="document_missing")
    if not isinstance(user_sub, EllipsisType):
        _check_owner(document, user_sub or services.settings.guest_subject)
    return _sync(services, document, values, dry_run=dry_run)


def update_media_record(
    services: Services,
    type_name: str,
    user_sub: str | None,
    rkey: str,
    updates: Mapping[str, object],
    *,
    dry_run: bool = False,
) -> MediaRecordResult:
    """Publish a saved change; `updates` are the changed fields and their new values."""
    kind = media_type(type_name)
    account = services.storage.accounts.resolve(user_sub or services.settings.guest_subject)
    document = services.storage.store.find_by_record(kind, account.did, rkey)
    if document is None:
        message = f"no {kind.name} of {account.subject} has the record key {rkey!a}: create it"
        raise MediaRecordError(message, code="document_missing")
    _check_owner(document, account.subject)
    return _sync(services, document, updates, dry_run=dry_run)


def delete_media_record(
    services: Services, type_name: str, user_sub: str | None, rkey: str, *, dry_run: bool = False
) -> MediaRecordResult:
    """Delete the record of a document that is hidden or gone."""
    kind, store = media_type(type_name), services.storage.store
    account = services.storage.accounts.resolve(user_sub or services.settings.guest_subject)
    document, record = store.find_by_record(kind, account.did, rkey), None
    if document is None:  # the document may have no state, or its record may be in an old repo
        key = services.pds.repo(account).key(kind.nsid, rkey)
        record = services.pds.client_of(account.did).get_record(key)
        document = store.find_own(kind, account.subject, rkey, record.ref if record else None)
    if document and document.hidden is None:
        message = f"{document.ref} is not hidden: set `nuked: true` on it in MongoDB first"
        raise MediaRecordError(message, code="document_not_hidden")
    if document and record is None:
        return _sync(services, document, {}, dry_run=dry_run)
    item_id, reason = (document.ref.id, document.hidden) if document else (None, None)
    result = MediaRecordResult(kind.name, item_id, None, reason, rkey=rkey)
    if dry_run:
        return replace(result, action=Action.REMOVE if record else Action.NOTHING)
    done = services.sync.engine.delete_record(kind.name, account.subject, rkey, holder=str(uuid4()))
    return replace(result, status=done.status, error=done.error)


def _sync(
    services: Services, document: MediaDocument, values: Mapping[str, object], *, dry_run: bool
) -> MediaRecordResult:
    """Sync a document, unless `values` contradict the fields that its type reads."""
    ref, kind = document.ref, media_type(document.ref.type)
    read = {name: values[name] for name in values.keys() & (projection(kind).keys() - {"atproto"})}
    if wrong := ", ".join(sorted(document.fields.differing(read))):
        message = f"{ref} is saved with another {wrong}: save the change to MongoDB first"
        raise MediaRecordError(message, code="document_mismatch")
    if dry_run:
        it, ahead = document.state, preview(services, kind, document)
        saved = (ref.type, ref.id, it.status, ahead.reason, it.uri, it.cid, it.rkey)
        return MediaRecordResult(*saved, ahead.error, ahead.action, ahead.record)
    done = services.sync.engine.sync(ref.type, ref.id, holder=str(uuid4()))
    it = (services.storage.store.find(kind, [ref.id]) or document).state
    result = (ref.type, ref.id, done.status, it.reason if done.status else done.detail)
    return MediaRecordResult(*result, it.uri, it.cid, it.rkey, done.error)


def _check_owner(document: MediaDocument, owner: str) -> None:
    if document.owner != owner:
        message = f"{document.ref} belongs to {document.owner}, not to {owner}"
        raise MediaRecordError(message, code="document_mismatch")
