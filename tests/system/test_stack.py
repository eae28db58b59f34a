"""The embedded services: that they are real, stay on the loopback and keep what they are given."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from pymongo import MongoClient

from tests.system.pds_account import PdsAccount
from tests.waiting import wait_for
from worker.dev.stack import Service, Stack, StackError

Document = dict[str, Any]


@pytest.fixture
def named(own_stack: Stack, bare_environ: dict[str, str]) -> dict[str, str]:
    """Return an environment that names all services of a running stack."""
    return {**bare_environ, **own_stack.environment}


def mongo(environment: Mapping[str, str]) -> MongoClient[Document]:
    """Return a client of the MongoDB that `environment` names."""
    return MongoClient(environment["MONGODB_CONNECTION_STRING"])


def valkey(environment: Mapping[str, str]) -> redis.Redis:
    """Return a client of the Redis that `environment` names, with a patience of a second."""
    return redis.Redis.from_url(
        environment["REDIS_URL"], socket_timeout=1, socket_connect_timeout=1
    )


def answers(client: redis.Redis) -> bool:
    """Tell a ping that is answered from one that is not; a refused one raises."""
    try:
        return bool(client.ping())
    except redis.TimeoutError:
        return False


def test_mongod_commits_transactions_and_tells_of_changes(own_stack: Stack) -> None:
    """The single node is a replica set: transactions and change streams work."""
    with mongo(own_stack.environment) as client, client.start_session() as session:
        moods = client["stack_test"]["moods"]
        with moods.watch() as changes:
            with session.start_transaction():
                moods.insert_one({"_id": "m1", "mood": "calm"}, session=session)
            assert changes.next()["fullDocument"] == {"_id": "m1", "mood": "calm"}
        client.drop_database("stack_test")


def test_valkey_keeps_everything_in_an_append_only_file(own_stack: Stack) -> None:
    """A queue must neither evict nor forget."""
    with valkey(own_stack.environment) as client:
        client.set("stack_test", "kept")
        assert client.getdel("stack_test") == b"kept"
        settings = client.config_get("appendonly", "maxmemory-policy")
        assert settings == {"appendonly": "yes", "maxmemory-policy": "noeviction"}


def test_pds_takes_an_account_and_a_record(own_stack: Stack) -> None:
    """It is open for accounts under .test; their DID documents name it by PDS_URL."""
    url = own_stack.environment["PDS_URL"]
    server = httpx.get(f"{url}/xrpc/com.atproto.server.describeServer").json()
    assert server["availableUserDomains"] == [".test"]
    account = PdsAccount.create(url, "taker.test")
    account.put_mood("first", "calm")
    assert account.mood("first") == "calm"
    document = httpx.get(f"{own_stack.plc.url}/{account.did}").json()
    assert [s["serviceEndpoint"] for s in document["service"]] == [url]


def test_services_listen_on_the_loopback_alone(own_stack: Stack) -> None:
    """Nothing without authentication is open to the network."""
    for service in (own_stack.mongod, own_stack.valkey, own_stack.plc, own_stack.pds):
        connections = psutil.Process(service.pid).net_connections("inet")
        listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
        assert [(a.ip, a.port) for a in listening] == [("127.0.0.1", service.port)]


@pytest.mark.parametrize("end", [Service.stop, Service.kill])
def test_pds_restarts_with_its_accounts(own_stack: Stack, end: Any) -> None:
    """After an orderly stop and after a crash, on the same address."""
    url, handle = own_stack.pds.url, f"{end.__name__}er.test"
    did = PdsAccount.create(url, handle).did
    end(own_stack.pds)
    assert not own_stack.pds.running
    own_stack.pds.start()
    account = PdsAccount.login(url, handle)
    account.put_mood("after", "still here")
    assert (account.did, account.mood("after")) == (did, "still here")


def test_frozen_service_keeps_silent_until_thawed(own_stack: Stack) -> None:
    """A freeze is a hang, not a refusal: the connection stands and no answer comes."""
    with valkey(own_stack.environment) as client:
        assert answers(client)
        own_stack.valkey.freeze()
        assert not answers(client)
        assert own_stack.valkey.running
        own_stack.valkey.thaw()
        wait_for(lambda: answers(client), what="Valkey to answer again")


def test_stopped_service_refuses_connections_until_started(own_stack: Stack) -> None:
    """A stop is a refusal, and a start returns when the service answers."""
    with mongo(own_stack.environment) as client:
        own_stack.mongod.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", own_stack.mongod.port), timeout=5)
        own_stack.mongod.start()
        client["stack_test"]["moods"].insert_one({"_id": "m2"})
        client.drop_database("stack_test")


def test_stack_started_again_finds_its_data(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """A document, a key, an account, a record: all there, at the same addresses."""
    with Stack.start(tmp_path, bare_environ) as stack:
        before = stack.environment
        with mongo(before) as client, valkey(before) as queue:
            client["media"]["moods"].insert_one({"_id": "m1"})
            queue.set("key", "value")
        PdsAccount.create(before["PDS_URL"], "keeper.test").put_mood("kept", "steady")
    with Stack.start(tmp_path, bare_environ) as stack:
        assert stack.environment == before
        with mongo(before) as client, valkey(before) as queue:
            assert client["media"]["moods"].find_one() == {"_id": "m1"}
            assert queue.get("key") == b"value"
        account = PdsAccount.login(before["PDS_URL"], "keeper.test")
        assert account.mood("kept") == "steady"
        # Signed on top of the operation that made the account, so the PLC directory has it.
        account.call("com.atproto.identity.updateHandle", {"handle": "renamed.test"})
        document = httpx.get(f"{stack.plc.url}/{account.did}").json()
        assert document["alsoKnownAs"] == ["at://renamed.test"]


def test_taken_port_is_given_up(
    tmp_path: Path, own_stack: Stack, bare_environ: dict[str, str]
) -> None:
    """A service whose port another process took meanwhile moves, and keeps its data."""
    named = {**bare_environ, "PDS_URL": own_stack.pds.url}
    mine, other = tmp_path / "mine", tmp_path / "other"
    with Stack.start(mine, named) as first, mongo(first.environment) as client:
        client["media"]["moods"].insert_one({"_id": "m1"})
        ports = {first.mongod.port, first.valkey.port}
    other.mkdir()
    shutil.copy(mine / "ports.json", other)
    with Stack.start(other, named) as taker:
        assert {taker.mongod.port, taker.valkey.port} == ports
        with Stack.start(mine, named) as moved, mongo(moved.environment) as client:
            assert not {moved.mongod.port, moved.valkey.port} & ports
            assert client["media"]["moods"].find_one() == {"_id": "m1"}


def test_named_services_are_used(tmp_path: Path, own_stack: Stack, named: dict[str, str]) -> None:
    """What the environment names is neither started nor replaced."""
    known = {child.pid for child in psutil.Process().children()}
    with Stack.start(tmp_path, named) as other:
        assert other.environment == own_stack.environment
        started = {child.name() for child in psutil.Process().children() if child.pid not in known}
        assert started == {"sh"}  # the guard
        with pytest.raises(StackError, match="pds is not run by this stack"):
            _ = other.pds


def test_pds_takes_extra_environment(tmp_path: Path, named: dict[str, str]) -> None:
    """A second PDS, with rate limits, beside services that are already there."""
    limits = {"PDS_RATE_LIMITS_ENABLED": "1"}
    with Stack.start(tmp_path, named | {"PDS_URL": ""}, pds_environment=limits) as other:
        assert other.environment["REDIS_URL"] == named["REDIS_URL"]
        described = httpx.get(f"{other.pds.url}/xrpc/com.atproto.server.describeServer")
        assert described.headers["RateLimit-Limit"] == "3000"


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("MONGODB_CONNECTION_STRING", "mongodb://someone:s3cret@127.0.0.1:9"),
        ("REDIS_URL", "redis://:s3cret@127.0.0.1:9/0"),
        ("PDS_URL", "http://127.0.0.1:9"),
    ],
)
def test_silent_named_service_is_reported(
    tmp_path: Path, named: dict[str, str], variable: str, url: str
) -> None:
    """The error names the variable, and never the password in its value."""
    with pytest.raises(StackError, match=f"{variable} names a service that does not") as caught:
        Stack.start(tmp_path, named | {variable: url})
    assert "s3cret" not in str(caught.value)


def test_failed_start_quotes_the_log(tmp_path: Path, named: dict[str, str]) -> None:
    """The error names the service and its log, and quotes what the service said there."""
    wrong = {"PDS_SERVICE_HANDLE_DOMAINS": "no-dot"}
    with pytest.raises(StackError) as caught:
        Stack.start(tmp_path, named | {"PDS_URL": ""}, pds_environment=wrong)
    message = str(caught.value)
    assert "pds did not start (exit code 1)" in message
    assert str(tmp_path / "logs" / "pds.log") in message
    assert "Invalid handle domain: no-dot" in message


def test_folder_serves_one_stack_at_a_time(tmp_path: Path, named: dict[str, str]) -> None:
    """Two stacks on the same data would destroy it."""
    with (
        Stack.start(tmp_path, named),
        pytest.raises(StackError, match="Another stack is running on the data folder"),
    ):
        Stack.start(tmp_path, named)
    with Stack.start(tmp_path, named):
        pass


def test_keys_are_made_once_and_for_their_owner_alone(
    tmp_path: Path, named: dict[str, str]
) -> None:
    """The same keys after a restart, or stored passwords could no longer be read."""
    with Stack.start(tmp_path, named | {"SECRET_KEYS": ""}) as first:
        key = first.environment["SECRET_KEYS"]
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    with Stack.start(tmp_path, named | {"SECRET_KEYS": ""}) as second:
        assert second.environment["SECRET_KEYS"] == key != named["SECRET_KEYS"]
