"""Audit one account: compare its documents, read by index, with its repo, read in one call."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from worker.core.clock import now
from worker.core.documents import Account, Failure, MediaDocument
from worker.core.errors import MediaError
from worker.media import MediaType
from worker.operations.audit.blobs import check_blobs
from worker.operations.audit.classification import Classifier
from worker.operations.audit.findings import AccountAudit, Finding, Standings, TypeAudit
from worker.operations.audit.matching import Expected, Match, match_records
from worker.operations.audit.orphans import OrphanFinder
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.audit.repo_reader import RepoReader
from worker.operations.expected import ExpectedRecords
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.plan import Publish, plan
from worker.sync.run import Observer


class AuditTotals:
    """Findings and standings in the making; `current` are the cases whose blobs matter."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._documents = 0
        self._standings: Standings = Counter()
        self.findings: list[Finding] = []
        self.current: list[Match] = []

    def add(self, match: Match) -> None:
        """Judge a case and take it in."""
        verdict = self._classifier.classify(match)
        self._documents += 1
        if verdict.standing:
            self._standings[verdict.standing] += 1
        if verdict.findings:
            self.findings += verdict.findings
        if verdict.is_current and self._classifier.kind.has_files:
            self.current.append(match)

    def add_blobs(self, findings: Iterable[Finding]) -> None:
        """Take in what is wrong with the blobs of current cases."""
        found = list(findings)
        faulty = {finding.document.ref.id for finding in found if finding.document}
        for case in self.current:
            if case.expected.document.ref.id in faulty:
                self._standings.subtract(filter(None, [self._classifier.classify(case).standing]))
        self.findings += found

    def result(self, records: int) -> TypeAudit:
        """Return the audit of the type, of whose collection there are so many records."""
        return TypeAudit(
            self._classifier.kind, self._documents, records, +self._standings, self.findings
        )


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits accounts: the documents and records of some types, with their blobs or without.

    Documents saved less than `grace` seconds ago are given the time to be published.
    """

    documents: OwnedDocuments
    orphan_finder: OrphanFinder
    repo_reader: RepoReader
    expected_records: ExpectedRecords
    kinds: Sequence[MediaType]
    blobs: bool
    grace: float

    def audit(self, account: Account, observer: Observer) -> AccountAudit:
        """Compare an account's documents with its repo.

        The memory that it takes grows with the repo. Raises StoreUnavailableError, and the
        errors of the PDS when that does not answer at all.
        """
        with gc_disabled():
            return self._audit(account, observer)

    def _audit(self, account: Account, observer: Observer) -> AccountAudit:
        started = now()
        collections = [kind.nsid for kind in self.kinds]
        with ThreadPoolExecutor(1) as pool:
            # The PDS takes its time: enough to read the documents in.
            arriving = pool.submit(self.repo_reader.records, account.did, collections)
            expected = {kind.name: self._expect_all(kind, account) for kind in self.kinds}
            try:
                records = arriving.result()
            except MediaError as error:
                if self.repo_reader.is_unreachable(account.did):
                    raise
                return AccountAudit(account, failure=Failure.of(error, now()))
        types = [
            self._audit_type(
                Classifier(kind, account.did, self.expected_records, started, self.grace),
                account,
                expected.pop(kind.name),
                records[kind.nsid],
                observer,
            )
            for kind in self.kinds
        ]
        return AccountAudit(account, types)

    def audit_others(self) -> AccountAudit:
        """Look at the documents whose owners have no account; raises StoreUnavailableError."""
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
        records: Mapping[str, StoredRecord],
        observer: Observer,
    ) -> TypeAudit:
        totals = self._compare(classifier, expected, records)
        if totals.findings:
            # The repo is older than what was saved while it was on its way: a second look.
            expected = self._again(classifier.kind, account, expected, totals.findings)
            totals = self._compare(classifier, expected, records)
        if self.blobs and classifier.kind.has_files:
            observer(f"{len(totals.current)} {classifier.kind.name}s with their blobs")
            totals.add_blobs(check_blobs(self.repo_reader, classifier, totals.current))
        return totals.result(len(records))

    def _compare(
        self,
        classifier: Classifier,
        expected: Sequence[Expected],
        records: Mapping[str, StoredRecord],
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
        cids = self.expected_records.current_cids(kind, document, account)
        return Expected(document, decision, cids)

    def _again(
        self,
        kind: MediaType,
        account: Account,
        expected: Sequence[Expected],
        findings: Sequence[Finding],
    ) -> list[Expected]:
        """Read the documents of findings again; those that are gone, or another's, are left out."""
        ids = {finding.document.ref.id for finding in findings if finding.document}
        now_there = {
            document.ref.id: self._expect(kind, document, account)
            for document in self.documents.reload(kind, list(ids))
            if document.owner == account.subject
        }
        looked_at = (
            now_there.get(each.document.ref.id) if each.document.ref.id in ids else each
            for each in expected
        )
        return [each for each in looked_at if each]


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Leave the cyclic garbage collector off for as long as a repo is in memory.

    It would go through every record and document several times, which takes a third of an
    audit's time, and find nothing: values refer to no one that refers to them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
