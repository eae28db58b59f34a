"""Slow hosts of accounts: they occupy few processes, and delay the items of no other account."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from redis import Redis

from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.environments import new_settings
from tests.fixtures import Opener
from tests.waiting import wait_for
from tests.world import World
from worker.core.clock import after, now
from worker.core.documents import Account, Status
from worker.core.errors import LockHeldError
from worker.core.secrets import Secret, Vault
from worker.dev.stack import Stack
from worker.media import media_type
from worker.pds.account_cache import AccountCache
from worker.pds.client import PdsClient
from worker.pds.directory_pause import DirectoryPauses
from worker.pds.host_slots import HostBusyError, HostSlots
from worker.pds.identity import DidResolver, StaticPdsResolver
from worker.pds.locks import hold_lock
from worker.pds.pds_cache import PdsCache
from worker.pds.repo import Repo
from worker.pds.routing import PdsHost, PdsHosts
from worker.pds.sessions import Sessions
from worker.sync.batch.engine import BatchRequest
from worker.sync.engine import Engine
from worker.sync.outcome import Outcome

_DID = f"did:plc:{'d' * 24}"


@pytest.fixture
def host(redis: Redis) -> Iterator[str]:
    """Return a host that no other test calls."""
    name = f"{uuid4().hex}.example"
    yield name
    redis.delete(key_of(name))


def key_of(host: str) -> str:
    """Return the name of the sorted set of a host."""
    return f"media-atproto:calls:{host}"


def is_busy(slots: HostSlots, host: str) -> bool:
    """Return whether a call to a host finds no slot."""
    try:
        with slots.hold(host, "read"):
            return False
    except HostBusyError:
        return True


def seconds_held(redis: Redis, host: str) -> list[float]:
    """Return for how many seconds the slots of a host are taken."""
    seconds, micros = redis.time()
    moment = seconds + micros / 1e6
    scores = [redis.zscore(key_of(host), token) for token in tokens(redis, host)]
    return [float(score or 0) / 1000 - moment for score in scores]


def tokens(redis: Redis, host: str) -> list[bytes]:
    """Return the tokens of a host's slots."""
    return [token for token in redis.zrange(key_of(host), 0, -1) if isinstance(token, bytes)]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.moment = 0.0

    def __call__(self) -> float:
        return self.moment


def test_call_without_a_slot_is_refused_until_one_is_free(redis: Redis, host: str) -> None:
    """Of all processes together; calls to other hosts are not concerned."""
    one, two, three = (HostSlots(redis, calls=2) for _ in range(3))
    with one.hold(host, "read"):
        with two.hold(host, "read"):
            with pytest.raises(HostBusyError) as refused, three.hold(host, "read"):
                pass
            assert not is_busy(three, f"other-{host}")
        assert not is_busy(three, host)
    redis.delete(key_of(f"other-{host}"))
    assert (refused.value.code, refused.value.step) == ("host_busy", "read")
    assert now() < refused.value.until < after(30)


@pytest.mark.parametrize(("seconds", "longest"), [(12.0, 40.0), (1e9, 600.0)])
def test_slow_call_reserves_its_slot(
    redis: Redis, host: str, seconds: float, longest: float
) -> None:
    """Four times the excess, and 10 minutes at most: it is then nobody's."""
    clock = Clock()
    with HostSlots(redis, calls=1, clock=clock).hold(host, "read"):
        clock.moment = seconds
    (held,) = seconds_held(redis, host)
    assert longest / 2 < held <= longest
    with pytest.raises(HostBusyError) as refused, HostSlots(redis, calls=1).hold(host, "read"):
        pass
    assert refused.value.until > after(held)


def test_fast_call_reserves_nothing(redis: Redis, host: str) -> None:
    """A call of 2 seconds is fast."""
    clock = Clock()
    with HostSlots(redis, calls=1, clock=clock).hold(host, "read"):
        clock.moment = 2.0
    assert seconds_held(redis, host) == []


KILLED = """
import sys
from cryptography.fernet import Fernet
from redis import Redis
from worker.pds.host_slots import HostSlots
with HostSlots(Redis.from_url(sys.argv[1]), calls=1).hold(sys.argv[2], "read"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_slot_of_a_killed_process_expires(stack: Stack, redis: Redis, host: str) -> None:
    """After 3 minutes, which the test does not wait for."""
    command = (sys.executable, "-c", KILLED, stack.environment["REDIS_URL"], host)
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        process.send_signal(signal.SIGKILL)
    slots = HostSlots(redis, calls=1)
    assert is_busy(slots, host)
    (held,) = seconds_held(redis, host)
    assert held <= 180
    redis.zadd(key_of(host), dict.fromkeys(tokens(redis, host), 1))
    assert not is_busy(slots, host)


@pytest.mark.parametrize("scores", [[1e300, float("inf")], [-1.0, float("-inf")], None])
def test_planted_values_block_no_host(redis: Redis, host: str, scores: list[float] | None) -> None:
    """Values that no process of ours has saved are deleted."""
    if scores is None:
        redis.set(key_of(host), "not even a sorted set")
    else:
        redis.zadd(key_of(host), {str(number): score for number, score in enumerate(scores)})
    assert not is_busy(HostSlots(redis, calls=1), host)


def test_host_of_a_did_web_has_slots_too(redis: Redis, host: str) -> None:
    """The account chooses it, as it chooses its PDS."""
    slots = HostSlots(redis, calls=1)
    cache = PdsCache(redis, Vault([Secret(Fernet.generate_key().decode())]))
    documents = DidResolver(
        cache,
        "https://plc.invalid",
        {"https://pds.invalid"},
        slots=slots,
        pauses=DirectoryPauses(redis),
    )
    with (
        closing(documents),
        HostSlots(redis, calls=1).hold(host, "read"),  # of another process
        pytest.raises(HostBusyError),
    ):
        documents.pds_of(f"did:web:{host}")


def test_waiting_for_a_lock_takes_no_slot_of_its_holder(
    stack: Stack, redis: Redis, host: str
) -> None:
    """Or the holder could not finish before those that wait for it give up."""
    name = f"media-atproto:repo:{host}"
    processes = [HostSlots(redis, calls=2) for _ in range(3)]
    busy = LockHeldError("busy", until=now(), step="write", code="repo_locked")

    def wait(slots: HostSlots) -> None:
        with Redis.from_url(stack.environment["REDIS_URL"]) as own:
            waiting = partial(slots.hold_waiting, host)
            with suppress(HostBusyError), hold_lock(own, name, busy, hold_waiting=waiting):
                pass

    with ThreadPoolExecutor(3) as pool:
        with hold_lock(redis, name, busy):
            runs = [pool.submit(wait, each) for each in processes]
            wait_for(lambda: sum(run.done() for run in runs) == 2, what="two ends", within=20)
            with processes[0].hold(host, "write"):
                assert not is_busy(processes[1], host)
        for run in runs:
            run.result()
    redis.delete(key_of(f"{host}/waiting"))


@pytest.fixture
def directory(stack: Stack, redis: Redis) -> Iterator[Proxy]:
    """Run a directory; it ends after the services that are connected to it."""
    AccountCache(redis).delete_all(_DID)
    with open_proxy(stack.environment["DID_RESOLVER"]) as proxy:
        yield proxy
    AccountCache(redis).delete_all(_DID)


@pytest.mark.parametrize(
    ("name", "limited"), [("pds", []), ("pds2", []), ("foreign", ["calls", "waits"])]
)
def test_only_foreign_pdses_have_slots(
    stack: Stack,
    directory: Proxy,
    open_services: Opener,
    name: str,
    limited: list[str],
) -> None:
    """Calls to PDS_URL and TRUSTED_PDS_URLS are not limited, and cost no call to Redis."""
    service = {"id": "#atproto_pds", "serviceEndpoint": f"https://{name}.example.com"}
    document = json.dumps({"id": _DID, "service": [service]}).encode()
    urls = {
        "PDS_URL": "https://pds.example.com",
        "TRUSTED_PDS_URLS": "https://pds2.example.com",
    }
    directory.answer(Reply(200, document))
    services = open_services(new_settings(stack, DID_RESOLVER=directory.url, **urls))
    pds = services.pds.client_of(_DID)
    holds = {"calls": pds.hold_slot, "waits": pds.hold_waiting}
    assert [what for what, hold in holds.items() if hold is not nullcontext] == limited


class Tarpit:
    """A PDS that accepts calls and answers none, until it is closed."""

    def __init__(self, world: World, redis: Redis, proxy: Proxy, undo: ExitStack) -> None:
        self.proxy = proxy
        self.host = urlsplit(proxy.url).netloc
        self._world = world
        self._redis = redis
        self._undo = undo

    def open_repo(self, account: Account) -> Repo:
        """Return the repo of an account, as another process would open it."""
        slots = HostSlots(self._redis, calls=2)
        pds = PdsClient(
            self.proxy.url,
            hold_slot=partial(slots.hold, self.host),
            hold_waiting=partial(slots.hold_waiting, self.host),
        )
        self._undo.callback(pds.close)
        vault = self._world.services.pds.vault
        host = PdsHost(pds, Sessions(self._redis, vault, pds, parked=60))
        return Repo(PdsHosts(StaticPdsResolver(pds.url), lambda _url: host), account)

    def engine(self) -> Engine:
        return replace(self._world.services.sync.engine, open_repo=self.open_repo)


@contextmanager
def open_tarpit(world: World, redis: Redis) -> Iterator[Tarpit]:
    """Run a proxy before a server that accepts connections and does not answer."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=64)
    with (
        open_proxy(f"http://127.0.0.1:{silent.getsockname()[1]}") as proxy,
        ExitStack() as undo,
        silent,
    ):
        tarpit = Tarpit(world, redis, proxy, undo)
        yield tarpit
        redis.delete(key_of(tarpit.host), key_of(f"{tarpit.host}/waiting"))


def code_of(outcome: Outcome) -> str:
    """Return the error code of an outcome, or an empty string."""
    return outcome.error.code if outcome.error else ""


def test_four_saves_at_a_tarpit_leave_processes_to_other_accounts(
    module_world: World, redis: Redis
) -> None:
    """Two runs end at once, and their items wait without an attempt."""
    world = module_world
    moods = [world.platform.save_mood(f"stuck {number}", world.bob) for number in range(4)]
    with ThreadPoolExecutor(4) as processes, open_tarpit(world, redis) as tarpit:
        runs = [
            processes.submit(world.sync, "mood", mood, engine=tarpit.engine()) for mood in moods
        ]
        wait_for(lambda: sum(run.done() for run in runs) == 2, what="two runs", within=20)
        free = [run.result() for run in runs if run.done()]
        waiting = {outcome.item.id for outcome in free}
        states = [world.platform.state("mood", mood) for mood in moods if mood in waiting]
        others = world.platform.save_mood("undisturbed", world.ada)
        published = world.sync("mood", others)
        assert sum(run.done() for run in runs) == 2
    assert [(outcome.status, code_of(outcome)) for outcome in free] == [
        (Status.PENDING, "host_busy")
    ] * 2
    assert [state["attempts"] for state in states] == [0, 0]
    assert all("heldUntil" not in state for state in states)
    assert published.status is Status.SYNCED


def test_batch_at_a_busy_host_keeps_its_items(module_world: World, redis: Redis) -> None:
    """Each waits, without an attempt; so do those of a batch that would adopt a repo first."""
    world = module_world
    moods = [world.platform.save_mood(f"batch {number}", world.bob) for number in range(3)]
    request = BatchRequest(media_type("mood"), world.bob, moods, uuid4().hex)
    with open_tarpit(world, redis) as tarpit:
        batches = replace(
            world.services.sync.batches, open_repo=tarpit.open_repo, engine=tarpit.engine()
        )
        other = HostSlots(redis, calls=2)
        with other.hold(tarpit.host, "read"), other.hold(tarpit.host, "read"):
            outcomes = batches.sync(request)
            outcomes += batches.sync(replace(request, backfill=uuid4().hex))
        assert tarpit.proxy.count() == 0
    assert [(outcome.status, code_of(outcome)) for outcome in outcomes] == [
        (Status.PENDING, "host_busy")
    ] * 6
    assert all(outcome.seconds_to_retry is not None for outcome in outcomes)
    states = [world.platform.state("mood", mood) for mood in moods]
    assert {state.get("attempts", 0) for state in states} == {0}
