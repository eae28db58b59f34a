"""An item as it is: its document, its account, and how its record differs from what it should be.

Nothing is changed: no lease, no upload, no session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.cid import cid_of_blob
from worker.comparison import Difference, Record, compare
from worker.documents import Account, BlobState, DocumentId, MediaDocument
from worker.errors import PermanentError
from worker.expectation import Expectations
from worker.media import MediaType
from worker.mongo import RawDocument, translated
from worker.plan import Publish, plan
from worker.records import RecordKey, RemoteRecord
from worker.services import Services


@dataclass(frozen=True, slots=True)
class BlobCheck:
    """A blob field: what the state says was uploaded, and what is wrong with it, if anything."""

    field: str
    blob: BlobState
    fault: str | None


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
        blobs = sum(check.fault is not None for check in self.blobs)
        return len(self.differences) + blobs + (self.fault is not None)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What should be published; `repo` is None when nothing should."""

    repo: str | None = None
    record: Record | None = None
    blobs: tuple[str, ...] = ()
    fault: str | None = None


def inspect(services: Services, kind: MediaType, ids: tuple[DocumentId, ...]) -> Inspection | None:
    """Inspect an item; None when there is no document of these ids.

    Raises the errors of MongoDB and of the PDS.
    """
    document = services.store.find(kind, ids)
    if document is None:
        return None
    account = services.accounts.find(document.owner)
    decision = plan(kind, document, account)
    wanted = _Wanted()
    if isinstance(decision, Publish):
        wanted = _wanted(services, kind, document, decision.account)
    found = _found(services, kind, document, account)
    return Inspection(
        document=document,
        content=_content(services, kind, document),
        account=account,
        plan=decision.text,
        fault=wanted.fault,
        found=found,
        differences=() if wanted.fault else tuple(_differences(wanted, found)),
        blobs=tuple(_check_blobs(services, document, wanted)),
    )


def _content(services: Services, kind: MediaType, document: MediaDocument) -> RawDocument:
    with translated():
        raw = services.store.collection(kind).find_one({"_id": document.ref.id}, {"atproto": 0})
    return raw or {}


def _wanted(
    services: Services, kind: MediaType, document: MediaDocument, account: Account
) -> _Wanted:
    """Build the record with the blobs and links that the last run left; no file is read."""
    expectations = Expectations(services.publisher.site, services.lexicons)
    try:
        draft = expectations.draft(kind, document, account)
        record = expectations.valid_record(document, draft)
    except PermanentError as error:
        return _Wanted(account.did, fault=error.message)
    return _Wanted(account.did, record, tuple(draft.blobs))


def _found(
    services: Services, kind: MediaType, document: MediaDocument, account: Account | None
) -> RemoteRecord | None:
    # A legacy document has an rkey and no repo: its record is in its owner's.
    repo = document.state.repo or (account.did if account else None)
    if repo is None or document.state.rkey is None:
        return None
    return services.pds_of(repo).get_record(RecordKey(repo, kind.nsid, document.state.rkey))


def _differences(wanted: _Wanted, found: RemoteRecord | None) -> Iterator[Difference]:
    yield from compare(wanted.record, found.value if found else None)
    repo = found.uri.split("/")[2] if found else None
    if wanted.repo and repo and wanted.repo != repo:
        yield Difference("(repo)", wanted.repo, repo)


def _check_blobs(
    services: Services, document: MediaDocument, wanted: _Wanted
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
