"""What is wrong with one document and its records, or where it stands. Pure.

Only what nobody knows of is wrong. A failure that the document tells of, an item that waits for
its next try and one that has nothing to publish are counted with the reason, not found fault
with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from worker.core.clock import now
from worker.core.current import is_current
from worker.core.documents import MediaDocument, Status, SyncState
from worker.core.records import RecordKey
from worker.database.state import ResetMode
from worker.media import MediaType
from worker.operations.audit.findings import (
    DocumentStanding,
    Fault,
    Finding,
    describe_difference,
    describe_state,
    explain_unwanted,
)
from worker.operations.audit.matching import Match
from worker.operations.expected import ExpectedRecords
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.plan import Publish, Skip

WIPED = frozenset(mode.value for mode in ResetMode)


@dataclass(frozen=True, slots=True)
class Classification:
    """Findings, or the standing of a document and the reason for it.

    `is_current` tells that its record is the one that should be there, and that no run is at it.
    """

    standing: tuple[DocumentStanding, str] | None = None
    findings: Sequence[Finding] = ()
    is_current: bool = False


RIGHT = Classification((DocumentStanding.RIGHT, ""), is_current=True)


@dataclass(frozen=True, slots=True)
class Classifier:
    """Judges the documents of one type by the records of one repo; without a DID there are none.

    What a run has held since `started` is in its hands; what was saved less than `grace` seconds
    before that is on its way.
    """

    kind: MediaType
    did: str
    expected_records: ExpectedRecords
    started: datetime
    grace: float

    def classify(self, match: Match) -> Classification:
        """Judge a document and its records."""
        plan, state = match.expected.plan, match.expected.document.state
        if not isinstance(plan, Publish):
            reason = match.expected.document.takedown_flag or (
                plan.reason if isinstance(plan, Skip) else ""
            )
            return self._classify_unwanted(match, reason, explain_unwanted(reason))
        if state.status is Status.REMOVED and state.reason in WIPED:
            return self._classify_unwanted(match, state.reason, f"its document was {state.reason}")
        return self._classify_wanted(match, plan)

    def orphan(self, record: StoredRecord, why: str, document: MediaDocument | None) -> Finding:
        """Return the finding of a record that should not be there."""
        return self.finding(Fault.ORPHANED, why, record, document)

    def waiting_reason(self, document: MediaDocument) -> str:
        """Return what an item waits for that will be seen to; an empty text if it does not."""
        state, item = document.state, document.ref.id
        held = state.lease is not None and state.lease.until > now()
        if held or (state.attempted_at is not None and state.attempted_at >= self.started):
            return "at_work"
        if state.retry_at is not None:
            return state.error.code if state.error else "queued"
        if self.grace and state.status is None and isinstance(item, ObjectId):
            age = (self.started - item.generation_time).total_seconds()
            return "just_saved" if age < self.grace else ""
        return ""

    def _classify_wanted(self, match: Match, plan: Publish) -> Classification:
        own, document = match.own, match.expected.document
        current = own is not None and is_current(own.cid, match.expected.current_cids)
        mismatch = self._find_mismatch(document.state, own) if own else ""
        if (
            current
            and not mismatch
            and not match.duplicates
            and document.state.status is Status.SYNCED
        ):
            return RIGHT
        if waiting := self.waiting_reason(document):
            return Classification((DocumentStanding.WAITING, waiting))
        if current:
            verdict = self._classify_current(document, own, mismatch)
        else:
            verdict = self._classify_other(match, plan)
        duplicates = [self._duplicate(duplicate, document, own) for duplicate in match.duplicates]
        return Classification(verdict.standing, [*verdict.findings, *duplicates], current)

    def _classify_current(
        self, document: MediaDocument, own: StoredRecord | None, mismatch: str
    ) -> Classification:
        """Judge what the state says of a record that is as it should be."""
        state = document.state
        if not mismatch and state.status is Status.SYNCED:
            return RIGHT
        if not mismatch and state.status is Status.PARTIAL and state.error:
            return Classification((DocumentStanding.PARTIAL, state.error.code))
        return self._one(Fault.STATE_MISMATCH, mismatch or describe_state(state), own, document)

    def _classify_other(self, match: Match, plan: Publish) -> Classification:
        """Judge a document whose record is not there, or not as it should be."""
        own, document = match.own, match.expected.document
        state = document.state
        if state.status is Status.FAILED and state.error:
            return Classification((DocumentStanding.FAILED, state.error.code))
        detail = describe_difference(self.expected_records, self.kind, document, plan, own)
        return self._one(Fault.STALE if own else Fault.MISSING, detail, own, document)

    def _classify_unwanted(self, match: Match, reason: str, why: str) -> Classification:
        """Judge a document that should have no record."""
        document, state = match.expected.document, match.expected.document.state
        if waiting := self.waiting_reason(document):
            return Classification((DocumentStanding.WAITING, waiting))
        if state.status is Status.FAILED and state.error:
            return Classification((DocumentStanding.FAILED, state.error.code))
        if records := [record for record in (match.own, *match.duplicates) if record]:
            return Classification(
                findings=[self.orphan(record, why, document) for record in records]
            )
        if state.status is Status.REMOVED:
            return Classification((DocumentStanding.REMOVED, state.reason or reason))
        if state.status in {None, Status.SKIPPED}:
            return Classification((DocumentStanding.SKIPPED, reason))
        return self._one(
            Fault.STATE_MISMATCH, f"{describe_state(state)}, and {why}", None, document
        )

    def _find_mismatch(self, state: SyncState, own: StoredRecord) -> str:
        """Return what a state says wrongly of the record that is there."""
        uri = f"at://{self.did}/{self.kind.nsid}/{own.rkey}"
        there = (self.did, own.rkey, uri, own.cid)
        said = (state.repo, state.rkey, state.uri, state.cid)
        if said == there:
            return ""
        named = zip(("repo", "rkey", "uri", "cid"), there, said, strict=True)
        return ", ".join(f"{name} is {wrong or 'absent'}" for name, r, wrong in named if wrong != r)

    def _duplicate(
        self, duplicate: StoredRecord, document: MediaDocument, own: StoredRecord | None
    ) -> Finding:
        kept = f"{self._key(own).uri} is kept" if own else "none is kept"
        return self.finding(Fault.DUPLICATED, kept, duplicate, document)

    def _one(
        self, fault: Fault, detail: str, own: StoredRecord | None, document: MediaDocument
    ) -> Classification:
        return Classification(findings=[self.finding(fault, detail, own, document)])

    def finding(
        self, fault: Fault, detail: str, own: StoredRecord | None, document: MediaDocument | None
    ) -> Finding:
        """Return a finding about a record, if there is one, and its document, if it has one."""
        if own is None:
            return Finding(fault, self.kind, detail, document=document)
        return Finding(fault, self.kind, detail, self._key(own), own.cid, own.ref, document)

    def _key(self, record: StoredRecord) -> RecordKey:
        return RecordKey(self.did, self.kind.nsid, record.rkey)
