"""One session per account for the whole fleet: made once, and kept sealed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.session_fleet import MOOD, NSID, Fleet
from tests.waiting import wait_for
from worker.core.redis_errors import RedisUnavailableError
from worker.core.secrets import Secret
from worker.dev.stack import Stack
from worker.pds.account_cache import AccountCache
from worker.pds.errors import AccountUnusableError
from worker.pds.sessions import Sessions


def test_workers_at_the_same_moment_log_in_once(fleet: Fleet) -> None:
    """Eight at once: one login, and all have its session."""
    workers = [fleet.sessions() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda worker: worker.get(fleet.account), workers))
    assert fleet.logins_and_refreshes() == (1, 0)
    assert sessions == [sessions[0]] * 8
    assert sessions[0].did == fleet.account.did


ONE_LOGIN = """
import os, sys
from redis import Redis
from worker.core.documents import Account
from worker.pds.client import PdsClient
from worker.core.secrets import Secret, Vault
from worker.pds.sessions import Sessions
redis, pds = Redis.from_url(os.environ["REDIS_URL"]), PdsClient(os.environ["PDS_URL"])
sessions = Sessions(redis, Vault([Secret(os.environ["SECRET_KEYS"])]), pds, parked=60)
account = Account("someone", os.environ["DID"], "someone.test", Secret(os.environ["PASSWORD"]))
print("ready", flush=True)
sys.stdin.readline()
print(sessions.get(account).access.reveal())
"""


def test_processes_at_the_same_moment_log_in_once(stack: Stack, fleet: Fleet) -> None:
    """Workers share nothing but Redis, and that is enough."""
    password = fleet.account.password.reveal()
    own = {"PDS_URL": fleet.proxy.url, "DID": fleet.account.did, "PASSWORD": password}
    with ExitStack() as undo:
        workers = [undo.enter_context(python(ONE_LOGIN, stack.environment | own)) for _ in range(3)]
        assert [worker.stdout.readline() for worker in workers if worker.stdout] == ["ready\n"] * 3
        for worker in workers:
            print("go", file=worker.stdin, flush=True)
        tokens = {worker.communicate(timeout=60)[0] for worker in workers}
    assert fleet.logins_and_refreshes() == (1, 0)
    assert tokens == {fleet.sessions().get(fleet.account).access.reveal() + "\n"}


def python(script: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start another Python, to talk to over its standard streams."""
    return subprocess.Popen(
        (sys.executable, "-c", script),
        cwd=Path(__file__).parents[2],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_session_is_kept_for_later_calls(fleet: Fleet) -> None:
    """Neither another call nor another worker logs in again."""
    first = fleet.sessions().get(fleet.account)
    fleet.repo().put(fleet.repo().key(NSID, "one"), MOOD, None)
    assert fleet.sessions().get(fleet.account) == first
    assert fleet.logins_and_refreshes() == (1, 0)


def test_redis_never_sees_a_token_or_a_password(fleet: Fleet, stack: Stack) -> None:
    """Not in a value, not in a name, whatever the state: logged in, refreshed, parked."""
    session = fleet.sessions().get(fleet.account)
    renewed = fleet.sessions().renew(fleet.account, session)
    fault = AccountUnusableError("the account is deactivated", code="account_deactivated")
    everything = [dump(fleet.redis)]
    fleet.sessions().park(fleet.account, fault)
    everything.append(dump(fleet.redis))
    password = fleet.account.password.reveal()
    digest = hashlib.sha256(f"{fleet.proxy.url} {password}".encode()).hexdigest()
    tokens = [each.reveal() for s in (session, renewed) for each in (s.access, s.refresh)]
    parts = {part for token in tokens for part in token.split(".")[1:]}
    for secret in {password, digest[:16], *parts}:
        assert all(secret.encode() not in dumped for dumped in everything)


def dump(redis: Redis) -> bytes:
    """Return all names and values; those of other types than text as Redis would save them."""
    found = []
    for name in redis.scan_iter():
        value = redis.get(name) if redis.type(name) == b"string" else redis.dump(name)
        found += [name, value or b""]
    return b"\n".join(found)


def test_names_in_redis_do_not_help_to_guess_a_password(fleet: Fleet) -> None:
    """Without the keys, nobody can tell which password a name was made from."""
    mine = fleet.sessions()
    mine.get(fleet.account)
    other = fleet.sessions(Secret(Fernet.generate_key().decode()))
    other.get(fleet.account)
    assert len(fleet.names("session")) == 2


def test_locks_and_parking_notes_end_by_themselves(fleet: Fleet) -> None:
    """Nothing stays in Redis for ever, and no lock is left behind."""
    fleet.plant()
    fleet.sessions().park(fleet.account, AccountUnusableError("odd", code="odd"))
    AccountCache(fleet.redis).delete_all(fleet.account.did)
    fleet.sessions().get(fleet.account)
    assert fleet.names() == [fleet.kept()]
    assert 0 < int(fleet.redis.ttl(fleet.kept())) <= 90 * 86_400


def test_no_redis_is_a_transient_error(fleet: Fleet) -> None:
    """Without the shared session nothing is sent: a login per worker would use up the limit."""
    with Redis.from_url("redis://127.0.0.1:9/0") as nowhere:
        sessions = Sessions(nowhere, fleet.vault, fleet.pds, parked=60)
        for attempt in (
            lambda: sessions.get(fleet.account),
            lambda: sessions.renew(fleet.account, None),
            lambda: sessions.park(fleet.account, AccountUnusableError("odd", code="odd")),
        ):
            with pytest.raises(RedisUnavailableError) as caught:
                attempt()
            assert (caught.value.step, caught.value.code) == ("session", "redis_unavailable")
    assert fleet.proxy.calls == []


def test_lock_of_a_login_is_over_soon_after_its_holder_was_killed(
    own_fleet: Fleet, own_stack: Stack
) -> None:
    """It is renewed as long as its holder lives: until then others have to wait, not after."""
    with ThreadPoolExecutor(1) as pool:
        own_stack.pds.freeze()
        try:
            login = pool.submit(own_fleet.sessions().get, own_fleet.account)
            wait_for(lambda: own_fleet.names("login"), within=30, what="a login to be under way")
            (name,) = own_fleet.names("login")
            assert 0 < int(own_fleet.redis.pttl(name)) <= 10_000
        finally:
            own_stack.pds.thaw()
        assert login.result().did == own_fleet.account.did


def test_lock_of_a_dead_worker_holds_nobody_for_ever(fleet: Fleet) -> None:
    """It has an end of its own, and whoever waits for it goes on then."""
    fleet.plant()
    name = fleet.kept()
    fleet.redis.delete(name)
    fleet.redis.set(name.replace(":session:", ":login:"), "a dead worker", px=50)
    assert fleet.sessions().get(fleet.account).did == fleet.account.did
