"""Compare an item in MongoDB with its record and blobs on the PDS.

Inspecting an item changes nothing: it takes no lease, uploads nothing and uses no session.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.current import is_current, optional_additions
from worker.core.documents import Account, BlobState, DocumentId, MediaDocument, Status
from worker.core.errors import MediaError, PermanentError
from worker.core.records import RecordKey, RemoteRecord
from worker.database.accounts import Accounts
from worker.database.backlog import FAILED
from worker.database.mongo import mongo_errors
from worker.database.state import RESET_REASONS, ResetMode
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.expected import Difference, ExpectedRecords, Record, compare
from worker.pds.client import PdsClient
from worker.services import Services
from worker.sync.plan import Plan, Publish, Skip, describe, plan


@dataclass(frozen=True, slots=True)
class BlobCheck:
    """The saved state of one blob, and its fault; `fault` is None if it is correct."""

    field: str
    blob: BlobState
    fault: str | None


@dataclass(frozen=True, slots=True)
class ExpectedItem:
    """The record and the blobs that an item should have on the PDS.

    `repo` is None if the item must not be published. `fault` is the reason why the record cannot
    be built, or None. `keeps_record` means that any existing record is right.
    """

    repo: str | None = None
    record: Record | None = None
    blobs: Mapping[str, BlobState] = field(default_factory=dict)
    fault: str | None = None
    keeps_record: bool = False


@dataclass(frozen=True, slots=True)
class InspectedItem:
    """An item in MongoDB: its document, account, plan and expected record."""

    kind: MediaType
    document: MediaDocument
    content: Mapping[str, object]
    account: Account | None
    plan: str
    wanted: ExpectedItem

    @property
    def reset_advice(self) -> str:
        """Return how a wiped item is published again; "" if it is not wiped, or hidden."""
        is_wiped = _is_reset(self.document) and self.document.state.reason == ResetMode.WIPED.value
        if not is_wiped or self.document.hidden:
            return ""
        user = self.account.handle if self.account else "USER"
        return f"wiped: `media-atproto restore {user}` publishes it again"

    @property
    def key(self) -> RecordKey | None:
        """Return the key of the record, or None if the item has no repo or no rkey."""
        # A legacy document has an rkey and no repo: its record is in its owner's repo.
        state = self.document.state
        repo = state.repo or (self.account.did if self.account else None)
        if repo is None or state.rkey is None:
            return None
        return RecordKey(repo, self.kind.nsid, state.rkey)


@dataclass(frozen=True, slots=True)
class PublishedState:
    """An item's record on the PDS, and its differences from the expected record.

    `found` is None if the record is missing. `fault` is the reason why the expected record cannot
    be built, or None.
    """

    fault: str | None
    found: RemoteRecord | None
    differences: tuple[Difference, ...]
    blobs: tuple[BlobCheck, ...]

    @property
    def faults(self) -> int:
        """Return the number of differences and faulty blobs, plus 1 if `fault` is set."""
        faulty_blobs = sum(check.fault is not None for check in self.blobs)
        return len(self.differences) + faulty_blobs + (self.fault is not None)


@dataclass(frozen=True, slots=True)
class Inspection:
    """An item in MongoDB and its published state on the PDS.

    `published` is None if the record or a blob cannot be read, because of `error`.
    """

    item: InspectedItem
    published: PublishedState | None
    error: MediaError | None = None

    @property
    def is_right(self) -> bool:
        """Return whether the PDS has what it should have, and the item is not failed or partial."""
        has_failed = self.item.document.state.status in FAILED
        return self.published is not None and self.published.faults == 0 and not has_failed


@dataclass(frozen=True, slots=True)
class Inspector:
    """Compares items in MongoDB with their records and blobs on the PDS.

    `pds_of` takes a DID and returns a client of its PDS.
    """

    store: DocumentStore
    accounts: Accounts
    expected_records: ExpectedRecords
    pds_of: Callable[[str], PdsClient]

    @classmethod
    def of(cls, services: Services) -> Self:
        storage, media = services.storage, services.media
        expected_records = ExpectedRecords(media.site, media.lexicons)
        return cls(storage.store, storage.accounts, expected_records, services.pds.client_of)

    def inspect(self, kind: MediaType, ids: tuple[DocumentId, ...]) -> Inspection | None:
        """Load an item and compare it with the PDS; return None if it does not exist.

        Raises the errors of `load`.
        """
        item = self.load(kind, ids)
        if item is None:
            return None
        try:
            return Inspection(item, self.compare_with_pds(item))
        except MediaError as error:
            return Inspection(item, None, error)

    def load(self, kind: MediaType, ids: tuple[DocumentId, ...]) -> InspectedItem | None:
        """Read the first item in `ids` that exists, and build its expected record.

        Returns None if no item exists. Raises StoreUnavailableError.
        """
        document = self.store.find(kind, ids)
        if document is None:
            return None
        account = self.accounts.find(document.owner)
        decision = plan(kind, document, account)
        wanted = self._build_expected(kind, document, decision, None)
        with mongo_errors():
            content = self.store.collection(kind).find_one({"_id": document.ref.id}, {"atproto": 0})
        planned = "nothing to do" if _is_reset(document) else describe(decision)
        return InspectedItem(kind, document, content or {}, account, planned, wanted)

    def compare_with_pds(self, item: InspectedItem) -> PublishedState:
        """Compare an item with its record and blobs on the PDS.

        Raises DirectoryError, RedisUnavailableError and the errors of PdsClient.
        """
        found = self.pds_of(item.key.repo).get_record(item.key) if item.key else None
        value = found.value if found else None
        decision = plan(item.kind, item.document, item.account)
        wanted = self._build_expected(item.kind, item.document, decision, value)
        return PublishedState(
            fault=wanted.fault,
            found=found,
            differences=tuple(_differences(item, wanted, found)),
            blobs=tuple(self._check_blobs(wanted)),
        )

    def _build_expected(
        self, kind: MediaType, document: MediaDocument, decision: Plan, found: Record | None
    ) -> ExpectedItem:
        """Build what an item should have; `found` is its published record, if known."""
        if _is_reset(document):
            return ExpectedItem()
        if not isinstance(decision, Publish):
            keeps_record = isinstance(decision, Skip) and decision.keeps_record
            return ExpectedItem(keeps_record=keeps_record)
        did = decision.account.did
        try:
            draft = self.expected_records.draft(kind, document, decision.account)
            record = self.expected_records.valid_record(document, draft, found)
        except PermanentError as error:
            return ExpectedItem(did, fault=error.message)
        known = self.expected_records.blobs(document, draft, found)
        # A record of an older program may lack an addition: its file is not uploaded.
        optional = optional_additions(kind.additions, document) if found else ()
        names = [name for name in draft.blobs if name in known or name not in optional]
        return ExpectedItem(did, record, {name: known.get(name, BlobState()) for name in names})

    def _check_blobs(self, wanted: ExpectedItem) -> Iterator[BlobCheck]:
        for name, blob in wanted.blobs.items():
            yield BlobCheck(name, blob, self._blob_fault(wanted.repo or "", blob))

    def _blob_fault(self, repo: str, blob: BlobState) -> str | None:
        if blob.cid is None:
            return blob.error.message if blob.error else "it has not been uploaded yet"
        data = self.pds_of(repo).get_blob(repo, blob.cid)
        if data is None:
            return "the PDS does not have it"
        if len(data) != blob.size:
            return f"the PDS has {len(data)} bytes of {blob.size}"
        if cid_of_blob(data) != blob.cid:
            return "the PDS has other bytes than its CID says"
        return f"older than its source: {blob.error.message}" if blob.error else None


def _is_reset(document: MediaDocument) -> bool:
    """Return whether the records of a wiped or forgotten account must stay removed."""
    state = document.state
    return state.status is Status.REMOVED and state.reason in RESET_REASONS


def _differences(
    item: InspectedItem, wanted: ExpectedItem, found: RemoteRecord | None
) -> Iterator[Difference]:
    if wanted.fault or wanted.keeps_record:
        return
    if not (wanted.record and found and _is_current(item, wanted.record, found)):
        yield from compare(wanted.record, found.value if found else None)
    repo = found.uri.split("/")[2] if found else None
    if wanted.repo and repo and wanted.repo != repo:
        yield Difference("(repo)", json.dumps(wanted.repo), json.dumps(repo))


def _is_current(item: InspectedItem, record: Record, found: RemoteRecord) -> bool:
    additions = optional_additions(item.kind.additions, item.document)
    return is_current(found.cid, cid_of_record(record), record, additions)
