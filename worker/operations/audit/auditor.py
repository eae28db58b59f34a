"""Audit one account: compare its documents in MongoDB with its exported repo."""

from __future__ import annotations

import gc
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice

from worker.core.clock import now
from worker.core.documents import Account, MediaDocument
from worker.core.ids import as_document_id
from worker.database.document_refs import find_all_by_ref, find_unnamed
from worker.media import MediaType
from worker.operations.audit.blobs import find_blob_faults
from worker.operations.audit.claims import Claim, ClaimReader
from worker.operations.audit.classification import SYNCED, Classification, Classifier
from worker.operations.audit.findings import AccountAudit, Finding, Standings, TypeAudit
from worker.operations.audit.matching import Expected, Match, RecordMatcher
from worker.operations.audit.orphans import OrphanFinder
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.audit.repo_reader import RepoReader
from worker.operations.expected import ExpectedRecords
from worker.pds.repo_snapshot import CollectionRecords, StoredRecord
from worker.sync.plan import Publish, plan
from worker.sync.run import Observer

_CHUNK = 1000  # documents
_AHEAD = 100_000  # claims, of 300 bytes each


@contextmanager
def garbage_collection(*, enabled: bool) -> Iterator[None]:
    """Enable the cyclic garbage collector, or disable it to compare documents and records.

    It takes a quarter of the time and frees nothing: these objects contain no reference cycles.
    Those of HTTP calls do.
    """
    was_enabled = gc.isenabled()
    _switch_garbage_collection(enabled=enabled)
    try:
        yield
    finally:
        _switch_garbage_collection(enabled=was_enabled)


def _switch_garbage_collection(*, enabled: bool) -> None:
    if enabled:
        gc.enable()
    else:
        gc.disable()


class AuditTotals:
    """Collects the findings of one type, and counts its documents by standing."""

    def __init__(self, kind: MediaType) -> None:
        self._kind = kind
        self._documents = 0
        self._standings: Standings = Counter()
        self._findings: list[Finding] = []

    def add(self, verdict: Classification, documents: int = 1) -> None:
        self._documents += documents
        if verdict.standing:
            self._standings[verdict.standing] += documents
        self._findings += verdict.findings

    def add_findings(self, findings: Iterable[Finding]) -> None:
        self._findings += findings

    def subtract(self, verdict: Classification) -> None:
        """Do not count the standing of a document."""
        self._standings.subtract([verdict.standing] if verdict.standing else [])

    def replace(self, verdict: Classification, other: Classification) -> None:
        """Replace the classification of a document."""
        self._documents -= 1
        self.subtract(verdict)
        self.add(other)

    def result(self, records: int) -> TypeAudit:
        """Build the audit of the type; `records` is the size of its collection."""
        return TypeAudit(self._kind, self._documents, records, +self._standings, self._findings)


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

    def audit(self, account: Account) -> AccountAudit:
        """Compare an account's documents with its repo.

        The claims of all documents are read first, as many as possible while the PDS exports the
        repo. Then the documents whose record is another one are compared with it, in chunks. Memory
        use grows by 100 bytes per record, by the `_id`s of these documents, and with the findings.
        Raises StoreUnavailableError, and the errors of the PDS.
        """
        started = now()
        collections = [kind.nsid for kind in self.kinds]
        reader = ClaimReader(self.documents, self.orphan_finder.store, self.expected_records)
        claims = {kind.name: reader.read(kind, account) for kind in self.kinds}
        with garbage_collection(enabled=False):
            with ThreadPoolExecutor(1) as pool:
                pending = pool.submit(self.repo_reader.snapshot, account.did, collections)
                _read_ahead(claims)
                snapshot = pending.result()
            types = [
                self._audit_type(
                    Classifier(kind, account.did, self.expected_records, started, self.grace),
                    account,
                    claims[kind.name],
                    snapshot.records(kind.nsid),
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
            totals = AuditTotals(kind)
            for owner in self.documents.without_account(kind):
                for document in self.documents.documents(kind, owner):
                    match = Match(Expected(document, plan(kind, document, None)), None)
                    totals.add(classifier.classify(match))
            types.append(totals.result(records=0))
        return AccountAudit(None, types)

    def _audit_type(
        self,
        classifier: Classifier,
        account: Account,
        claims: Iterator[Claim],
        records: CollectionRecords,
    ) -> TypeAudit:
        kind = classifier.kind
        totals, matcher = AuditTotals(kind), RecordMatcher(classifier.did, records)
        has_blobs = self.blobs and kind.has_files
        current = array("L")  # positions of the records whose blobs are checked
        accepted, others = 0, list[object]()
        for claim in claims:
            position = matcher.accept(claim)
            if position is None:
                others.append(claim.item)
            else:
                accepted += 1
                if has_blobs:
                    current.append(position)
        totals.add(SYNCED, accepted)
        for match, verdict in self._compare(classifier, account, matcher, others):
            totals.add(verdict)
            if has_blobs and verdict.is_current and match.own:
                current.append(records.position(match.own.rkey) or 0)
        unsettled = set[int]()  # positions that are not checked
        for match, verdict in self._find_duplicates(classifier, account, matcher):
            totals.replace(SYNCED, verdict)
            if match.own and not verdict.is_current:
                unsettled.add(records.position(match.own.rkey) or 0)
        totals.add_findings(self.orphan_finder.find(classifier, matcher.unmatched()))
        if current:
            self.observer(f"{len(current)} {kind.name}s with their blobs")
            with garbage_collection(enabled=True):
                checked = (records.at(each) for each in current if each not in unsettled)
                self._check_blobs(classifier, account, checked, totals)
        return totals.result(len(records))

    def _compare(
        self,
        classifier: Classifier,
        account: Account,
        matcher: RecordMatcher,
        ids: Sequence[object],
    ) -> Iterator[tuple[Match, Classification]]:
        """Yield the match and the classification of each document.

        The documents are read again, because they may have been saved after the repo was exported.
        Those with findings are omitted if their `_id` is not supported: a run marks them as failed.
        """
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            supported = set(map(as_document_id, chunk))
            documents = self.documents.load(classifier.kind, chunk)
            own = [document for document in documents if document.owner == account.subject]
            for match in self._match(classifier.kind, account, matcher, own):
                verdict = classifier.classify(match)
                if verdict.findings and match.expected.document.ref.id not in supported:
                    matcher.release(match)
                else:
                    yield match, verdict

    def _find_duplicates(
        self, classifier: Classifier, account: Account, matcher: RecordMatcher
    ) -> Iterator[tuple[Match, Classification]]:
        """Yield the match and the classification of accepted documents with further records."""
        store, kind = self.orphan_finder.store, classifier.kind
        refs = (record.ref for record in matcher.unmatched() if record.ref is not None)
        while chunk := set(islice(refs, _CHUNK)):
            named = find_all_by_ref(store, kind, chunk, owner=account.subject)
            accepted = [document for document in named.values() if matcher.retract(document)]
            for match in self._match(kind, account, matcher, accepted):
                yield match, classifier.classify(match)

    def _match(
        self,
        kind: MediaType,
        account: Account,
        matcher: RecordMatcher,
        documents: Sequence[MediaDocument],
    ) -> Iterator[Match]:
        ids = [document.ref.id for document in documents]
        unnamed = find_unnamed(self.orphan_finder.store, kind, ids, owner=account.subject)
        for document in documents:
            expected = self._expect(kind, document, account)
            yield matcher.match(expected, is_named=document.ref.id not in unnamed)

    def _check_blobs(
        self,
        classifier: Classifier,
        account: Account,
        records: Iterable[StoredRecord],
        totals: AuditTotals,
    ) -> None:
        """Add findings for faulty blobs; raises the errors of `RepoReader.blob_fault`."""
        for record, faults in find_blob_faults(self.repo_reader, classifier.did, records):
            document = self._document_of(classifier, account, record)
            if document is None:
                continue  # deleted, or edited so that this is not its record any more
            totals.subtract(
                classifier.classify(Match(self._expect(classifier.kind, document, account), record))
            )
            totals.add_findings(
                classifier.finding(fault, detail, record, document) for fault, detail in faults
            )

    def _document_of(
        self, classifier: Classifier, account: Account, record: StoredRecord
    ) -> MediaDocument | None:
        store, kind = self.orphan_finder.store, classifier.kind
        if record.ref is None:
            document = store.find_by_record(kind, classifier.did, record.rkey)
        else:
            named = find_all_by_ref(store, kind, [record.ref], owner=account.subject)
            document = named.get(record.ref)
        return document if document and document.owner == account.subject else None

    def _expect(self, kind: MediaType, document: MediaDocument, account: Account) -> Expected:
        decision = plan(kind, document, account)
        if not isinstance(decision, Publish):
            return Expected(document, decision)
        cid = self.expected_records.cid(kind, document, account)
        return Expected(document, decision, cid)


def _read_ahead(claims: dict[str, Iterator[Claim]]) -> None:
    """Read the first claims; all of them are yielded as before."""
    remaining = _AHEAD
    for name, stream in claims.items():
        first = list(islice(stream, remaining))
        claims[name] = chain(first, stream)
        remaining -= len(first)
