"""Records that no document of the repo's owner claims, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from worker.core.documents import DocumentId, MediaDocument
from worker.core.ids import InvalidIdError, parse_id
from worker.database.accounts import Accounts
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.audit.classification import Classifier
from worker.operations.audit.findings import Finding
from worker.pds.repo_snapshot import StoredRecord

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class OrphanFinder:
    """Looks up the documents that records name, whoever owns them now."""

    store: DocumentStore
    accounts: Accounts

    def find(self, classifier: Classifier, records: Sequence[StoredRecord]) -> Iterator[Finding]:
        """Yield the records that should not be in the classifier's repo."""
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            documents = self._find_named(classifier.kind, chunk)
            owners = {document.owner for document in documents.values()}
            did_by_owner = {owner: self._repo_of(owner) for owner in owners}
            for record in chunk:
                document = documents.get(record.ref or "")
                if document is None:
                    named = f"there is no document {record.ref!a}"
                    why = named if record.ref else "it names no document"
                    yield classifier.orphan(record, why, None)
                elif did_by_owner[
                    document.owner
                ] != classifier.did and not classifier.waiting_reason(document):
                    yield classifier.orphan(
                        record, f"its document is {document.owner}'s now", document
                    )

    def _find_named(
        self, kind: MediaType, records: Sequence[StoredRecord]
    ) -> Mapping[str, MediaDocument]:
        """Return the documents that records name, by what the records call them."""
        ids = [candidate for record in records for candidate in ids_of(record.ref)]
        return {str(document.ref.id): document for document in self.store.find_all(kind, ids)}

    def _repo_of(self, owner: str) -> str | None:
        account = self.accounts.find(owner)
        return account.did if account else None


def ids_of(ref: str | None) -> Iterator[DocumentId]:
    """Go through the ids that a record may mean, none for what can be no id."""
    try:
        yield from parse_id(ref)
    except InvalidIdError:
        return
