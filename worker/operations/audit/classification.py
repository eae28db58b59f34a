"""Classify a document by its state and records.

A difference is a finding only if the state does not explain it. Documents with known failures,
pending retries and skipped items get a standing with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from worker.core.clock import now
from worker.core.documents import MediaDocument, Status, SyncState
from worker.core.records import RecordKey
from worker.database.state import RESET_REASONS
from worker.media import MediaType
from worker.operations.audit.findings import (
    JUST_SAVED,
    DocumentStanding,
    Fault,
    Finding,
    describe_difference,
    describe_state,
    explain_unwanted,
)
from worker.operations.audit.matching import Expected, Match
from worker.operations.expected import ExpectedRecords
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.plan import Publish, Skip

_AT_WORK = "at_work"
_UNPUBLISHED: Mapping[Status | None, DocumentStanding] = {
    None: DocumentStanding.NEVER_PUBLISHED,
    Status.SKIPPED: DocumentStanding.SKIPPED,
    Status.REMOVED: DocumentStanding.REMOVED,
}


@dataclass(frozen=True, slots=True)
class Classification:
    """The findings about a document, or its standing with a reason.

    `is_current` means that the record is the expected one, and that no run is pending.
    """

    standing: tuple[DocumentStanding, str] | None = None
    findings: Sequence[Finding] = ()
    is_current: bool = False


SYNCED = Classification((DocumentStanding.SYNCED, ""), is_current=True)


def _classify_waiting(state: SyncState, reason: str) -> Classification:
    """Classify a document that a run is expected to publish.

    A partial one stays partial while it is retried: a file is missing on the PDS until then.
    """
    if state.status is Status.PARTIAL and reason != _AT_WORK:
        return Classification((DocumentStanding.PARTIAL, reason))
    if reason == JUST_SAVED:
        return Classification((DocumentStanding.NEVER_PUBLISHED, reason))
    return Classification((DocumentStanding.PENDING, reason))


@dataclass(frozen=True, slots=True)
class Classifier:
    """Classifies documents of one type by the records in the repo `did`.

    `did` is empty for owners without an account. `started` is the start of the audit. A document
    attempted or synced after it counts as being processed. A document saved less than `grace`
    seconds before it may still be unpublished.
    """

    kind: MediaType
    did: str
    expected_records: ExpectedRecords
    started: datetime
    grace: float

    def classify(self, match: Match) -> Classification:
        plan, document = match.expected.plan, match.expected.document
        state = document.state
        if not isinstance(plan, Publish):
            reason = document.hidden or (plan.reason if isinstance(plan, Skip) else "")
            keeps_record = isinstance(plan, Skip) and plan.keeps_record
            unwanted = Match(match.expected, None) if keeps_record else match
            return self._classify_unwanted(unwanted, reason, explain_unwanted(reason))
        if state.status is Status.REMOVED and state.reason in RESET_REASONS:
            return self._classify_unwanted(match, state.reason, f"its document was {state.reason}")
        return self._classify_wanted(match, plan)

    def waiting_reason(self, document: MediaDocument) -> str:
        """Return why a run of the document is expected; "" if none is expected."""
        state, item = document.state, document.ref.id
        held = state.lease is not None and state.lease.until > now()
        times = (state.attempted_at, state.synced_at)
        if held or any(moment is not None and moment >= self.started for moment in times):
            return _AT_WORK
        if state.retry_at is not None:
            return state.error.code if state.error else "queued"
        if self.grace and state.status is None and isinstance(item, ObjectId):
            age = (self.started - item.generation_time).total_seconds()
            return JUST_SAVED if age < self.grace else ""
        return ""

    def _classify_wanted(self, match: Match, plan: Publish) -> Classification:
        own, document = match.own, match.expected.document
        current = own is not None and self._is_current(match.expected, plan, own)
        mismatch = self._find_mismatch(document.state, own) if own else ""
        synced = document.state.status is Status.SYNCED
        if current and synced and not mismatch and not match.duplicates:
            return SYNCED
        if waiting := self.waiting_reason(document):
            return _classify_waiting(document.state, waiting)
        if current:
            verdict = self._classify_current(match, mismatch)
        else:
            verdict = self._classify_other(match, plan)
        kept = f"{self._key(own).uri} is kept" if own else ""
        duplicates = [
            self.finding(Fault.DUPLICATED, kept, record, document) for record in match.duplicates
        ]
        return Classification(verdict.standing, [*verdict.findings, *duplicates], current)

    def _is_current(self, expected: Expected, plan: Publish, own: StoredRecord) -> bool:
        if expected.cid is None or expected.cid == own.cid:
            return expected.cid is not None
        document, account = expected.document, plan.account
        return self.expected_records.is_current(self.kind, document, account, own)

    def _classify_current(self, match: Match, mismatch: str) -> Classification:
        """Classify a document with a current record by its state."""
        document, state = match.expected.document, match.expected.document.state
        if not mismatch and state.status is Status.SYNCED:
            return SYNCED
        if not mismatch and state.status is Status.PARTIAL and state.error:
            return Classification((DocumentStanding.PARTIAL, state.error.code))
        detail = mismatch or describe_state(state)
        return self._one(Fault.STATE_MISMATCH, detail, match.own, document)

    def _classify_other(self, match: Match, plan: Publish) -> Classification:
        """Classify a document with a missing or stale record."""
        own, document = match.own, match.expected.document
        state = document.state
        if state.status is Status.FAILED and state.error:
            return Classification((DocumentStanding.FAILED, state.error.code))
        detail = describe_difference(self.expected_records, self.kind, document, plan, own)
        return self._one(Fault.STALE if own else Fault.MISSING, detail, own, document)

    def _classify_unwanted(self, match: Match, reason: str, why: str) -> Classification:
        """Classify a document that should have no record, except one that it keeps."""
        document, state = match.expected.document, match.expected.document.state
        if waiting := self.waiting_reason(document):
            return _classify_waiting(state, waiting)
        if state.status is Status.FAILED and state.error:
            return Classification((DocumentStanding.FAILED, state.error.code))
        if records := [record for record in (match.own, *match.duplicates) if record]:
            orphans = [self.finding(Fault.ORPHANED, why, record, document) for record in records]
            return Classification(findings=orphans)
        if standing := _UNPUBLISHED.get(state.status):
            saved = state.reason if state.status is Status.REMOVED else None
            return Classification((standing, saved or reason))
        detail = f"{describe_state(state)}, and {why}"
        return self._one(Fault.STATE_MISMATCH, detail, None, document)

    def _find_mismatch(self, state: SyncState, own: StoredRecord) -> str:
        """Describe the fields of `state` that differ from the record `own`; "" if none."""
        uri = f"at://{self.did}/{self.kind.nsid}/{own.rkey}"
        actual = (self.did, own.rkey, uri, own.cid)
        claimed = (state.repo, state.rkey, state.uri, state.cid)
        if claimed == actual:
            return ""
        fields = zip(("repo", "rkey", "uri", "cid"), actual, claimed, strict=True)
        return ", ".join(f"{name} is {c or 'absent'}" for name, a, c in fields if a != c)

    def _one(
        self, fault: Fault, detail: str, own: StoredRecord | None, document: MediaDocument
    ) -> Classification:
        return Classification(findings=[self.finding(fault, detail, own, document)])

    def finding(
        self, fault: Fault, detail: str, own: StoredRecord | None, document: MediaDocument | None
    ) -> Finding:
        """Build a finding about a record, its document, or both."""
        if own is None:
            return Finding(fault, self.kind, detail, document=document)
        return Finding(fault, self.kind, detail, self._key(own), own, document)

    def _key(self, record: StoredRecord) -> RecordKey:
        return RecordKey(self.did, self.kind.nsid, record.rkey)
