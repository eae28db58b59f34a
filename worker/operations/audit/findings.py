"""Findings of an audit, the status of all other documents, and the messages for both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.core.documents import Account, Failure, MediaDocument, Status, SyncState
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
}


def explain_unwanted(reason: str) -> str:
    """Say why there should be no record of a document."""
    return _NOT_WANTED.get(reason, f"its document is {reason}")


def describe_state(state: SyncState) -> str:
    """Say what a state claims."""
    match state.status:
        case None:
            return "never published" if state.rkey is None else "the state has an rkey alone"
        case Status.PENDING:
            return "the state says pending, and nothing will try it"
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
    """Say why a document's record is not, or not as it should be, in the repo."""
    try:
        draft = expected_records.draft(kind, document, decision.account)
        wanted = expected_records.valid_record(document, draft)
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
    """What can be wrong with a document, a record, or what is said of them."""

    MISSING = "missing"
    STALE = "stale"
    ORPHANED = "orphaned"
    DUPLICATED = "duplicated"
    BLOB_MISSING = "blob_missing"
    BLOB_TRUNCATED = "blob_truncated"
    STATE_MISMATCH = "state_lies"


class DocumentStanding(StrEnum):
    """Where a document stands about which nothing is wrong that nobody knows of."""

    RIGHT = "right"
    WAITING = "waiting"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    `key` is the record's, None where there is none; `cid` is the CID of the record
    that is there and `ref` the document that it names. `document` is None when it has none.
    """

    fault: Fault
    kind: MediaType
    detail: str
    key: RecordKey | None = None
    cid: str | None = None
    ref: str | None = None
    document: MediaDocument | None = None

    @property
    def about(self) -> str:
        """Name the record, or the document that has none."""
        return self.key.uri if self.key else str(self.document.ref if self.document else "")


Standings = Counter[tuple[DocumentStanding, str]]


@dataclass(frozen=True, slots=True)
class TypeAudit:
    """An audit of one account's documents and records of one type.

    `standings` counts documents by standing and reason, those of findings left out.
    """

    kind: MediaType
    documents: int
    records: int
    standings: Standings
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class AccountAudit:
    """An audit of one account, or with None as account, of all owners that have none.

    `failure` says why the account's repo could not be read; then nothing else is known.
    """

    account: Account | None
    types: Sequence[TypeAudit] = ()
    failure: Failure | None = None

    @property
    def findings(self) -> list[Finding]:
        """Return the findings of all types."""
        return [finding for audit in self.types for finding in audit.findings]

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found, and all was looked at."""
        return self.failure is None and not self.findings

    @property
    def signature(self) -> frozenset[tuple[Fault, str]]:
        """Return what tells this audit's findings from those of another look."""
        return frozenset((finding.fault, finding.about) for finding in self.findings)
