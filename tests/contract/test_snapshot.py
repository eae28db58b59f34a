"""A repo's CAR file beside what the same PDS says of its records one by one."""

from __future__ import annotations

from bson import ObjectId

from tests.fixtures import platform_of, sign_up
from worker.core.clock import now
from worker.core.record_keys import tid_for
from worker.core.records import Write
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot
from worker.services import Services

MOODS = "computer.aesthetic.mood"
OTHER = "app.example.note"


def new_repo(services: Services) -> Repo:
    """Return the repo of a user whom nobody has had before."""
    return services.pds.repo(sign_up(platform_of(services)))


def snapshot_of(repo: Repo) -> RepoSnapshot:
    """Read a repo."""
    return repo.export()


def fill(repo: Repo, count: int) -> list[str]:
    """Write moods and another application's notes; return the moods' rkeys."""
    items = [ObjectId() for _ in range(count)]
    rkeys = [tid_for(item, now()) for item in items]
    moods = [
        Write("create", repo.key(MOODS, rkey), {"$type": MOODS, "text": "x", "ref": str(item)})
        for item, rkey in zip(items, rkeys, strict=True)
    ]
    notes = [Write("create", repo.key(OTHER, f"n{n}"), {"n": n, "deep": [{}]}) for n in range(20)]
    for start in range(0, count, 100):
        repo.apply(moods[start : start + 100], repo.commit())
    repo.apply(notes, repo.commit())
    return rkeys


def test_snapshot_is_what_the_pds_lists(shared_services: Services) -> None:
    """Keys, CIDs and values of several hundred records, some of them deleted again."""
    repo = new_repo(shared_services)
    rkeys = fill(repo, 400)
    for rkey in rkeys[::50]:
        repo.delete(repo.key(MOODS, rkey))
    snapshot = snapshot_of(repo)
    for collection in (MOODS, OTHER):
        listed = {record.rkey: (record.cid, record.value) for record in repo.records(collection)}
        found = snapshot.records(collection)
        assert {rkey: (r.cid, r.value) for rkey, r in found.items()} == listed
    assert snapshot.counts == {MOODS: 392, OTHER: 20}
    assert snapshot.commit == repo.commit()


def test_snapshot_names_the_blobs_that_the_pds_names(shared_services: Services) -> None:
    """A blob is known by the CID that its upload was answered with."""
    repo = new_repo(shared_services)
    blob = repo.upload(b"export const x = 1", "text/javascript")
    ref = {"$type": "blob", "ref": {"$link": blob.cid}, "mimeType": blob.mime_type, "size": 18}
    key = repo.key("computer.aesthetic.piece", "one")
    repo.put(key, {"$type": key.collection, "source": ref}, None)
    record = snapshot_of(repo).records(key.collection)["one"]
    assert record.blobs == (blob.cid,)
    assert record.value["source"] == ref


def test_snapshot_of_a_new_account_is_empty(shared_services: Services) -> None:
    """Nothing was ever written, and that is no fault."""
    assert snapshot_of(new_repo(shared_services)).counts == {}
