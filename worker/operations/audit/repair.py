"""Repair what an audit has found, with the engine that publishes everything else.

Records that should not exist are removed, states are corrected, and the documents are synced. A
safety limit refuses to delete a large part of a collection. Each step leaves what the next audit
finds, so a repair can stop anywhere and be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from worker.core.clock import after, now
from worker.core.documents import Account, DocumentId, Failure
from worker.core.errors import MediaError
from worker.core.records import RecordKey
from worker.core.redis_errors import RedisUnavailableError
from worker.database.mongo import StoreUnavailableError
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.media import MediaType
from worker.operations.audit.findings import Fault, Finding, TypeAudit
from worker.operations.audit.record_removal import RecordRemoval
from worker.pds.repo import Repo
from worker.sync.batch.engine import BatchEngine, BatchRequest
from worker.sync.run import Observer

_MAX_SHARE = 5  # one in so many: 20%
_ALWAYS = 5  # records; of a small collection, even all
_REMOVED = frozenset({Fault.ORPHANED, Fault.DUPLICATED, Fault.BLOB_MISSING, Fault.BLOB_TRUNCATED})


@dataclass(frozen=True, slots=True)
class RemovalRefusal:
    """Removals that were not made: too large a share of the records of a collection."""

    did: str
    collection: str
    removals: int
    records: int

    @property
    def text(self) -> str:
        """Say what was refused and what to do."""
        share = f"{self.removals} of {self.records} records of {self.collection}"
        return (
            f"{self.did}: to remove {share} is more than 20%: none was removed; "
            "look at the findings, and repeat with --force if they are right"
        )


def is_removal(finding: Finding) -> bool:
    """Tell whether the record of a finding has to be removed, be it to be written again.

    A blob that is missing or cut short is not replaced by an upload while a record refers to it:
    the records go first.
    """
    return finding.fault in _REMOVED and finding.key is not None


def removal_guard(did: str, audit: TypeAudit, findings: Sequence[Finding]) -> RemovalRefusal | None:
    """Return why these removals must not be made unless forced; None if they may."""
    keys: set[RecordKey] = {finding.key for finding in findings if finding.key}
    if len(keys) <= max(_ALWAYS, audit.records // _MAX_SHARE):
        return None
    return RemovalRefusal(did, audit.kind.nsid, len(keys), audit.records)


@dataclass(slots=True)
class Repairs:
    """What was done: records removed, documents synced, documents left to runs that hold them.

    `refusals` are removals that were not made; `failures` say what kept others from being made.
    """

    removed: int = 0
    synced: int = 0
    skipped: int = 0
    refusals: list[RemovalRefusal] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing was refused, and nothing failed."""
        return not self.refusals and not self.failures

    def combined_with(self, later: Repairs) -> Repairs:
        """Return the sum of both; what the later one could do is no more undone."""
        return Repairs(
            self.removed + later.removed,
            self.synced + later.synced,
            later.skipped,
            later.refusals,
            later.failures,
        )


@dataclass(frozen=True, slots=True)
class Repairer:
    """Everything that a repair takes; `holder` names who asks for it."""

    state_updates: StateUpdates
    record_removal: RecordRemoval
    batches: BatchEngine
    open_repo: Callable[[Account], Repo]
    holder: str

    def repair(
        self,
        account: Account | None,
        types: Iterable[TypeAudit],
        *,
        force: bool,
        observer: Observer,
    ) -> Repairs:
        """Put right what was found of an account, or of the owners that have none.

        With `force` any share of a collection is removed. Raises StoreUnavailableError and
        RedisUnavailableError; what else goes wrong is told.
        """
        repairs = Repairs()
        for audit in types:
            others = [finding for finding in audit.findings if not is_removal(finding)]
            if account:
                orphaned_documents = list(self._remove(account, audit, repairs, force, observer))
                self._sync(None, audit.kind, orphaned_documents, repairs, observer)
            self._sync(account, audit.kind, others, repairs, observer)
        return repairs

    def _remove(
        self,
        account: Account,
        audit: TypeAudit,
        repairs: Repairs,
        force: bool,  # noqa: FBT001
        observer: Observer,
    ) -> Iterator[Finding]:
        """Remove what has to go; yield the findings whose documents have lost their records."""
        going = [finding for finding in audit.findings if is_removal(finding)]
        if not force and (refused := removal_guard(account.did, audit, going)):
            repairs.refusals.append(refused)
            return
        try:
            for removed in self.record_removal.remove(self.open_repo(account), audit.kind, going):
                repairs.removed += removed.records
                observer(f"{repairs.removed} records removed")
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
        observer: Observer,
    ) -> None:
        """Sync the documents of findings; if they are of an account, correct their states before.

        A batch at a time, so that no sweep finds many that have been pending for long.
        """
        for owner, theirs in _by_owner(findings).items():
            waiting = iter(theirs.values())
            while batch := list(islice(waiting, kind.batch)):
                if account:
                    state_updates = [c for f in batch if (c := _state_update(account.did, f))]
                    until = after(self.record_removal.lease)
                    self.state_updates.apply(kind, state_updates, retry_at=until)
                ids = [finding.document.ref.id for finding in batch if finding.document]
                outcomes = self.batches.sync(BatchRequest(kind, owner, ids, self.holder))
                held = sum(outcome.status is None for outcome in outcomes)
                repairs.synced += len(ids) - held
                repairs.skipped += held
                observer(f"{repairs.synced} documents synced")


def _by_owner(findings: Sequence[Finding]) -> Mapping[str, dict[DocumentId, Finding]]:
    """Return a finding for each document, by its owner and `_id`."""
    owners: dict[str, dict[DocumentId, Finding]] = defaultdict(dict)
    for finding in findings:
        if finding.document:
            owners[finding.document.owner][finding.document.ref.id] = finding
    return owners


def _state_update(did: str, finding: Finding) -> StateUpdate | None:
    """Return what a document's state has to say, None if it does, or will by being synced."""
    if finding.document is None:
        return None
    state = finding.document.state
    if finding.key:
        said = (state.repo, state.rkey, state.uri, state.cid)
        if said == (did, finding.key.rkey, finding.key.uri, finding.cid):
            return None
        return StateUpdate(finding.document, did, finding.key.rkey, finding.cid)
    if finding.fault is Fault.MISSING and state.rkey and state.repo in {None, did}:
        return StateUpdate(finding.document, did, state.rkey, None) if state.cid else None
    return None
