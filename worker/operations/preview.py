"""Find out what a sync of a document would do, without changing anything."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from worker.core.cid import cid_of_record
from worker.core.clock import now
from worker.core.current import is_current, optional_additions
from worker.core.documents import Failure, MediaDocument, Status
from worker.core.errors import PermanentError
from worker.media import MediaType
from worker.operations.expected import ExpectedRecords, Record
from worker.services import Services
from worker.sync.plan import Nothing, Publish, Remove, Skip, plan


class Action(StrEnum):
    """What a sync would do."""

    PUBLISH = "publish"
    REMOVE = "remove"
    SKIP = "skip"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sync would do; `error` is the fault of a document that cannot be published.

    `record` has the texts of the document, and the blobs and links of files that are saved on it.
    Those of a sync may differ, because a preview does not read files.
    """

    action: Action
    reason: str | None = None
    record: Record | None = None
    error: Failure | None = None


def preview(services: Services, kind: MediaType, document: MediaDocument) -> Preview:
    """Return what a sync of a document would do; raises StoreUnavailableError."""
    if document.fault:
        return _invalid(document.fault)
    accounts = services.storage.accounts
    account = accounts.find(document.owner)
    match plan(kind, document, account):
        case Publish() as decision:
            return _preview_publication(services, kind, document, decision)
        case Remove(key=key):
            if accounts.by_did(key.repo):
                return Preview(Action.REMOVE)
            return Preview(Action.SKIP, document.hidden if account else "no_account")
        case Skip(reason=reason):
            return Preview(Action.SKIP, reason)
        case Nothing():
            return Preview(Action.NOTHING)


def _preview_publication(
    services: Services, kind: MediaType, document: MediaDocument, decision: Publish
) -> Preview:
    expected = ExpectedRecords(services.media.site, services.media.lexicons)
    state, account = document.state, decision.account
    try:
        record = expected.valid_record(document, expected.draft(kind, document, account))
    except PermanentError as error:
        return _invalid(error)
    additions = optional_additions(kind.additions, document)
    current = is_current(state.cid, cid_of_record(record), record, additions)
    is_done = current and state.status is Status.SYNCED and decision.moved_from is None
    return Preview(Action.NOTHING if is_done else Action.PUBLISH, record=record)


def _invalid(error: PermanentError) -> Preview:
    return Preview(Action.NOTHING, error=Failure.of(error, now()))
