"""The first contact with a service is limited to seconds; later calls may take longer."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from inspect import signature

import httpx
import pymongo
import pytest
from pymongo import MongoClient
from pymongo.errors import ServerSelectionTimeoutError
from redis import Redis

from worker.core.net.client import ClientLimits, ClientTransport
from worker.core.redis_errors import RedisUnavailableError
from worker.core.secrets import Secret
from worker.core.settings import Settings
from worker.database.mongo import (
    SelectingClient,
    StoreUnavailableError,
    connect,
    long_query,
    mongo_errors,
)
from worker.dev.stack import Stack
from worker.pds.account_cache import AccountCache
from worker.pds.locks import RepoLocks
from worker.services import Services, build
from worker.services.storage import build_storage
from worker.services.timeouts import COMMAND, LOOKUP, Timeouts

REFUSED = "127.0.0.1:9"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def silent(listener: socket.socket) -> str:
    """The address of a server that accepts connections and never answers."""
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_commands_wait_three_seconds_for_each_service() -> None:
    """Those that read one item also for every other call; workers wait longer."""
    assert COMMAND.first == LOOKUP.first == LOOKUP.pds == LOOKUP.redis == 3
    assert Timeouts().first is None


# MongoDB


def selection(
    settings: Settings, at: str, *, seconds: float = 10.0, first: float | None = None
) -> float:
    """Return how many seconds a query has waited for a server, by the text of the driver."""
    mongodb = replace(settings.mongodb, url=Secret(f"mongodb://{at}/"), selection=seconds)
    database = connect(mongodb, first)
    with closing(database.client), pytest.raises(StoreUnavailableError) as caught, mongo_errors():
        database["moods"].find_one({})
    waited = re.search(r"Timeout: ([-+.e0-9]+)s", str(caught.value.__cause__))
    assert waited, str(caught.value.__cause__)
    return float(waited[1])


def test_ordinary_calls_wait_for_a_server_as_the_setting_says(settings: Settings) -> None:
    """Not for 30 seconds, the limit of a call."""
    assert selection(settings, REFUSED, seconds=0.1) <= 0.1


def test_the_driver_selects_servers_with_the_method_that_is_overridden(settings: Settings) -> None:
    """The method is not public: a version of PyMongo may change it, or not call it."""
    ours, original = SelectingClient._select_server, getattr(MongoClient, "_select_server", None)
    hint = f"PyMongo {pymongo.version}: adapt SelectingClient in worker/database/mongo.py"
    assert original, f"MongoClient._select_server does not exist in {hint}"
    same = [*signature(ours).parameters] == [*signature(original).parameters]
    assert same, f"MongoClient._select_server has other parameters in {hint}"
    with pymongo.timeout(1):
        waited = selection(settings, REFUSED, seconds=0.1)
    assert waited <= 0.1, f"MongoClient._select_server is not called by {hint}"


def test_a_silent_server_is_waited_for_as_the_first_contact_allows(
    settings: Settings, silent: str
) -> None:
    """Unless the setting is shorter."""
    assert selection(settings, silent, first=0.1) <= 0.1
    assert selection(settings, silent, first=3, seconds=0.1) <= 0.1


def test_a_shorter_limit_of_the_caller_remains(settings: Settings) -> None:
    """The status page has one; a long query lifts only the limit of the call."""
    with pymongo.timeout(0.05):
        assert selection(settings, REFUSED) <= 0.05
    with long_query():
        assert selection(settings, REFUSED, first=0.1) <= 0.1


def test_the_limit_of_a_call_is_not_that_of_the_selection(settings: Settings) -> None:
    """A query that takes longer than the selection may is answered."""
    database = connect(replace(settings.mongodb, selection=0.2), 0.2)
    with closing(database.client) as client:
        client.admin.command("ping")
        slow = {"$where": "sleep(300) || true"}
        database["moods"].insert_one({})
        assert len(list(database["moods"].find(slow))) == 1
        client.drop_database(database.name)


@pytest.mark.parametrize("first", [0.05, None])
def test_a_command_waits_for_the_first_server_once(settings: Settings, first: float | None) -> None:
    """Later calls raise the same error without a wait; workers wait again."""
    mongodb = replace(settings.mongodb, url=Secret(f"mongodb://{REFUSED}/"), selection=0.05)
    database = connect(mongodb, first)
    errors = []
    with closing(database.client):
        for _ in range(2):
            with pytest.raises(ServerSelectionTimeoutError) as caught:
                database["moods"].find_one({})
            errors.append(caught.value)
    assert (errors[0] is errors[1]) == (first is not None)


# Redis


@pytest.mark.parametrize("timeouts", [COMMAND, LOOKUP], ids=["command", "lookup"])
def test_a_command_waits_for_a_silent_redis_once(
    settings: Settings, listener: socket.socket, timeouts: Timeouts
) -> None:
    """Whatever it calls, also in several threads; all calls report the same error."""
    with redis_services(settings, listener, replace(timeouts, first=0.2)) as services:
        calls: list[Callable[[], object]] = [
            services.pds.rate_limiter.exhausted_buckets,
            lambda: AccountCache(services.storage.redis).invalidate("did:plc:a"),
            lambda: hold_repo(services.storage.redis),
        ]
        with ThreadPoolExecutor() as threads:
            errors = [each.exception() for each in [threads.submit(call) for call in calls * 2]]
        assert [str(error) for error in errors] == ["Redis did not answer (TimeoutError)"] * 6
    assert accepted(listener) == 1


def test_a_worker_waits_for_a_silent_redis_again(
    settings: Settings, listener: socket.socket
) -> None:
    """It does not depend on an earlier failure."""
    timeouts = Timeouts(redis=0.05, once=True)
    with redis_services(settings, listener, timeouts) as services:
        for _ in range(2):
            with pytest.raises(RedisUnavailableError):
                hold_repo(services.storage.redis)
    assert accepted(listener) == 2


@contextmanager
def redis_services(
    settings: Settings, listener: socket.socket, timeouts: Timeouts
) -> Iterator[Services]:
    """Yield services whose Redis is `listener`."""
    at = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    with closing(build(replace(settings, redis_url=Secret(at)), timeouts=timeouts)) as services:
        yield services


def hold_repo(redis: Redis) -> None:
    """Hold the lock of a repo."""
    with RepoLocks(redis).hold("did:plc:a"):
        pass


def accepted(listener: socket.socket) -> int:
    """Return the number of connections to a server."""
    listener.settimeout(0)
    count = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_redis_is_asked_once_until_it_has_answered(settings: Settings) -> None:
    """A restart of Redis later is survived, by all connections."""
    with ExitStack() as resources:
        redis = build_storage(settings, COMMAND, resources).redis
        assert retries_of(redis) == 0
        options = redis.connection_pool.connection_kwargs
        assert (options["socket_timeout"], options["socket_connect_timeout"]) == (3, 3)
        redis.ping()
        assert retries_of(redis) == 10
        assert retries_of(build_storage(settings, Timeouts(), resources).redis) == 10


def retries_of(redis: Redis) -> int:
    """Return how often a client repeats a call."""
    retry = redis.get_retry()
    assert retry
    return retry.get_retries()


# PDS and directory


def timeouts_of(client: httpx.Client, url: str) -> float:
    """Return how long a request would wait for a byte of its response."""
    request = client.build_request("GET", url)
    with suppress(httpx.TimeoutException):
        client.send(request)
    return float(request.extensions["timeout"]["read"])


def test_a_pds_of_ours_has_seconds_for_its_first_response_only(stack: Stack, silent: str) -> None:
    """Each host for itself."""
    limits = ClientLimits(seconds=20, max_bytes=1000)
    transport = ClientTransport(limits, foreign=False, first=0.2)
    with httpx.Client(transport=transport, timeout=15) as client:
        assert timeouts_of(client, f"{stack.environment['PDS_URL']}/xrpc/_health") == 0.2
        assert timeouts_of(client, f"{stack.environment['PDS_URL']}/xrpc/_health") == 15
        assert timeouts_of(client, f"http://{silent}/") == 0.2
        assert timeouts_of(client, f"http://{silent}/") == 0.2
