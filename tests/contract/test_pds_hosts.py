"""Accounts live where their DID documents say, and are followed when they move."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.environments import new_settings
from tests.fixtures import Opener
from worker.core.documents import Account
from worker.core.errors import AccountError
from worker.core.secrets import Secret, Vault
from worker.dev.stack import Stack
from worker.pds.account_cache import AccountCache
from worker.pds.directory_pause import DirectoryError, DirectoryPauses
from worker.pds.host_slots import HostSlots
from worker.pds.identity import DidResolver
from worker.pds.pds_cache import CachedPds, PdsCache
from worker.pds.repo import Repo
from worker.services import Services

Places = tuple[Proxy, Proxy, Proxy]

_GONE = Reply(401, b'{"error":"AccountDeactivated","message":"gone"}')


@dataclass
class Move:
    """An account, the directory that knows where it lives, and two places where that may be."""

    services: Services
    account: Account
    directory: Proxy
    old: Proxy
    new: Proxy
    redis: Redis
    nsid: str = field(default_factory=lambda: f"computer.aesthetic.m{uuid4().hex[:12]}")

    @property
    def repo(self) -> Repo:
        """Return the account's repo, as a task opens it."""
        return self.services.pds.repo(self.account)

    def live_at(self, url: str, *, did: str | None = None) -> None:
        """Have the directory say that the account lives there."""
        service = {
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": url,
        }
        self.say({"id": did or self.account.did, "service": [service]})

    def say(self, document: object, status: int = 200) -> None:
        """Have the directory answer so."""
        self.directory.answer(Reply(status, json.dumps(document).encode()), self.account.did)

    def write(self, rkey: str) -> None:
        """Write a record."""
        record = {"$type": self.nsid, "text": "calm"}
        self.repo.put(self.repo.key(self.nsid, rkey), record, None)

    def pass_time(self, seconds: int) -> None:
        """Let what is kept of the account's home grow older."""
        cache = PdsCache(self.redis, self.services.pds.vault)
        entry = cache.find(self.account.did)
        assert entry
        times = (entry.found_at - seconds, entry.fresh_until - seconds)
        cache.save(self.account.did, CachedPds(entry.url, *times))

    def end_pause(self) -> None:
        """Let the pause of the directory be over."""
        host = urlsplit(self.directory.url).netloc
        self.redis.delete(f"media-atproto:directory:{host}")

    def forget(self, *names: str) -> int:
        """Delete what Redis has of the account under these names; return how much it was."""
        keys = [self.redis.keys(f"media-atproto:{name}:{self.account.did}:*") for name in names]
        return sum(self.redis.delete(key) for found in keys for key in found)


@pytest.fixture
def places(stack: Stack) -> Iterator[Places]:
    """A directory, and two addresses of the PDS."""
    with ExitStack() as undo:
        yield (
            undo.enter_context(open_proxy(stack.environment["DID_RESOLVER"])),
            undo.enter_context(open_proxy(stack.environment["PDS_URL"])),
            undo.enter_context(open_proxy(stack.environment["PDS_URL"])),
        )


@pytest.fixture
def move(
    stack: Stack,
    places: Places,
    redis: Redis,
    open_services: Opener,
    shared_user: Account,
) -> Iterator[Move]:
    """An account at the place that PDS_URL names; nobody knows of it yet."""
    directory, old, new = places
    urls = {"PDS_URL": old.url, "DID_RESOLVER": directory.url, "TRUSTED_PDS_URLS": new.url}
    services = open_services(new_settings(stack, **urls))
    keys = AccountCache(redis)
    keys.delete_all(shared_user.did)
    move = Move(services, shared_user, directory, old, new, redis)
    move.live_at(old.url)
    yield move
    keys.delete_all(shared_user.did)


def test_document_wins_over_the_setting(move: Move) -> None:
    """Login, record, blob, and reading: all go where the account lives."""
    move.live_at(move.new.url)
    move.write("a")
    move.repo.upload(b"bytes", "text/plain")
    assert move.repo.get(move.repo.key(move.nsid, "a")) is not None
    assert [r.rkey for r in move.repo.records(move.nsid)] == ["a"]
    assert move.repo.export()
    assert move.old.count() == 0
    assert move.new.count("createSession") == 1


def test_nobody_asks_twice_within_an_hour(move: Move) -> None:
    """Not for each call, not for each item, not for each worker."""
    for rkey in "abc":
        move.write(rkey)
    assert move.directory.count() == 1
    move.pass_time(3601)
    move.write("d")
    assert move.directory.count() == 2


@pytest.mark.parametrize("has_session", [True, False])
def test_account_that_has_moved_is_followed_at_once(move: Move, *, has_session: bool) -> None:
    """The old PDS refuses it; the directory is asked, so it is neither parked nor reported."""
    move.write("a")
    move.pass_time(61)
    if not has_session:
        move.forget("session")
    move.old.answer(_GONE)
    move.live_at(move.new.url)
    move.write("b")
    assert move.new.count("putRecord") == 1
    assert {r.rkey for r in move.repo.records(move.nsid)} == {"a", "b"}
    assert move.forget("parked", "told") == 0


def test_account_in_trouble_where_it_lives_is_parked(move: Move) -> None:
    """And nobody asks the directory again for each of its items."""
    move.write("a")
    move.pass_time(61)
    move.old.answer(_GONE)
    for rkey in "bcd":
        with pytest.raises(AccountError) as caught:
            move.write(rkey)
        assert caught.value.code == "account_deactivated"
    assert move.forget("parked", "told") == 2
    assert move.directory.count() == 2
    assert move.old.count("putRecord") == 2


def test_directory_that_is_away_holds_up_nobody_who_was_known(move: Move) -> None:
    """The account is taken to be where it was, and for a while nobody waits for the directory."""
    move.write("a")
    move.pass_time(3601)
    move.say({}, 503)
    move.write("b")
    move.write("c")
    assert move.directory.count() == 2


def test_directory_that_is_away_is_a_transient_error(move: Move) -> None:
    """Of an account that nobody knows yet; its password goes nowhere."""
    move.say({}, 503)
    with pytest.raises(DirectoryError) as caught:
        move.write("a")
    assert (caught.value.step, caught.value.code) == ("account", "directory_unavailable")
    assert move.old.count() == move.new.count() == 0
    move.end_pause()
    move.live_at(move.new.url)
    move.write("a")


@pytest.mark.parametrize("status", [404, 410])
def test_account_that_there_is_not_waits_and_is_not_asked_for_each_time(
    move: Move, status: int
) -> None:
    """Its DID was never made, or is a tombstone."""
    move.say({}, status)
    for rkey in "ab":
        with pytest.raises(AccountError) as caught:
            move.write(rkey)
        assert caught.value.code == "did_not_found"
    assert (move.directory.count(), move.old.count()) == (1, 0)


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"id": "did:plc:another"},
        {"id": None, "service": "none"},
        {"service": [{"id": "#other", "serviceEndpoint": "http://127.0.0.1:9"}, 7]},
        {"service": [{"id": "#atproto_pds", "serviceEndpoint": 7}]},
        {"service": [{"id": "#atproto_pds", "serviceEndpoint": "file:///etc/passwd"}]},
        {"service": [{"id": "#atproto_pds", "serviceEndpoint": "http://user:word@pds.example"}]},
        {"padding": "x" * 200_000},
    ],
)
def test_document_that_names_no_pds_sends_nothing_anywhere(move: Move, document: object) -> None:
    """Whatever a directory, or an account's owner, has put there."""
    move.say({"id": move.account.did, **document} if isinstance(document, dict) else document)
    with pytest.raises(DirectoryError):
        move.write("a")
    assert move.old.count() == move.new.count() == 0


@pytest.mark.parametrize(
    "did", ["", "did:key:z6Mk", "did:plc:short", "did:web:localhost%3A80", "x"]
)
def test_text_that_is_no_did_of_an_account_is_looked_for_nowhere(move: Move, did: str) -> None:
    """What stands in MongoDB may be anything."""
    with pytest.raises(AccountError, match="no DID document"):
        move.services.pds.client_of(did)
    assert move.directory.count() == 0


def test_own_pdses_may_be_anywhere(stack: Stack, redis: Redis) -> None:
    """The operator has named them, so their URLs may have any scheme, address and port."""
    own = ("http://localhost:2583", "http://10.0.0.7:3000")
    assert [ask(stack, redis, f"{url}/", own=own) for url in own] == list(own)


def ask(stack: Stack, redis: Redis, url: str, *, own: tuple[str, ...]) -> str:
    """Return where an account lives whose document names a URL."""
    did = "did:plc:" + "b" * 24
    service = {"id": f"{did}#atproto_pds", "serviceEndpoint": url}
    with ExitStack() as undo:
        undo.callback(redis.delete, f"media-atproto:home:{did}")
        redis.delete(f"media-atproto:home:{did}")
        plc = undo.enter_context(open_proxy(stack.environment["DID_RESOLVER"]))
        plc.answer(Reply(200, json.dumps({"id": did, "service": [service]}).encode()))
        cache = PdsCache(redis, Vault([Secret(Fernet.generate_key().decode())]))
        resolver = DidResolver(
            cache, plc.url, own, slots=HostSlots(redis, calls=2), pauses=DirectoryPauses(redis)
        )
        return undo.enter_context(closing(resolver)).pds_of(did)


@pytest.mark.parametrize("by_sweep", [False, True])
def test_a_move_is_reported_with_the_time_of_the_last_answer(
    stack: Stack, redis: Redis, *, by_sweep: bool
) -> None:
    """What was written since then may be at the old PDS, until the new one is cached."""
    did = "did:plc:" + "c" * 24
    old, new = "https://old.example.com", "https://new.example.com"
    service = {"id": f"{did}#atproto_pds", "serviceEndpoint": new}
    moves: list[tuple[str, float, str | None]] = []
    with ExitStack() as undo:
        undo.callback(redis.delete, f"media-atproto:home:{did}", "media-atproto:unconfirmed")
        plc = undo.enter_context(open_proxy(stack.environment["DID_RESOLVER"]))
        plc.answer(Reply(200, json.dumps({"id": did, "service": [service]}).encode()))
        cache = PdsCache(redis, Vault([Secret(Fernet.generate_key().decode())]))
        found_at = time.time() - 4000

        def on_move(did: str, since: float) -> None:
            entry = cache.find(did)
            moves.append((did, since, entry.url if entry else None))

        cache.save(did, CachedPds(old, found_at, found_at + 3600))
        resolver = DidResolver(
            cache,
            plc.url,
            (old, new),
            slots=HostSlots(redis, calls=2),
            pauses=DirectoryPauses(redis),
            on_move=on_move,
        )
        undo.enter_context(closing(resolver))
        if by_sweep:
            resolver.confirm_used()
        assert resolver.pds_of(did) == new
        assert plc.count() == 1
    assert moves == [(did, found_at, old), (did, found_at, new)]


def test_a_used_pds_is_confirmed_once(move: Move) -> None:
    """When its time is over, although no item of the account is synced any more."""
    resolver = move.services.pds.resolver
    move.write("a")
    resolver.confirm_used()
    assert move.directory.count() == 1
    move.pass_time(3601)
    for _ in range(2):
        resolver.confirm_used()
    assert move.directory.count() == 2


@pytest.mark.parametrize("planted", ["text", "dids"])
def test_values_that_other_programs_plant_confirm_nothing(move: Move, planted: str) -> None:
    """Only a DID with a sealed URL is looked up."""
    name, resolver = "media-atproto:unconfirmed", move.services.pds.resolver
    move.redis.delete(name)
    if planted == "text":
        move.redis.set(name, "a text")
    else:
        move.redis.zadd(name, {"did:plc:" + "z" * 24: 1, "no DID": 2})
    resolver.confirm_used()
    assert move.directory.count() == 0
    move.write("a")
    assert move.redis.zscore(name, move.account.did)
    assert move.redis.zrange(name, 0, -1) == [move.account.did.encode()]


def test_a_directory_that_is_away_is_not_asked_by_each_sweep(move: Move) -> None:
    """The account is confirmed an hour later."""
    resolver = move.services.pds.resolver
    move.write("a")
    move.pass_time(3601)
    move.say({}, 503)
    for _ in range(2):
        resolver.confirm_used()
    assert move.directory.count() == 2
    asked_again = move.redis.zscore("media-atproto:unconfirmed", move.account.did)
    assert asked_again is not None
    assert asked_again > time.time() + 3000
