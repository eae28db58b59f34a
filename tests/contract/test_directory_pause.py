"""A directory that is down or limits its callers is called rarely, by all processes together."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from worker.core.clock import after
from worker.core.errors import MediaError, WaitError
from worker.core.secrets import Secret, Vault
from worker.dev.stack import Stack
from worker.pds.directory_pause import (
    DirectoryError,
    DirectoryOutageError,
    DirectoryPausedError,
    DirectoryPauses,
)
from worker.pds.host_slots import HostSlots
from worker.pds.identity import DidResolver
from worker.pds.pds_cache import CachedPds, PdsCache

PDS = "https://pds.example.com"
LIMITED = Reply(429, b"{}", headers={"Retry-After": "600"})
DOWN = Reply(503, b"{}")


def did_of(number: int) -> str:
    """Return the DID of an account of this module."""
    return f"did:plc:pause{number:x}".translate(str.maketrans("0189", "ghij")).ljust(32, "q")


@dataclass
class Directory:
    """A directory, and processes that resolve accounts with it."""

    proxy: Proxy
    redis: Redis
    url: str
    undo: ExitStack
    vault: Vault = field(default_factory=lambda: Vault([Secret(Fernet.generate_key().decode())]))

    @property
    def key(self) -> str:
        return f"media-atproto:directory:{urlsplit(self.proxy.url).netloc}"

    @property
    def cache(self) -> PdsCache:
        return PdsCache(self.redis, self.vault)

    def process(self) -> DidResolver:
        """Return the resolver of another process."""
        redis = self.undo.enter_context(Redis.from_url(self.url, socket_timeout=5))
        resolver = DidResolver(
            PdsCache(redis, self.vault),
            self.proxy.url,
            (PDS,),
            slots=HostSlots(redis, calls=2),
            pauses=DirectoryPauses(redis),
        )
        return self.undo.enter_context(closing(resolver))

    def know(self, did: str) -> None:
        """Answer with a DID document from now on."""
        service = {"id": "#atproto_pds", "serviceEndpoint": PDS}
        self.proxy.answer(Reply(200, json.dumps({"id": did, "service": [service]}).encode()))

    def state(self) -> tuple[float, int]:
        """Return the end of the pause, and the number of failures."""
        value = self.redis.get(self.key)
        assert isinstance(value, bytes)
        until, failures = value.split()
        return float(until), int(failures)

    def pause_seconds(self) -> float:
        """Return how long calls are paused from now on."""
        return self.state()[0] - time.time()

    def let_pause_pass(self) -> None:
        """End the pause as time does."""
        until, failures = self.state()
        assert until > time.time()
        self.redis.set(self.key, f"{time.time() - 1:.3f} {failures}")


@pytest.fixture
def directory(stack: Stack, redis: Redis) -> Iterator[Directory]:
    """Run a directory in front of that of the stack."""
    with ExitStack() as undo:
        proxy = undo.enter_context(open_proxy(stack.environment["DID_RESOLVER"]))
        found = Directory(proxy, redis, stack.environment["REDIS_URL"], undo)
        yield found
        redis.delete(found.key, *(f"media-atproto:home:{did_of(number)}" for number in range(40)))


def failure(resolver: DidResolver, number: int) -> MediaError:
    """Return the error with which an account is not resolved."""
    with pytest.raises(MediaError) as caught:
        resolver.pds_of(did_of(number))
    return caught.value


def test_after_429_no_process_calls_for_any_account_before_the_named_time(
    directory: Directory,
) -> None:
    """The whole directory waits, and no attempt is used."""
    directory.proxy.answer(LIMITED)
    processes = [directory.process() for _ in range(4)]
    errors = [failure(processes[0], 0)]
    with ThreadPoolExecutor(4) as pool:
        errors += pool.map(lambda n: failure(processes[n % 4], n), range(1, 40))
    assert directory.proxy.count() == 1
    for error in errors:
        assert isinstance(error, WaitError)
        assert after(590) < error.until < after(610)
        assert error.step == "account"


def test_intervals_grow_while_the_directory_is_down(directory: Directory) -> None:
    """An outage of a day costs 300 calls, of all processes and accounts together."""
    directory.proxy.answer(DOWN)
    process, other, intervals = directory.process(), directory.process(), []
    for number in range(10):
        assert isinstance(failure(process, number), DirectoryError)
        assert isinstance(failure(other, number), DirectoryPausedError)
        intervals.append(round(directory.pause_seconds()))
        directory.let_pause_pass()
    assert intervals == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert directory.proxy.count() == 10


def test_unreachable_directory_is_paused(directory: Directory) -> None:
    """As one that reports an error."""
    directory.proxy.answer(Reply(200, b"{", cut=True))
    assert isinstance(failure(directory.process(), 1), DirectoryError)
    assert directory.pause_seconds() > 0


def test_bad_document_of_one_account_pauses_nobody(directory: Directory) -> None:
    """Its owner has written it."""
    for body in (b"no JSON", b"x" * 200_000, b'{"id": "did:plc:another"}'):
        directory.proxy.answer(Reply(200, body))
        assert isinstance(failure(directory.process(), 1), DirectoryError)
    directory.know(did_of(2))
    assert directory.process().pds_of(did_of(2)) == PDS


def test_when_a_pause_ends_one_process_calls_first(directory: Directory) -> None:
    """The others wait for its result, and are not sent away for long."""
    directory.proxy.answer(DOWN)
    processes = [directory.process() for _ in range(8)]
    failure(processes[0], 0)
    directory.let_pause_pass()
    with ThreadPoolExecutor(8) as pool:
        errors = list(pool.map(failure, processes, range(8)))
    assert directory.proxy.count() == 2
    assert sum(isinstance(error, DirectoryPausedError) for error in errors) == 7
    assert all(error.until < after(15) for error in errors if isinstance(error, WaitError))


def test_an_answer_ends_the_outage(directory: Directory) -> None:
    """The next one begins with a short pause."""
    directory.proxy.answer(DOWN)
    for number in range(3):
        failure(directory.process(), number)
        directory.let_pause_pass()
    directory.know(did_of(3))
    assert directory.process().pds_of(did_of(3)) == PDS
    directory.proxy.answer(DOWN)
    failure(directory.process(), 4)
    assert directory.pause_seconds() < 3


def test_outage_does_not_shorten_the_wait_of_a_429(directory: Directory) -> None:
    """Two processes have called at the same time."""
    pauses = DirectoryPauses(directory.redis)
    host = urlsplit(directory.proxy.url).netloc

    def end_as_outage() -> None:
        with pauses.watch(host):
            directory.proxy.answer(LIMITED)
            failure(directory.process(), 0)
            raise DirectoryOutageError("down")

    with pytest.raises(DirectoryOutageError):
        end_as_outage()
    assert directory.pause_seconds() > 500


def test_known_accounts_are_published_during_a_pause(directory: Directory) -> None:
    """Their PDS is used for 30 days without an answer of the directory."""
    moment = time.time()
    directory.cache.save(did_of(5), CachedPds(PDS, moment - 4000, moment - 400))
    directory.proxy.answer(LIMITED)
    failure(directory.process(), 0)
    assert directory.process().pds_of(did_of(5)) == PDS
    assert directory.proxy.count() == 1


@pytest.mark.parametrize(
    "planted", ["", "x", "99999999999.000 1", "nan 1", "1e9 1", "9" * 400 + ".000 1", b"\xff", None]
)
def test_planted_pause_is_ignored(directory: Directory, planted: str | bytes | None) -> None:
    """Nothing in Redis pauses a directory for more than a day."""
    if planted is None:
        directory.redis.lpush(directory.key, "a list")
    else:
        directory.redis.set(directory.key, planted)
    directory.know(did_of(1))
    assert directory.process().pds_of(did_of(1)) == PDS


def test_retry_after_of_a_year_is_a_day(directory: Directory) -> None:
    """Whatever the directory names."""
    directory.proxy.answer(Reply(429, b"{}", headers={"Retry-After": "31536000"}))
    error = failure(directory.process(), 0)
    assert isinstance(error, WaitError)
    assert error.until < after(86_401)
