"""Find orphans: records that belong to no document of the repo's owner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from worker.database.accounts import Accounts
from worker.database.document_refs import find_all_by_ref
from worker.database.store import DocumentStore
from worker.operations.audit.classification import Classifier
from worker.operations.audit.findings import Fault, Finding
from worker.pds.repo_snapshot import StoredRecord

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class OrphanFinder:
    """Finds orphans by looking up the document in each record's `ref` and its owner."""

    store: DocumentStore
    accounts: Accounts

    def find(self, classifier: Classifier, records: Iterable[StoredRecord]) -> Iterator[Finding]:
        """Yield findings for records without a document or of another owner's document."""
        remaining = iter(records)
        while chunk := list(islice(remaining, _CHUNK)):
            refs = {record.ref for record in chunk if record.ref is not None}
            documents = find_all_by_ref(self.store, classifier.kind, refs)
            owners = {document.owner for document in documents.values()}
            dids = {
                owner: account.did for owner in owners if (account := self.accounts.find(owner))
            }
            for record in chunk:
                document = documents.get(record.ref or "")
                if document is None:
                    missing = f"there is no document {record.ref!a}"
                    why = missing if record.ref else "it names no document"
                    yield classifier.finding(Fault.ORPHANED, why, record, None)
                    continue
                moved = dids.get(document.owner) != classifier.did
                if moved and not classifier.waiting_reason(document):
                    why = f"its document is {document.owner}'s now"
                    yield classifier.finding(Fault.ORPHANED, why, record, document)
