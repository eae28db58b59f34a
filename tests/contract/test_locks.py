"""The locks of repos: one writer at a time, and none that outlives its holder for long."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from redis import Redis

from tests.waiting import wait_for
from worker.core.clock import after, now
from worker.core.documents import Status, SyncState
from worker.core.errors import MediaError, WaitError
from worker.core.redis_errors import RedisUnavailableError
from worker.core.settings import RetrySettings
from worker.dev.stack import Stack
from worker.pds.locks import RepoLocks
from worker.sync.retry import after_failure

_DIE_HOLDING = """
import os, sys
from redis import Redis
from worker.pds.locks import RepoLocks
with RepoLocks(Redis.from_url(sys.argv[1])).hold(sys.argv[2]):
    os._exit(9)
"""


@pytest.fixture
def did() -> str:
    """A repo that nobody has written to."""
    return f"did:plc:{uuid4().hex}"


def left(redis: Redis, did: str) -> int:
    """Return how many milliseconds a repo's lock has left; -2 when there is none."""
    return int(redis.pttl(f"media-atproto:repo:{did}"))


def test_there_is_one_holder_at_a_time(redis: Redis, did: str) -> None:
    """Who waits for too long is told; other repos have locks of their own."""
    locks = RepoLocks(redis, patience=0.05)
    with locks.hold(did):
        with pytest.raises(WaitError) as refused, locks.hold(did):
            pass
        with locks.hold(f"{did}-another"):
            pass
    assert (refused.value.step, refused.value.code) == ("write", "repo_locked")
    assert refused.value.until > now()
    with locks.hold(did):
        pass


def test_no_item_fails_because_200_processes_wait_for_one_repo(
    redis: Redis, did: str, stack: Stack
) -> None:
    """A lock that is held uses no attempts, not even the last one, and holds up no save."""
    settings = RetrySettings(
        max_attempts=24, max_lost=3, base=2, ceiling=3600, lease=300, repo_lock=10, parked=900
    )
    state = SyncState(status=Status.PENDING, attempts=settings.max_attempts)
    many = Redis.from_url(stack.environment["REDIS_URL"], max_connections=200)
    locks = RepoLocks(many, patience=0.1)

    def write(_: int) -> SyncState:
        with pytest.raises(MediaError) as busy, locks.hold(did):
            pass
        return after_failure(state, busy.value, settings, now())

    with many, RepoLocks(redis).hold(did), ThreadPoolExecutor(200) as pool:
        states = list(pool.map(write, range(200)))
    assert {state.error.code for state in states if state.error} == {"repo_locked"}
    assert {state.status for state in states} == {Status.PENDING}
    assert {state.attempts for state in states} == {settings.max_attempts - 1}
    assert {state.held_until for state in states} == {None}
    assert all(state.retry_at and now() < state.retry_at < after(16) for state in states)


def test_a_lock_ends_with_what_was_done_under_it(redis: Redis, did: str) -> None:
    """An error is the holder's."""
    with pytest.raises(ValueError, match="mine"), RepoLocks(redis).hold(did):
        raise ValueError("mine")
    assert left(redis, did) == -2


def test_a_lock_is_renewed_while_its_holder_lives(redis: Redis, did: str) -> None:
    """However long that takes."""
    with RepoLocks(redis, life=0.6).hold(did):
        for _ in range(2):
            wait_for(lambda: left(redis, did) < 500, within=60, what="time to pass")
            wait_for(lambda: left(redis, did) > 500, within=60, what="the lock to be renewed")


def test_a_lock_is_over_soon_after_its_holder_was_killed(
    redis: Redis, did: str, stack: Stack
) -> None:
    """Nobody waits for the dead for minutes."""
    url = stack.environment["REDIS_URL"]
    command = (sys.executable, "-c", _DIE_HOLDING, url, did)
    assert subprocess.run(command, env=os.environ, check=False).returncode == 9
    assert 0 < left(redis, did) <= 10_000


def test_a_lock_that_was_lost_is_not_taken_from_the_next_holder(redis: Redis, did: str) -> None:
    """Redis has lost it: the first holder's end does not end the second one's."""
    locks = RepoLocks(redis)
    first, second = locks.hold(did), locks.hold(did)
    first.__enter__()
    redis.delete(f"media-atproto:repo:{did}")
    second.__enter__()
    first.__exit__(None, None, None)
    assert left(redis, did) > 0
    second.__exit__(None, None, None)
    assert left(redis, did) == -2


def test_without_redis_nobody_holds_anything() -> None:
    """So nothing is written."""
    with (
        Redis.from_url("redis://127.0.0.1:9/0") as nowhere,
        pytest.raises(RedisUnavailableError),
        RepoLocks(nowhere).hold("did:plc:x"),
    ):
        pass
