"""Records that older programs wrote, and their documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast
from uuid import uuid4

from bson import ObjectId

from tests.bulk import (
    account,
    repo,
    set_state,
    statuses,
    sync_batch,
)
from tests.pictures import photo
from tests.watching import Watch
from tests.world import World
from worker.core.clock import now
from worker.core.documents import DocumentId
from worker.core.ids import parse_id
from worker.core.record_keys import tid_for
from worker.core.records import RecordKey
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, media_type
from worker.operations.audit.run import open_audit
from worker.operations.expected import ExpectedRecords
from worker.operations.status.inspection import Inspector
from worker.sync.engine import Engine

Record = Mapping[str, object]
FORMS: dict[str, Callable[[RecordKey], dict[str, str]]] = {
    "rkey alone": lambda key: {"rkey": key.rkey},
    "rkey and uri": lambda key: {"rkey": key.rkey, "uri": key.uri},
}


@dataclass(frozen=True)
class Older:
    """An item with a record that an older program wrote."""

    world: World
    user: str
    type_name: str
    item: ObjectId
    key: RecordKey
    record: Record

    @property
    def did(self) -> str:
        return self.world.dids[self.user]

    @property
    def state(self) -> RawDocument:
        return self.world.platform.state(self.type_name, self.item)

    @property
    def published(self) -> Record:
        """Return the record as it is now."""
        found = repo(self.world, self.user).get(self.key)
        assert found
        return found.value

    @property
    def revision(self) -> str:
        return self.world.revision(self.did)

    def legacy(self, form: str) -> Older:
        """Give the document the state that the older program saved."""
        kind = media_type(self.type_name)
        set_state(self.world, kind, self.item, **FORMS[form](self.key))
        return self

    def put(self, **changes: object) -> Older:
        """Write the record again, with changes; None removes a field."""
        owned = repo(self.world, self.user)
        there = owned.get(self.key)
        record = {**(there.value if there else self.record), **changes}
        record = {name: value for name, value in record.items() if value is not None}
        owned.put(self.key, record, there.cid if there else None)
        return replace(self, record=record)

    def sync(self, engine: Engine | None = None) -> str | None:
        """Sync the item alone; return its status."""
        return self.world.sync(self.type_name, self.item, engine=engine).status

    def batch(self, watch: Watch | None = None, backfill: str | None = None) -> dict[str, int]:
        """Sync the item as a batch; count the statuses."""
        batches = (watch or Watch(self.world.services)).batches
        options = {"subject": self.user, "batches": batches}
        return statuses(
            sync_batch(self.world, self.type_name, [self.item], backfill=backfill, **options)  # type: ignore[arg-type]
        )

    def findings(self, *, repair: bool = False) -> list[tuple[str, str]]:
        """Audit the user; return what is found and why. With `repair`, repair it."""
        kinds = list(MEDIA_TYPES.values())
        with open_audit(self.world.services, kinds, repair=repair) as opened:
            audit = replace(opened, auditor=replace(opened.auditor, grace=0))
            result = audit.of_account(account(self.world, self.user))
        return [(finding.fault.value, finding.detail) for finding in result.audit.findings]

    def differences(self) -> int:
        """Return the number of faults that the status page shows."""
        ids: tuple[DocumentId, ...] = parse_id(str(self.item))
        kind = media_type(self.type_name)
        inspection = Inspector.of(self.world.services).inspect(kind, ids)
        assert inspection
        assert inspection.published
        return inspection.published.faults

    def assert_adopted(self) -> None:
        """Assert that the state has all that the record says, for other programs too."""
        state, found = self.state, repo(self.world, self.user).get(self.key)
        assert found
        assert (state["status"], state["uri"]) == ("synced", self.key.uri)
        assert state["cid"] == found.cid
        assert state["repo"] == state["did"] == self.did
        blobs = cast("Mapping[str, RawDocument]", state.get("blobs", {}))
        assert {name: blob["cid"] for name, blob in blobs.items()} == blobs_of(found.value)
        assert all(blob["source"] for blob in blobs.values())


def blobs_of(record: Record) -> dict[str, str]:
    """Return the CIDs of a record's blobs, by field."""
    refs = {name: value for name, value in record.items() if isinstance(value, dict)}
    return {name: ref["ref"]["$link"] for name, ref in refs.items()}


def write_older(
    world: World, user: str, type_name: str, item: ObjectId, *, mongo_id: bool = False
) -> Older:
    """Write the record of an item as older programs did: no additions, other thumbnails."""
    kind, owned = media_type(type_name), repo(world, user)
    document = world.services.storage.store.find(kind, [item])
    assert document
    expected = ExpectedRecords(world.services.media.site, world.services.media.lexicons)
    fields = dict(expected.draft(kind, document, account(world, user)).fields)
    record: dict[str, object] = {n: v for n, v in fields.items() if n not in kind.additions}
    if mongo_id:
        record["mongoId"] = record.pop("ref")
    if type_name == "painting":
        blob = owned.upload(photo("JPEG") + uuid4().bytes, "image/jpeg")
        link = {"$link": blob.cid}
        size = {"mimeType": blob.mime_type, "size": blob.size}
        record["thumbnail"] = {"$type": "blob", "ref": link, **size}
    key = owned.key(kind.nsid, tid_for(ObjectId(), now()))
    owned.put(key, record, None)
    return Older(world, user, type_name, item, key, record)
