"""Repair the findings of an audit.

A repair removes records that should not exist, corrects states, and syncs documents with
`BatchEngine`. A safety limit refuses to remove a large share of a collection. After an interrupted
repair, a new audit and repair can complete it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from worker.core.clock import after, now
from worker.core.documents import Account, DocumentId, Failure, Status
from worker.core.errors import MediaError
from worker.core.records import RecordKey
from worker.core.redis_errors import RedisUnavailableError
from worker.database.mongo import StoreUnavailableError
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.media import MediaType
from worker.media.validation import Lexicons
from worker.operations.audit.findings import Fault, Finding, TypeAudit, document_ids
from worker.operations.audit.record_removal import RecordRemoval, is_orphaned
from worker.pds.repo import Repo
from worker.sync.batch.engine import BatchEngine, BatchRequest
from worker.sync.existing_records import adopt_blobs, is_adopted
from worker.sync.run import Observer

_MAX_SHARE = 5  # one in five: 20%
_ALWAYS = 5  # records that may always be removed, from small collections too
_REMOVED = frozenset({Fault.ORPHANED, Fault.DUPLICATED, Fault.BLOB_MISSING, Fault.BLOB_TRUNCATED})


@dataclass(frozen=True, slots=True)
class RemovalRefusal:
    """A refusal to remove too large a share of a collection's records."""

    did: str
    collection: str
    removals: int
    records: int

    @property
    def text(self) -> str:
        share = f"{self.removals} of {self.records} records of {self.collection}"
        return (
            f"{self.did}: to remove {share} is more than 20%: none was removed; "
            "look at the findings, and repeat with --force if they are right"
        )


def is_removal(finding: Finding) -> bool:
    """Return whether repairing a finding removes its record.

    A record with a missing or truncated blob is removed and written again, because an upload does
    not replace a blob while a record refers to it.
    """
    return finding.fault in _REMOVED and finding.key is not None


def removal_guard(did: str, audit: TypeAudit, findings: Sequence[Finding]) -> RemovalRefusal | None:
    """Return a refusal if removing `findings` exceeds the safety limit, else None."""
    keys: set[RecordKey] = {finding.key for finding in findings if finding.key}
    if len(keys) <= max(_ALWAYS, audit.records // _MAX_SHARE):
        return None
    return RemovalRefusal(did, audit.kind.nsid, len(keys), audit.records)


@dataclass(slots=True)
class Repairs:
    """The results of a repair: the number of removed records, and of documents by new status.

    `skipped` counts documents that were not synced, for example because another run holds them.
    `failures` are errors that stopped removals.
    """

    removed: int = 0
    documents: Counter[Status] = field(default_factory=Counter)
    skipped: int = 0
    refusals: list[RemovalRefusal] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def synced(self) -> int:
        return self.documents[Status.SYNCED]

    @property
    def is_whole(self) -> bool:
        """Return whether no removal was refused or stopped by an error."""
        return not self.refusals and not self.failures

    def combined_with(self, later: Repairs) -> Repairs:
        """Return `later` with the `removed` and `documents` of both repairs added up."""
        removed, documents = self.removed + later.removed, self.documents + later.documents
        return replace(later, removed=removed, documents=documents)


def plan_repairs(account: Account | None, types: Iterable[TypeAudit], *, force: bool) -> Repairs:
    """Count what a repair would remove and sync, without changing anything."""
    planned = Repairs()
    for audit in types:
        removals = [finding for finding in audit.findings if is_removal(finding)]
        to_sync = [finding for finding in audit.findings if not is_removal(finding)]
        if account:
            refused = None if force else removal_guard(account.did, audit, removals)
            if refused:
                planned.refusals.append(refused)
            else:
                planned.removed += len({each.key for each in removals})
                to_sync += [each for each in removals if each.key and is_orphaned(each, each.key)]
        planned.documents[Status.SYNCED] += len(document_ids(to_sync))
    return planned


@dataclass(frozen=True, slots=True)
class Repairer:
    """Repairs findings; `holder` names its leases, `force` lifts the safety limit."""

    state_updates: StateUpdates
    record_removal: RecordRemoval
    batches: BatchEngine
    open_repo: Callable[[Account], Repo]
    lexicons: Lexicons
    holder: str
    force: bool
    observer: Observer

    def repair(self, account: Account | None, types: Iterable[TypeAudit]) -> Repairs:
        """Repair the findings of one account.

        With None, repair those of owners without an account. Errors of record removals are in the
        result, except StoreUnavailableError and RedisUnavailableError. Raises as `BatchEngine.sync`
        does.
        """
        repairs = Repairs()
        for audit in types:
            others = [finding for finding in audit.findings if not is_removal(finding)]
            if account:
                orphaned = list(self._remove(account, audit, repairs))
                self._sync(None, audit.kind, orphaned, repairs)
            self._sync(account, audit.kind, others, repairs)
        return repairs

    def _remove(self, account: Account, audit: TypeAudit, repairs: Repairs) -> Iterator[Finding]:
        """Remove records; yield the findings of documents to sync again."""
        removals = [finding for finding in audit.findings if is_removal(finding)]
        if not self.force and (refused := removal_guard(account.did, audit, removals)):
            repairs.refusals.append(refused)
            return
        repo = self.open_repo(account)
        try:
            for removed in self.record_removal.remove(repo, audit.kind, removals):
                repairs.removed += removed.records
                self.observer(f"{repairs.removed} records removed")
                yield from removed.orphaned_documents
        except (StoreUnavailableError, RedisUnavailableError):
            raise
        except MediaError as error:
            repairs.failures.append(Failure.of(error, now()))

    def _sync(
        self,
        account: Account | None,
        kind: MediaType,
        findings: Sequence[Finding],
        repairs: Repairs,
    ) -> None:
        """Sync the documents of findings; with an account, correct their states first.

        States are corrected in batches, so that a sweep finds only few pending items.
        """
        for owner, owned in _by_owner(findings).items():
            remaining = iter(owned.values())
            while batch := list(islice(remaining, kind.batch)):
                if account:
                    state_updates = [u for f in batch if (u := self._state_update(account.did, f))]
                    until = after(self.record_removal.lease)
                    self.state_updates.apply(kind, state_updates, retry_at=until)
                ids = [finding.document.ref.id for finding in batch if finding.document]
                outcomes = self.batches.sync(BatchRequest(kind, owner, ids, self.holder))
                repairs.skipped += sum(outcome.status is None for outcome in outcomes)
                repairs.documents.update(each.status for each in outcomes if each.status)
                self.observer(f"{repairs.documents.total()} documents processed")

    def _state_update(self, did: str, finding: Finding) -> StateUpdate | None:
        """Build the update that corrects a state; None if the sync needs no update."""
        if finding.document is None:
            return None
        state = finding.document.state
        if finding.key and finding.record:
            claimed = (state.repo, state.rkey, state.uri, state.cid)
            if claimed == (did, finding.key.rkey, finding.key.uri, finding.cid):
                return None
            rules = self.lexicons.blob_rules(finding.kind.nsid)
            blobs = adopt_blobs(finding.record.value, rules, state.blobs)
            return StateUpdate(
                finding.document, did, finding.key.rkey, finding.cid, blobs, is_adopted(state)
            )
        if finding.fault is Fault.MISSING and state.rkey and state.repo in {None, did}:
            return StateUpdate(finding.document, did, state.rkey, None) if state.cid else None
        return None


def _by_owner(findings: Sequence[Finding]) -> Mapping[str, dict[DocumentId, Finding]]:
    """Group findings by owner and document `_id`; keep one per document."""
    owners: dict[str, dict[DocumentId, Finding]] = defaultdict(dict)
    for finding in findings:
        if finding.document:
            owners[finding.document.owner][finding.document.ref.id] = finding
    return owners
