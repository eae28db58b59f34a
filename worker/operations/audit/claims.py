"""Read the documents of an account whose state claims a current record.

A claim is small and needs no record, so that claims can be read while a PDS exports the repo.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from worker.core.documents import Account, MediaDocument, Status
from worker.database.document_refs import is_first_with_text
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.expected import ExpectedRecords
from worker.sync.plan import Publish, plan


class Claim(NamedTuple):
    """The `_id` of a document, and the key and the CID of the record in its state.

    A document with such a record in its repo is in order, unless another record names it, too.
    `rkey` is None for a document that must be compared with the records.
    """

    item: object
    rkey: str | None = None
    cid: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimReader:
    """Reads the claims of documents, and checks them against the expected records."""

    documents: OwnedDocuments
    store: DocumentStore
    expected_records: ExpectedRecords

    def read(self, kind: MediaType, account: Account) -> Iterator[Claim]:
        """Yield a claim for each document of an account, in any order."""
        for raw in self.documents.records(kind, account.subject):
            document = self.store.parse(kind, raw)
            if self._is_valid(kind, document, account):
                yield Claim(raw["_id"], document.state.rkey, document.state.cid)
            else:
                yield Claim(raw["_id"])

    def _is_valid(self, kind: MediaType, document: MediaDocument, account: Account) -> bool:
        """Return whether the state names the expected record of a document to be published."""
        state, did = document.state, account.did
        if state.status is not Status.SYNCED or state.rkey is None or state.repo != did:
            return False
        return (
            state.uri == f"at://{did}/{kind.nsid}/{state.rkey}"
            and is_first_with_text(document.ref.id)
            and isinstance(plan(kind, document, account), Publish)
            and self.expected_records.is_published(kind, document, account)
        )
