"""Audit accounts, repair the findings, audit again, and sum up the results."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from worker.core.clock import now
from worker.core.documents import Account, Failure, Status
from worker.core.errors import MediaError
from worker.core.redis_errors import RedisUnavailableError
from worker.database.mongo import StoreUnavailableError
from worker.database.state_updates import StateUpdates
from worker.media import MediaType
from worker.operations.audit.auditor import Auditor
from worker.operations.audit.findings import (
    AccountAudit,
    DocumentStanding,
    Fault,
    Finding,
    Verdict,
    is_pending,
)
from worker.operations.audit.orphans import OrphanFinder
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.audit.record_removal import RecordRemoval
from worker.operations.audit.repair import Repairer, Repairs
from worker.operations.audit.repo_reader import BlobReader, RepoReader, Waiter
from worker.operations.expected import ExpectedRecords
from worker.pds.record_deleter import RecordDeleter
from worker.services import Services
from worker.sync.run import Observer, ignore_step

# A PDS deletes a blob file some time after the last record that refers to it, even if the blob was
# uploaded again meanwhile. A repair can also cause findings that only the next audit reports.
_MAX_ROUNDS = 3
_MAX_KEPT = 20


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The last audit of an account, and the repairs before it, if requested.

    In a dry run, `repairs` are those that would be made after the audit.
    """

    audit: AccountAudit
    repairs: Repairs | None = None

    @property
    def verdict(self) -> Verdict:
        """Return the result of the last audit; WRONG if the repairs are not complete."""
        is_whole = self.repairs is None or self.repairs.is_whole
        return self.audit.verdict if is_whole else Verdict.WRONG


@dataclass(frozen=True, slots=True)
class AuditRun:
    """Audits accounts, and repairs their findings if `repairer` is set.

    An error of one account is the `failure` of its result. Methods raise StoreUnavailableError,
    RedisUnavailableError, and the error of an account if the platform's own PDS is down.
    """

    auditor: Auditor
    repairer: Repairer | None

    def audit(self, accounts: Sequence[Account] | None) -> Iterator[AuditResult]:
        """Audit `accounts`; None means all accounts and all owners without one."""
        every = self.auditor.documents.accounts() if accounts is None else accounts
        for number, account in enumerate(every, start=1):
            self.auditor.observer(f"account {number}, {account.handle}")
            yield self.of_account(account)
        if accounts is None:
            self.auditor.observer("documents of owners without an account")
            yield self.of_others()

    def of_account(self, account: Account) -> AuditResult:
        self.auditor.repo_reader.waiter.begin_account()
        return self._audit_and_repair(account, lambda: self.auditor.audit(account))

    def of_others(self) -> AuditResult:
        return self._audit_and_repair(None, self.auditor.audit_others)

    def _audit_and_repair(
        self, account: Account | None, run_audit: Callable[[], AccountAudit]
    ) -> AuditResult:
        repairs = Repairs() if self.repairer else None
        try:
            audit = run_audit()
            for _ in range(_MAX_ROUNDS):
                if self.repairer is None or repairs is None or not audit.findings:
                    break
                before = audit.signature
                repairs = repairs.combined_with(self.repairer.repair(account, audit.types))
                audit = run_audit()
                if audit.signature == before:
                    break
        except (StoreUnavailableError, RedisUnavailableError):
            raise
        except MediaError as error:
            if account and self.auditor.repo_reader.is_own_pds_down(account.did):
                raise
            audit = AccountAudit(account, failure=Failure.of(error, now()))
        return AuditResult(audit, repairs)


@contextmanager
def open_audit(
    services: Services,
    kinds: Sequence[MediaType],
    *,
    blobs: bool = True,
    repair: bool = False,
    force: bool = False,
    observer: Observer = ignore_step,
) -> Iterator[AuditRun]:
    """Yield an AuditRun for `kinds`; `blobs` enables blob checks, `repair` repairs.

    `force` lifts the safety limit on removals by a repair.
    """
    storage, pds, media = services.storage, services.pds, services.media
    waiter, own_pds, trusted = Waiter(), services.settings.pds.url, services.settings.pds.trusted
    with closing(BlobReader(pds.client_of, trusted, waiter)) as blob_reader:
        auditor = Auditor(
            documents=OwnedDocuments(storage.database, storage.store, storage.accounts),
            orphan_finder=OrphanFinder(storage.store, storage.accounts),
            repo_reader=RepoReader(pds.client_of, blob_reader, waiter, own_pds),
            expected_records=ExpectedRecords(media.site, media.lexicons),
            kinds=kinds,
            blobs=blobs,
            grace=services.settings.sweep.grace,
            observer=observer,
        )
        yield AuditRun(auditor, _repairer(services, observer, force=force) if repair else None)


def _repairer(services: Services, observer: Observer, *, force: bool) -> Repairer:
    lease = services.settings.retry.lease
    store, record_deleter = services.storage.store, RecordDeleter(services.pds.locks)
    state_updates = StateUpdates(store)
    return Repairer(
        state_updates=state_updates,
        record_removal=RecordRemoval(store, state_updates, record_deleter, lease),
        batches=services.sync.batches,
        open_repo=services.pds.repo,
        lexicons=services.media.lexicons,
        holder=f"audit {socket.gethostname()}:{os.getpid()}",
        force=force,
        observer=observer,
    )


@dataclass(slots=True)
class AuditSummary:
    """Totals of the results so far; stores nothing for each clean account.

    `verdict` is the worst of them. `first` holds the first findings. `unreadable` lists accounts
    that could not be audited, and `undone` lists refused or failed repairs, with the reasons.
    """

    accounts: int = 0
    verdict: Verdict = Verdict.CLEAN
    documents: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    standings: Counter[tuple[str, DocumentStanding, str]] = field(default_factory=Counter)
    faults: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    first: list[Finding] = field(default_factory=list)
    unreadable: list[tuple[Account | None, Failure]] = field(default_factory=list)
    undone: list[tuple[Account | None, str]] = field(default_factory=list)
    removed: int = 0
    repaired: Counter[Status] = field(default_factory=Counter)
    skipped: int = 0

    def add(self, audited: AuditResult) -> None:
        audit = audited.audit
        self.accounts += audit.account is not None
        self.verdict = max(self.verdict, audited.verdict, key=list(Verdict).index)
        if audit.failure:
            self.unreadable.append((audit.account, audit.failure))
        for each in audit.types:
            name = each.kind.name
            self.documents[name] += each.documents
            self.records[name] += each.records
            for (standing, reason), count in each.standings.items():
                self.standings[name, standing, reason] += count
            self.faults.update((finding.fault, name) for finding in each.findings)
        self.first += audit.findings[: _MAX_KEPT - len(self.first)]
        if audited.repairs:
            self._add_repairs(audit.account, audited.repairs)

    @property
    def found(self) -> int:
        return self.faults.total()

    def count(self, *standings: DocumentStanding) -> int:
        """Return the number of documents with these standings."""
        return sum(n for (_, standing, _), n in self.standings.items() if standing in standings)

    @property
    def pending(self) -> int:
        """Return the number of documents that are published automatically."""
        counts = self.standings.items()
        return sum(n for (_, standing, reason), n in counts if is_pending(standing, reason))

    def _add_repairs(self, account: Account | None, repairs: Repairs) -> None:
        self.removed += repairs.removed
        self.repaired.update(repairs.documents)
        self.skipped += repairs.skipped
        texts = [refusal.text for refusal in repairs.refusals]
        texts += [f"{failure.step}: {failure.message}" for failure in repairs.failures]
        self.undone += [(account, text) for text in texts]
