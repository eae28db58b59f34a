"""Removing many records of a repo: what is told to be gone is gone, and nothing else is."""

from __future__ import annotations

import threading
from dataclasses import replace
from uuid import uuid4

import pytest
from redis import Redis

from tests.contract.pds_faults import FAULTS
from tests.contract.proxy import Proxy, Reply
from tests.fixtures import platform_of, sign_up
from tests.world import World
from worker.core.documents import Account
from worker.core.errors import AccountError, TransientError, WaitError
from worker.core.records import RecordKey, Write
from worker.core.secrets import Secret
from worker.pds.locks import RepoLocks
from worker.pds.record_deleter import RecordDeleter
from worker.pds.repo import Repo
from worker.services import Services

MOOD = "computer.aesthetic.mood"
PIECE = "computer.aesthetic.piece"


@pytest.fixture
def services(proxied: tuple[World, Proxy]) -> Services:
    """Return services whose PDS is behind the proxy."""
    return proxied[0].services


@pytest.fixture
def account(services: Services) -> Account:
    """A user with an account."""
    return sign_up(platform_of(services))


@pytest.fixture
def repo(services: Services, account: Account) -> Repo:
    """The repo of that user."""
    return services.pds.repo(account)


@pytest.fixture
def locks(redis: Redis) -> RepoLocks:
    """Return the locks that the fleet shares."""
    return RepoLocks(redis)


@pytest.fixture
def record_deleter(locks: RepoLocks) -> RecordDeleter:
    """An eraser of ten records at a time."""
    return RecordDeleter(locks, batch=10)


def filled(repo: Repo, count: int, collection: str = MOOD) -> list[RecordKey]:
    """Write records and return their keys, in order."""
    mark = uuid4().hex
    keys = [repo.key(collection, f"{mark}-{number:04}") for number in range(count)]
    for start in range(0, count, 100):
        part = keys[start : start + 100]
        writes = [Write("create", key, {"$type": collection, "text": "calm"}) for key in part]
        repo.apply(writes, repo.commit())
    return keys


def there(repo: Repo, collection: str = MOOD) -> set[RecordKey]:
    """Return the keys of what a collection holds."""
    return {repo.key(collection, record.rkey) for record in repo.records(collection)}


def test_several_hundred_records_are_gone(locks: RepoLocks, repo: Repo, proxy: Proxy) -> None:
    """With a call for a hundred, each told once and in its order; all else stays."""
    kept, keys = filled(repo, 5), filled(repo, 430)
    proxy.forget_calls()
    told = [list(gone) for gone in RecordDeleter(locks).delete(repo, keys)]
    assert [len(gone) for gone in told] == [100, 100, 100, 100, 30]
    assert [key for gone in told for key in gone] == keys
    assert proxy.count("applyWrites") == 5
    assert there(repo) == set(kept)


def test_nothing_to_remove_is_no_call(
    record_deleter: RecordDeleter, repo: Repo, proxy: Proxy
) -> None:
    """Neither the lock nor the PDS is asked."""
    proxy.forget_calls()
    assert list(record_deleter.delete(repo, [])) == []
    assert proxy.count() == 0


def test_keys_of_several_collections_and_named_twice(
    record_deleter: RecordDeleter, repo: Repo
) -> None:
    """What would fail a batch, one key twice, does not reach the PDS."""
    keys = filled(repo, 3) + filled(repo, 3, PIECE)
    told = list(record_deleter.delete(repo, keys + keys))
    assert [list(gone) for gone in told] == [keys]
    assert there(repo) == there(repo, PIECE) == set()


def test_records_that_somebody_removed_meanwhile_are_told_to_be_gone(
    record_deleter: RecordDeleter, repo: Repo
) -> None:
    """A missing one fails its whole batch: the PDS is asked, and the rest is sent again."""
    keys = filled(repo, 25)
    for key in (keys[0], keys[13], keys[24]):
        repo.delete(key)
    told = [list(gone) for gone in record_deleter.delete(repo, keys)]
    assert sorted(key.rkey for gone in told for key in gone) == [key.rkey for key in keys]
    assert [keys[0]] in told
    assert there(repo) == set()


@pytest.mark.parametrize("carried_out", [False, True], ids=["ignored", "carried out"])
@pytest.mark.parametrize("fault", ["500", "502 of a proxy", "a cut connection"])
def test_an_unknown_outcome_is_looked_at(
    record_deleter: RecordDeleter, repo: Repo, proxy: Proxy, fault: str, *, carried_out: bool
) -> None:
    """Carried out, it is not sent again; if batches never get through, single deletes do."""
    keys = filled(repo, 12)
    proxy.answer(replace(FAULTS[fault], carried_out=carried_out), "applyWrites")
    proxy.forget_calls()
    told = [key for gone in record_deleter.delete(repo, keys) for key in gone]
    assert told == keys
    assert there(repo) == set()
    tries = 1 if carried_out else 3
    assert proxy.count("applyWrites") == 2 * tries
    assert proxy.count("deleteRecord") == (0 if carried_out else 12)


def test_live_saves_to_the_same_repo_get_in_between(
    record_deleter: RecordDeleter, services: Services, account: Account
) -> None:
    """They take no lock, and each moves the repo on: all old records go, all new ones stay."""
    repo, live = services.pds.repo(account), services.pds.repo(account)
    keys = filled(repo, 60)
    saved: list[RecordKey] = []
    done = threading.Event()

    def save() -> None:
        while not done.is_set():
            key = live.key(MOOD, uuid4().hex)
            live.put(key, {"$type": MOOD, "text": "live"}, None)
            saved.append(key)

    saving = threading.Thread(target=save)
    saving.start()
    try:
        told = [key for gone in record_deleter.delete(repo, keys) for key in gone]
    finally:
        done.set()
        saving.join()
    assert told == keys
    assert saved
    assert there(repo) == set(saved)


def test_the_caller_does_not_work_under_the_lock(
    record_deleter: RecordDeleter, repo: Repo, locks: RepoLocks
) -> None:
    """Another worker gets its turn between two batches."""
    keys = filled(repo, 30)
    turns = 0
    for _ in record_deleter.delete(repo, keys):
        with locks.hold(repo.did):
            turns += 1
    assert turns == 3


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(429, b'{"error":"RateLimitExceeded"}', headers={"Retry-After": "60"}), WaitError),
        (Reply(401, b'{"error":"AccountTakedown"}'), AccountError),
    ],
    ids=["wait", "account"],
)
def test_what_no_repetition_helps_is_raised_at_once(
    record_deleter: RecordDeleter, repo: Repo, proxy: Proxy, reply: Reply, error: type[Exception]
) -> None:
    """What was told before stays gone; nothing more is sent."""
    keys = filled(repo, 30)
    gone: list[RecordKey] = []
    erasing = record_deleter.delete(repo, keys)
    gone += next(erasing)
    proxy.answer(reply, "applyWrites")
    proxy.forget_calls()
    with pytest.raises(error):
        list(erasing)
    assert proxy.count("applyWrites") == 1
    assert proxy.count("deleteRecord") == 0
    assert there(repo) == set(keys[10:])


def test_a_pds_that_is_away_is_no_confirmation(
    record_deleter: RecordDeleter, repo: Repo, proxy: Proxy
) -> None:
    """It ends with its error; back again, the PDS has what was not told to be gone."""
    keys = filled(repo, 30)
    erasing = record_deleter.delete(repo, keys)
    gone = list(next(erasing))
    proxy.answer(FAULTS["a cut connection"])
    with pytest.raises(TransientError):
        next(erasing)
    proxy.be_honest()
    assert there(repo) == set(keys) - set(gone)
    assert [key for part in record_deleter.delete(repo, keys) for key in part] != []
    assert there(repo) == set()


def test_a_wrong_password_is_told_before_anything_is_removed(
    record_deleter: RecordDeleter, services: Services, repo: Repo
) -> None:
    """By the account's error, which says whose it is."""
    keys = filled(repo, 5)
    wrong = Account("auth0|x", repo.did, "x.test", Secret("not the password"))
    with pytest.raises(AccountError, match="the stored password is refused"):
        list(record_deleter.delete(services.pds.repo(wrong), keys))
    assert there(repo) == set(keys)
