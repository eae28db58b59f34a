"""Findings of an audit, standings of documents without findings, and messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.core.documents import Account, DocumentId, Failure, MediaDocument, Status, SyncState
from worker.core.errors import PermanentError
from worker.core.records import RecordKey
from worker.media import MediaType
from worker.operations.expected import ExpectedRecords, compare
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.plan import Publish

_MAX_NAMED = 3
_MAX_CHARACTERS = 80
_NOT_WANTED = {
    "guests_not_published": "guests' items of this type are not published",
    "no_account": "its owner has no account",
    "draft": "its document is a draft",
    "not_public": "its document is not public",
}


def explain_unwanted(reason: str) -> str:
    """Describe why a document should have no record, or why it is not published yet."""
    if reason in _NOT_WANTED:
        return _NOT_WANTED[reason]
    missing = reason.removeprefix("no_")
    return f"its document is {reason}" if missing == reason else f"its document has no {missing}"


def describe_state(state: SyncState) -> str:
    """Describe the status in a state."""
    match state.status:
        case None:
            return "never published" if state.rkey is None else "the state has an rkey alone"
        case Status.PENDING:
            return "the state says pending, and no retry is due"
        case status:
            reason = f" ({state.reason})" if state.reason else ""
            return f"the state says {status}{reason}"


def describe_difference(
    expected_records: ExpectedRecords,
    kind: MediaType,
    document: MediaDocument,
    decision: Publish,
    found: StoredRecord | None,
) -> str:
    """Describe how the record `found` differs, or why the record does not exist."""
    try:
        draft = expected_records.draft(kind, document, decision.account)
        value = found.value if found else None
        wanted = expected_records.valid_record(document, draft, value)
    except PermanentError as error:
        return f"it cannot be published: {error.message}"
    if found is None:
        moved = f"; it is to move from {decision.moved_from}" if decision.moved_from else ""
        return describe_state(document.state) + moved
    named = [
        f"{each.field} is {_shorten(each.found)}, not {_shorten(each.wanted)}"
        for each in compare(wanted, found.value)
    ]
    more = f"; and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return "; ".join(named[:_MAX_NAMED]) + more


def _shorten(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


class Fault(StrEnum):
    """The kinds of findings."""

    MISSING = "missing"
    STALE = "stale"
    ORPHANED = "orphaned"
    DUPLICATED = "duplicated"
    BLOB_MISSING = "blob_missing"
    BLOB_TRUNCATED = "blob_truncated"
    STATE_MISMATCH = "state_mismatch"


class DocumentStanding(StrEnum):
    """The audit result of a document without findings, named as in `status`."""

    SYNCED = "synced"
    PENDING = "pending"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"
    NEVER_PUBLISHED = "never_published"


_WRONG = frozenset({DocumentStanding.PARTIAL, DocumentStanding.FAILED})
JUST_SAVED = "just_saved"


class Verdict(StrEnum):
    """The result of an audit.

    WRONG: there are findings, failed or partial items, or not everything was audited. PENDING:
    only items are left that are published automatically.
    """

    CLEAN = "clean"
    PENDING = "pending"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between a document and its record.

    `key` and `record` belong to the existing record, if any. `document` is None if the record has
    no document.
    """

    fault: Fault
    kind: MediaType
    detail: str
    key: RecordKey | None = None
    record: StoredRecord | None = None
    document: MediaDocument | None = None

    @property
    def cid(self) -> str | None:
        return self.record.cid if self.record else None

    @property
    def ref(self) -> str | None:
        """Return the `_id` of the document that the record names, or None."""
        return self.record.ref if self.record else None

    @property
    def about(self) -> str:
        """Return the record's URI, or the document's type and id if no record exists."""
        return self.key.uri if self.key else str(self.document.ref if self.document else "")


def document_ids(findings: Iterable[Finding]) -> set[DocumentId]:
    """Return the ids of all documents in `findings`."""
    return {finding.document.ref.id for finding in findings if finding.document}


Standings = Counter[tuple[DocumentStanding, str]]


def is_wrong(standing: DocumentStanding) -> bool:
    """Return whether documents with this standing need an operator."""
    return standing in _WRONG


def is_pending(standing: DocumentStanding, reason: str) -> bool:
    """Return whether documents with this standing are published automatically."""
    return standing is DocumentStanding.PENDING or reason == JUST_SAVED


@dataclass(frozen=True, slots=True)
class TypeAudit:
    """The audit of one account's documents and records of one type.

    `standings` counts the documents without findings by standing and reason.
    """

    kind: MediaType
    documents: int
    records: int
    standings: Standings
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class AccountAudit:
    """The audit of one account, or of all owners without an account (None).

    `failure` is set if the account could not be audited; `types` is then empty.
    """

    account: Account | None
    types: Sequence[TypeAudit] = ()
    failure: Failure | None = None

    @property
    def findings(self) -> list[Finding]:
        return [finding for audit in self.types for finding in audit.findings]

    @property
    def verdict(self) -> Verdict:
        standings = {each for audit in self.types for each in audit.standings}
        if self.failure or self.findings or any(is_wrong(standing) for standing, _ in standings):
            return Verdict.WRONG
        is_waiting = any(is_pending(*each) for each in standings)
        return Verdict.PENDING if is_waiting else Verdict.CLEAN

    @property
    def signature(self) -> frozenset[tuple[Fault, str]]:
        """Return the fault and the subject of each finding, to compare two audits."""
        return frozenset((finding.fault, finding.about) for finding in self.findings)
