"""The writer: many records of one repo, in calls that the PDS takes, all accounted for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import pytest
from bson import ObjectId

from tests.contract.claims import WHEN
from tests.fixtures import platform_of, sign_up
from tests.watching import Watch
from worker.core.cid import cid_of_record
from worker.core.clock import after
from worker.core.documents import Account, ItemRef, Lease, MediaDocument, SyncState
from worker.core.errors import TransientError
from worker.core.fields import Fields
from worker.core.records import Write
from worker.database.store import LeaseLostError
from worker.media import media_type
from worker.pds.repo import Repo
from worker.services import Services
from worker.sync.attachments import Attachments
from worker.sync.batch.writer import Writer, WriteResult
from worker.sync.publisher import PreparedRecord
from worker.sync.run import Run

KIDLISP = media_type("kidlisp")
numbers = count()


@pytest.fixture(scope="module")
def account(shared_services: Services) -> Account:
    """A user of this module's own."""
    return sign_up(platform_of(shared_services))


@dataclass(frozen=True)
class Target:
    """The writer, a repo whose calls are watched, and records to write there."""

    services: Services
    watch: Watch
    repo: Repo

    @property
    def writer(self) -> Writer:
        """Return the writer."""
        return self.services.sync.batches.writer

    def record(
        self,
        source: str = "(line)",
        *,
        rkey: str | None = None,
        cid: str | None = None,
        lease: float = 100,
    ) -> PreparedRecord:
        """Return a record that can be written, its document claimed for `lease` seconds."""
        key = self.repo.key(KIDLISP.nsid, rkey or f"3key{next(numbers):06}")
        ends = Lease("t", "h", after(lease))
        state = SyncState(repo=self.repo.did, rkey=key.rkey, cid=cid, lease=ends)
        ref = ItemRef("kidlisp", ObjectId())
        document = MediaDocument(ref, "auth0|x", False, None, Fields({}), state)  # noqa: FBT003
        record = {"$type": KIDLISP.nsid, "code": "c", "source": source, "when": str(WHEN)}
        run = Run(self.services.storage.store, KIDLISP, document, self.repo.did)
        return PreparedRecord(run, key, record, cid_of_record(record), Attachments({}, {}, ()))

    def records(self, count: int, source: str = "(line)") -> list[PreparedRecord]:
        """Return so many records, no two alike."""
        return [self.record(f"{source} {number}") for number in range(count)]

    def put(self, *items: PreparedRecord) -> None:
        """Write records without the writer."""
        writes = [Write("create", item.key, item.record) for item in items]
        self.repo.apply(writes, self.repo.commit())

    def there(self, items: Sequence[PreparedRecord]) -> dict[str, str]:
        """Return the versions of records that the repo has, by key."""
        wanted, listed = keys(items), self.repo.records(KIDLISP.nsid)
        return {record.rkey: record.cid for record in listed if record.rkey in wanted}

    def assert_written(self, items: Sequence[PreparedRecord]) -> None:
        """Write records; assert that all are in the repo, and that the writer says so."""
        result = self.writer.write(self.repo, items)
        assert (result.rejected, result.failed) == ([], [])
        assert sorted(item.cid for item in result.written) == sorted(item.cid for item in items)
        assert self.there(items) == versions(items)


@pytest.fixture
def target(shared_services: Services, account: Account) -> Target:
    """The writer and that user's repo."""
    watch = Watch(shared_services)
    return Target(shared_services, watch, watch.open_repo(account))


def keys(items: Sequence[PreparedRecord]) -> set[str]:
    """Return the keys of records."""
    return {item.key.rkey for item in items}


def versions(items: Sequence[PreparedRecord]) -> dict[str, str]:
    """Return the versions that records should have, by key."""
    return {item.key.rkey: item.cid for item in items}


def test_a_hundred_records_go_in_one_call(target: Target) -> None:
    """All of them in as few as that allows."""
    items = target.records(250)
    target.assert_written(items)
    assert target.watch.sizes == [100, 100, 50]


def test_nothing_is_sent_for_nothing(target: Target) -> None:
    """Not even a question."""
    assert target.writer.write(target.repo, []) == WriteResult()
    assert target.watch.count == {}


@pytest.mark.parametrize("letter", ["x", "\u65e5", '"', "\x01"], ids=ascii)
def test_no_call_is_larger_than_a_pds_takes(target: Target, letter: str) -> None:
    """1,000,000 bytes of JSON: letters that take more there than one byte count as many."""
    width = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    items = target.records(40, letter * (40_000 // width))
    target.assert_written(items)
    assert len(target.watch.sizes) == 2
    assert max(target.watch.sizes) >= 20


def test_a_record_that_is_too_large_stands_alone(target: Target) -> None:
    """The PDS refuses it; its neighbours are written."""
    small = target.records(6)
    large = target.record("x" * 1_100_000)
    result = target.writer.write(target.repo, [*small[:3], large, *small[3:]])
    assert (keys(result.rejected), result.failed) == ({large.key.rkey}, [])
    assert target.there([*small, large]) == versions(small)


def test_records_that_are_there_are_recognised(target: Target) -> None:
    """Written before by a run whose end is not known: not again, and no other is held up."""
    items = target.records(10)
    target.put(*items[2:5])
    target.assert_written(items)


def test_records_of_another_content_are_brought_up_to_date(target: Target) -> None:
    """The state did not know that the key is in use."""
    old = target.records(5, "old")
    target.put(*old)
    new = [target.record("new", rkey=item.key.rkey) for item in old]
    target.assert_written(new)


def test_records_that_are_gone_are_written_anew(target: Target) -> None:
    """The states believe that they are there."""
    items = [target.record(f"n {n}", cid="bafyold") for n in range(5)]
    target.put(items[1])
    target.assert_written(items)


def test_what_lies_between_the_keys_is_left_alone(target: Target) -> None:
    """Hundreds of other records may: after a doubt the writer looks past them."""
    first, last = "3between-000", "3between-999"
    others = [target.record("other", rkey=f"3between-5{n:03}") for n in range(150)]
    target.put(*others)
    items = [target.record(f"n {key}", rkey=key) for key in (first, last)]
    target.put(items[0])
    target.assert_written(items)
    assert target.there(others) == versions(others)


def test_distant_keys_are_read_one_by_one_after_a_lost_race(target: Target) -> None:
    """Not with a listing of the records between them, of which there may be a million."""
    others = [target.record("other", rkey=f"3distant-5{n:03}") for n in range(350)]
    for begin in range(0, len(others), 100):
        target.put(*others[begin : begin + 100])
    keys = [f"3distant-{n}" for n in (1, 2, 8, 9)]
    items = [target.record(f"n {key}", rkey=key) for key in keys]
    target.put(items[0], items[2])
    assert len(target.writer.write(target.repo, items).written) == 4
    assert (target.watch.count["get"], target.watch.count["page"]) == (2, 1)
    assert target.there(items) == versions(items)


def test_keys_of_every_shape_are_found_again(target: Target) -> None:
    """Those of older programs are no TIDs: one letter, or the longest that there may be."""
    shapes = ["a", "self", "~.:-_", "Z" * 512, "0", "3jzfcijpj2z2a"]
    items = [target.record(f"n {key}", rkey=key) for key in shapes]
    target.put(*items[:5])
    target.assert_written(items)


def test_two_writers_of_one_repo_take_turns(target: Target) -> None:
    """Chunk after chunk of the one, then those of the other."""
    parts = [target.records(120) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda part: target.writer.write(target.repo, part), parts))
    assert target.watch.most["apply"] == 1
    assert [len(result.written) for result in results] == [120, 120, 120]
    assert target.watch.sizes == [100, 20] * 3


def test_nothing_is_begun_that_could_end_after_the_lease(target: Target) -> None:
    """Another run may have the item by then."""
    items = target.records(3)
    late = target.record(lease=10)
    result = target.writer.write(target.repo, [*items, late])
    assert {type(error) for _, error in result.failed} == {LeaseLostError}
    assert (target.watch.sizes, target.there(items)) == ([], {})


def test_an_item_that_was_sent_is_known_to_be_in_doubt(target: Target) -> None:
    """Whoever loses it meanwhile has to confess."""
    items = target.records(3)

    def be_interrupted() -> None:
        raise TransientError("no answer", step="write", code="pds_unreachable")

    target.watch.at(("before", "apply"), be_interrupted)
    target.writer.write(target.repo, items)
    assert [item.run.written for item in items] == [{item.key.uri} for item in items]


@pytest.fixture(autouse=True)
def _the_repo_is_whole(account: Account, shared_services: Services) -> Iterator[None]:
    """After each test, nobody holds the repo's lock."""
    yield
    with shared_services.pds.locks.hold(account.did):
        pass
