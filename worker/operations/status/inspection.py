"""An item as it is: its document, its account, and how its record differs from what it should be.

Nothing is changed: no lease, no upload, no session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.core.cid import cid_of_blob
from worker.core.current import current_cids, is_current
from worker.core.documents import Account, BlobState, DocumentId, MediaDocument
from worker.core.errors import PermanentError
from worker.core.records import RecordKey, RemoteRecord
from worker.database.mongo import RawDocument, mongo_errors
from worker.media import MediaType
from worker.operations.expected import Difference, ExpectedRecords, Record, compare
from worker.services import Services
from worker.sync.plan import Publish, plan


@dataclass(frozen=True, slots=True)
class BlobCheck:
    """A blob field: what the state says was uploaded, and what is wrong with it, if anything."""

    field: str
    blob: BlobState
    fault: str | None


@dataclass(frozen=True, slots=True)
class ExpectedItem:
    """What should be published; `repo` is None when nothing should.

    `fault` says why the record cannot even be built.
    """

    repo: str | None = None
    record: Record | None = None
    blobs: tuple[str, ...] = ()
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class InspectedItem:
    """What MongoDB alone says of an item: its document, its account, what is to be done."""

    kind: MediaType
    document: MediaDocument
    content: Mapping[str, object]
    account: Account | None
    plan: str
    wanted: ExpectedItem

    @property
    def key(self) -> RecordKey | None:
        """Return where the record is, or will be; None while no key is reserved."""
        # A legacy document has an rkey and no repo: its record is in its owner's.
        state = self.document.state
        repo = state.repo or (self.account.did if self.account else None)
        if repo is None or state.rkey is None:
            return None
        return RecordKey(repo, self.kind.nsid, state.rkey)


@dataclass(frozen=True, slots=True)
class PublishedState:
    """What the PDS has of an item, and how that differs from what it should have."""

    found: RemoteRecord | None
    differences: tuple[Difference, ...]
    blobs: tuple[BlobCheck, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that is known of an item; `fault` says why its record cannot even be built."""

    document: MediaDocument
    content: Mapping[str, object]
    account: Account | None
    plan: str
    fault: str | None
    found: RemoteRecord | None
    differences: tuple[Difference, ...]
    blobs: tuple[BlobCheck, ...]

    @property
    def faults(self) -> int:
        """Return how many things are not as they should be."""
        return faults(self.fault, self.differences, self.blobs)


def faults(
    fault: str | None, differences: tuple[Difference, ...], blobs: tuple[BlobCheck, ...]
) -> int:
    """Return how many things are not as they should be."""
    return len(differences) + sum(check.fault is not None for check in blobs) + (fault is not None)


def inspect(services: Services, kind: MediaType, ids: tuple[DocumentId, ...]) -> Inspection | None:
    """Inspect an item; None when there is no document of these ids.

    Raises the errors of MongoDB and of the PDS.
    """
    item = load_item(services, kind, ids)
    if item is None:
        return None
    remote = compare_with_pds(services, item)
    return Inspection(
        document=item.document,
        content=item.content,
        account=item.account,
        plan=item.plan,
        fault=item.wanted.fault,
        found=remote.found,
        differences=remote.differences,
        blobs=remote.blobs,
    )


def load_item(
    services: Services, kind: MediaType, ids: tuple[DocumentId, ...]
) -> InspectedItem | None:
    """Return what MongoDB says of an item; None when there is no document of these ids.

    Raises the errors of MongoDB.
    """
    document = services.store.find(kind, ids)
    if document is None:
        return None
    account = services.accounts.find(document.owner)
    decision = plan(kind, document, account)
    wanted = ExpectedItem()
    if isinstance(decision, Publish):
        wanted = _build_expected(services, kind, document, decision.account)
    content = _content(services, kind, document)
    return InspectedItem(kind, document, content, account, decision.text, wanted)


def compare_with_pds(services: Services, item: InspectedItem) -> PublishedState:
    """Return what the PDS has of an item; raises the errors of the PDS."""
    found = services.pds_of(item.key.repo).get_record(item.key) if item.key else None
    return PublishedState(
        found=found,
        differences=() if item.wanted.fault else tuple(_differences(item.wanted, found)),
        blobs=tuple(_check_blobs(services, item.document, item.wanted)),
    )


def _content(services: Services, kind: MediaType, document: MediaDocument) -> RawDocument:
    with mongo_errors():
        raw = services.store.collection(kind).find_one({"_id": document.ref.id}, {"atproto": 0})
    return raw or {}


def _build_expected(
    services: Services, kind: MediaType, document: MediaDocument, account: Account
) -> ExpectedItem:
    """Build the record with the blobs and links that the last run left; no file is read."""
    expected_records = ExpectedRecords(services.publisher.site, services.lexicons)
    try:
        draft = expected_records.draft(kind, document, account)
        record = expected_records.valid_record(document, draft)
    except PermanentError as error:
        return ExpectedItem(account.did, fault=error.message)
    return ExpectedItem(account.did, record, tuple(draft.blobs))


def _differences(wanted: ExpectedItem, found: RemoteRecord | None) -> Iterator[Difference]:
    if not (wanted.record and found and is_current(found.cid, current_cids(wanted.record))):
        yield from compare(wanted.record, found.value if found else None)
    repo = found.uri.split("/")[2] if found else None
    if wanted.repo and repo and wanted.repo != repo:
        yield Difference("(repo)", wanted.repo, repo)


def _check_blobs(
    services: Services, document: MediaDocument, wanted: ExpectedItem
) -> Iterator[BlobCheck]:
    for name in wanted.blobs:
        blob = document.state.blobs.get(name, BlobState())
        yield BlobCheck(name, blob, _fault(services, wanted.repo or "", blob))


def _fault(services: Services, repo: str, blob: BlobState) -> str | None:
    if blob.cid is None:
        return blob.error.message if blob.error else "it has not been uploaded yet"
    data = services.pds_of(repo).get_blob(repo, blob.cid)
    if data is None:
        return "the PDS does not have it"
    if len(data) != blob.size:
        return f"the PDS has {len(data)} bytes of {blob.size}"
    if cid_of_blob(data) != blob.cid:
        return "the PDS has other bytes than its CID says"
    return f"older than its source: {blob.error.message}" if blob.error else None
