"""Audit one account: compare its documents in MongoDB with its exported repo."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from worker.core.clock import now
from worker.core.documents import Account, DocumentId, MediaDocument
from worker.media import MediaType
from worker.operations.audit.blobs import check_blobs
from worker.operations.audit.classification import Classifier
from worker.operations.audit.findings import (
    AccountAudit,
    Finding,
    Standings,
    TypeAudit,
    document_ids,
)
from worker.operations.audit.matching import Expected, Match, StoredRecords, match_records
from worker.operations.audit.orphans import OrphanFinder
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.audit.repo_reader import RepoReader
from worker.operations.expected import ExpectedRecords
from worker.sync.plan import Publish, plan
from worker.sync.run import Observer


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Disable the cyclic garbage collector while a repo is in memory.

    The collector would traverse all records and documents several times. That takes a third of an
    audit's time and frees nothing, because these objects contain no reference cycles.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class AuditTotals:
    """Collects the findings of one type, and counts its documents by standing.

    `current` holds the matches whose blobs are checked: their record is the expected one.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._documents = 0
        self._standings: Standings = Counter()
        self.findings: list[Finding] = []
        self.current: list[Match] = []

    def add(self, match: Match) -> None:
        verdict = self._classifier.classify(match)
        self._documents += 1
        if verdict.standing:
            self._standings[verdict.standing] += 1
        if verdict.findings:
            self.findings += verdict.findings
        if verdict.is_current and self._classifier.kind.has_files:
            self.current.append(match)

    def add_blobs(self, findings: Iterable[Finding]) -> None:
        """Add findings about blobs; subtract the standings of their documents."""
        found = list(findings)
        faulty = document_ids(found)
        for match in self.current:
            if match.expected.document.ref.id in faulty:
                standing = self._classifier.classify(match).standing
                self._standings.subtract([standing] if standing else [])
        self.findings += found

    def result(self, records: int) -> TypeAudit:
        """Build the audit of the type; `records` is the size of its collection."""
        return TypeAudit(
            self._classifier.kind, self._documents, records, +self._standings, self.findings
        )


@dataclass(frozen=True, slots=True)
class Auditor:
    """Compares documents and records of `kinds`; checks blobs if `blobs` is set.

    Documents saved less than `grace` seconds ago may still be unpublished.
    """

    documents: OwnedDocuments
    orphan_finder: OrphanFinder
    repo_reader: RepoReader
    expected_records: ExpectedRecords
    kinds: Sequence[MediaType]
    blobs: bool
    grace: float
    observer: Observer

    @gc_disabled()
    def audit(self, account: Account) -> AccountAudit:
        """Compare an account's documents with its repo.

        Memory use grows with the repo. Raises StoreUnavailableError, and the errors of the PDS.
        """
        started = now()
        collections = [kind.nsid for kind in self.kinds]
        with ThreadPoolExecutor(1) as pool:
            # Read the documents while the PDS exports the repo.
            pending = pool.submit(self.repo_reader.records, account.did, collections)
            expected = {kind.name: self._expect_all(kind, account) for kind in self.kinds}
            records = pending.result()
        types = [
            self._audit_type(
                Classifier(kind, account.did, self.expected_records, started, self.grace),
                account,
                expected.pop(kind.name),
                records[kind.nsid],
            )
            for kind in self.kinds
        ]
        return AccountAudit(account, types)

    def audit_others(self) -> AccountAudit:
        """Audit documents of owners without an account; raises StoreUnavailableError."""
        started = now()
        types = []
        for kind in self.kinds:
            classifier = Classifier(kind, "", self.expected_records, started, self.grace)
            totals = AuditTotals(classifier)
            for owner in self.documents.without_account(kind):
                for document in self.documents.documents(kind, owner):
                    totals.add(Match(Expected(document, plan(kind, document, None)), None))
            types.append(totals.result(records=0))
        return AccountAudit(None, types)

    def _audit_type(
        self,
        classifier: Classifier,
        account: Account,
        expected: Sequence[Expected],
        records: StoredRecords,
    ) -> TypeAudit:
        totals = self._compare(classifier, expected, records)
        if totals.findings:
            # Documents may have been saved after the repo was exported.
            found = document_ids(totals.findings)
            expected = self._reload(classifier.kind, account, expected, found)
            totals = self._compare(classifier, expected, records)
        if self.blobs and classifier.kind.has_files:
            self.observer(f"{len(totals.current)} {classifier.kind.name}s with their blobs")
            totals.add_blobs(check_blobs(self.repo_reader, classifier, totals.current))
        return totals.result(len(records))

    def _compare(
        self, classifier: Classifier, expected: Sequence[Expected], records: StoredRecords
    ) -> AuditTotals:
        totals = AuditTotals(classifier)
        matches, unclaimed = match_records(classifier.did, records, expected)
        for match in matches:
            totals.add(match)
        totals.findings += self.orphan_finder.find(classifier, unclaimed)
        return totals

    def _expect_all(self, kind: MediaType, account: Account) -> list[Expected]:
        documents = self.documents.documents(kind, account.subject)
        return [self._expect(kind, document, account) for document in documents]

    def _expect(self, kind: MediaType, document: MediaDocument, account: Account) -> Expected:
        decision = plan(kind, document, account)
        if not isinstance(decision, Publish):
            return Expected(document, decision)
        cid = self.expected_records.cid(kind, document, account)
        return Expected(document, decision, cid)

    def _reload(
        self, kind: MediaType, account: Account, expected: Sequence[Expected], ids: set[DocumentId]
    ) -> list[Expected]:
        """Reload the documents `ids` in `expected`; omit deleted and transferred ones."""
        reloaded = {
            document.ref.id: self._expect(kind, document, account)
            for document in self.documents.reload(kind, list(ids))
            if document.owner == account.subject
        }
        latest = (
            reloaded.get(each.document.ref.id) if each.document.ref.id in ids else each
            for each in expected
        )
        return [each for each in latest if each]
