"""The writer: many records of one repo, in calls that the PDS takes, all accounted for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from bson import ObjectId

from tests.contract.claims import WHEN
from tests.fixtures import platform_of, sign_up
from tests.watching import Watch
from worker.bulk.writer import Prepared, Writer, Written
from worker.cid import cid_of_record
from worker.clock import after
from worker.documents import Account, ItemRef, Lease, MediaDocument, SyncState
from worker.errors import TransientError
from worker.fields import Fields
from worker.media import media_type
from worker.parts import Parts
from worker.records import Write
from worker.repo import Repo
from worker.run import Run, unobserved
from worker.services import Services
from worker.store import LeaseLostError

KIDLISP = media_type("kidlisp")
numbers = count()


@pytest.fixture(scope="module")
def account(shared_services: Services) -> Account:
    """A user of this module's own."""
    return sign_up(platform_of(shared_services))


@pytest.fixture
def watch(shared_services: Services) -> Watch:
    """Watch what the writer sends."""
    return Watch(shared_services)


@pytest.fixture
def repo(watch: Watch, account: Account) -> Repo:
    """The user's repo."""
    return watch.open_repo(account)


@pytest.fixture
def writer(shared_services: Services) -> Writer:
    """The writer."""
    return shared_services.batches.writer


def prepared(
    services: Services,
    repo: Repo,
    source: str = "(line)",
    *,
    rkey: str | None = None,
    cid: str | None = None,
    lease: float = 100,
) -> Prepared:
    """Return a record that is ready to be written, its document claimed for `lease` seconds."""
    key = repo.key(KIDLISP.nsid, rkey or f"3key{next(numbers):06}")
    state = SyncState(repo=repo.did, rkey=key.rkey, cid=cid, lease=Lease("t", "h", after(lease)))
    ref = ItemRef("kidlisp", ObjectId())
    document = MediaDocument(ref, "auth0|x", False, None, Fields({}), state)  # noqa: FBT003
    record = {"$type": KIDLISP.nsid, "code": "c", "source": source, "when": str(WHEN)}
    run = Run(services.store, KIDLISP, document, unobserved)
    return Prepared(run, key, record, cid_of_record(record), Parts({}, {}, ()))


def records(services: Services, repo: Repo, count: int, source: str = "(line)") -> list[Prepared]:
    """Return so many records, no two alike."""
    return [prepared(services, repo, f"{source} {number}") for number in range(count)]


def keys(items: Sequence[Prepared]) -> list[str]:
    """Return the keys of records."""
    return [item.key.rkey for item in items]


def there(repo: Repo, items: Sequence[Prepared]) -> dict[str, str]:
    """Return the versions that the repo has of records, by key."""
    wanted = set(keys(items))
    listed = repo.records(KIDLISP.nsid)
    return {record.rkey: record.cid for record in listed if record.rkey in wanted}


def versions(items: Sequence[Prepared]) -> dict[str, str]:
    """Return the versions that records should have, by key."""
    return {item.key.rkey: item.cid for item in items}


def assert_written(repo: Repo, items: Sequence[Prepared], result: Written) -> None:
    """Assert that all records are in the repo, and that the writer says so."""
    assert (result.refused, result.failed) == ([], [])
    assert sorted(keys(result.there)) == sorted(keys(items))
    assert there(repo, items) == versions(items)


def put(repo: Repo, *items: Prepared) -> None:
    """Write records behind the writer's back."""
    repo.apply([Write("create", item.key, item.record) for item in items], repo.commit())


def test_a_hundred_records_go_in_one_call(
    shared_services: Services, repo: Repo, writer: Writer, watch: Watch
) -> None:
    """All of them in as few as that allows."""
    items = records(shared_services, repo, 250)
    assert_written(repo, items, writer.write(repo, items))
    assert watch.sizes == [100, 100, 50]


def test_nothing_is_sent_for_nothing(repo: Repo, writer: Writer, watch: Watch) -> None:
    """Not even a question."""
    assert writer.write(repo, []) == Written()
    assert watch.count == {}


@pytest.mark.parametrize("letter", ["x", "\u65e5", '"', "\x01"], ids=ascii)
def test_no_call_is_larger_than_a_pds_takes(
    shared_services: Services, repo: Repo, writer: Writer, watch: Watch, letter: str
) -> None:
    """1,000,000 bytes of JSON: letters that take more there than one byte count as many."""
    width = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    items = records(shared_services, repo, 40, letter * (40_000 // width))
    assert_written(repo, items, writer.write(repo, items))
    assert len(watch.sizes) == 2
    assert max(watch.sizes) >= 20


def test_a_record_that_is_too_large_stands_alone(
    shared_services: Services, repo: Repo, writer: Writer
) -> None:
    """The PDS refuses it; its neighbours are written."""
    small = records(shared_services, repo, 6)
    large = prepared(shared_services, repo, "x" * 1_100_000)
    result = writer.write(repo, [*small[:3], large, *small[3:]])
    assert (keys(result.refused), result.failed) == ([large.key.rkey], [])
    assert there(repo, [*small, large]) == versions(small)


def test_records_that_are_there_are_recognised(
    shared_services: Services, repo: Repo, writer: Writer
) -> None:
    """Written before by a run whose end is not known: not again, and no other is held up."""
    items = records(shared_services, repo, 10)
    put(repo, *items[2:5])
    assert_written(repo, items, writer.write(repo, items))


def test_records_of_another_content_are_brought_up_to_date(
    shared_services: Services, repo: Repo, writer: Writer
) -> None:
    """The state did not know that the key is in use."""
    old = records(shared_services, repo, 5, "old")
    put(repo, *old)
    new = [prepared(shared_services, repo, "new", rkey=item.key.rkey) for item in old]
    assert_written(repo, new, writer.write(repo, new))


def test_records_that_are_gone_are_written_anew(
    shared_services: Services, repo: Repo, writer: Writer
) -> None:
    """The states believe that they are there."""
    items = [prepared(shared_services, repo, f"n {n}", cid="bafyold") for n in range(5)]
    put(repo, items[1])
    assert_written(repo, items, writer.write(repo, items))


def test_what_lies_between_the_keys_is_left_alone(
    shared_services: Services, repo: Repo, writer: Writer
) -> None:
    """Hundreds of other records may: after a doubt the writer looks past them."""
    first, last = "3between-000", "3between-999"
    others = [
        prepared(shared_services, repo, "other", rkey=f"3between-5{n:03}") for n in range(150)
    ]
    put(repo, *others)
    items = [prepared(shared_services, repo, f"n {key}", rkey=key) for key in (first, last)]
    put(repo, items[0])
    assert_written(repo, items, writer.write(repo, items))
    assert there(repo, others) == versions(others)


def test_keys_of_every_shape_are_found_again(
    shared_services: Services, repo: Repo, writer: Writer
) -> None:
    """Those of older programs are no TIDs: one letter, or the longest that there may be."""
    shapes = ["a", "self", "~.:-_", "Z" * 512, "0", "3jzfcijpj2z2a"]
    items = [prepared(shared_services, repo, f"n {key}", rkey=key) for key in shapes]
    put(repo, *items[:5])
    assert_written(repo, items, writer.write(repo, items))


def test_two_writers_of_one_repo_take_turns(
    shared_services: Services, repo: Repo, writer: Writer, watch: Watch
) -> None:
    """Chunk after chunk of the one, then those of the other."""
    parts = [records(shared_services, repo, 120) for _ in range(3)]
    results: list[Written] = []
    threads = [
        threading.Thread(target=lambda part=part: results.append(writer.write(repo, part)))
        for part in parts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.most["apply"] == 1
    assert sorted(len(result.there) for result in results) == [120, 120, 120]
    assert watch.sizes == [100, 20] * 3


def test_nothing_is_begun_that_could_end_after_the_lease(
    shared_services: Services, repo: Repo, writer: Writer, watch: Watch
) -> None:
    """Another run may have the item by then."""
    items = records(shared_services, repo, 3)
    late = prepared(shared_services, repo, lease=10)
    result = writer.write(repo, [*items, late])
    assert {type(error) for _, error in result.failed} == {LeaseLostError}
    assert (watch.sizes, there(repo, items)) == ([], {})


def test_an_item_that_was_sent_is_known_to_be_in_doubt(
    shared_services: Services, repo: Repo, writer: Writer, watch: Watch
) -> None:
    """Whoever loses it meanwhile has to confess."""
    items = records(shared_services, repo, 3)

    def be_interrupted() -> None:
        raise TransientError("no answer", step="write", code="pds_unreachable")

    watch.at(("before", "apply"), be_interrupted)
    writer.write(repo, items)
    assert [item.run.written for item in items] == [{item.key.uri} for item in items]


@pytest.fixture(autouse=True)
def _the_repo_is_whole(account: Account, shared_services: Services) -> Iterator[None]:
    """After each test, nobody holds the repo's lock."""
    yield
    with shared_services.locks.hold(account.did):
        pass
