"""MongoDB, as a replica set of one member, and Valkey, the free Redis, append-only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from worker.dev.stack.supervisor import Command

_SET = "media"


@dataclass(frozen=True, slots=True)
class Mongod:
    """The program `mongod`, its data in `data`."""

    binary: Path
    data: Path
    environment: Mapping[str, str]
    name: str = "mongod"

    def url(self, port: int) -> str:
        """Return its connection string; drivers find the replica set by themselves."""
        return f"mongodb://{_host(port)}"

    def command(self, port: int) -> Command:
        """Return how to run it on the loopback, without a socket file in the temp folder."""
        bind = ("--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket")
        store = ("--dbpath", self.data, "--replSet", _SET, "--wiredTigerCacheSizeGB", "0.25")
        quiet = ("--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false")
        return Command((self.binary, *bind, *store, *quiet), self.environment)

    def ready(self, port: int, pid: int) -> bool:
        """Tell whether process `pid` is a primary; makes it the only member of its set."""
        # One client per question: a client that saw the server before its set was initiated
        # goes on believing that sessions are not supported.
        client: MongoClient[dict[str, Any]] = MongoClient(
            _host(port), directConnection=True, serverSelectionTimeoutMS=1000, timeoutMS=5000
        )
        try:
            with client:
                return _is_primary(client.admin, _host(port), pid)
        except PyMongoError:
            return False


def _host(port: int) -> str:
    return f"127.0.0.1:{port}"


def _is_primary(admin: Database[dict[str, Any]], host: str, pid: int) -> bool:
    if admin.command("serverStatus")["pid"] != pid:
        return False
    hello = admin.command("hello")
    if hello.get("isWritablePrimary") and hello.get("me") == host:
        return True
    if "setName" not in hello:
        _join(admin, host)
    return False


def _join(admin: Database[dict[str, Any]], host: str) -> None:
    """Initiate the set, or give its only member the new port if it had another before."""
    local = admin.client.get_database("local")
    config = local.get_collection("system.replset").find_one()
    if config is None:
        admin.command("replSetInitiate", {"_id": _SET, "members": [{"_id": 0, "host": host}]})
    elif config["members"][0]["host"] != host:
        config["members"][0]["host"] = host
        config["version"] += 1
        admin.command("replSetReconfig", config, force=True)


@dataclass(frozen=True, slots=True)
class Valkey:
    """The program `valkey-server`, its append-only file in `data`."""

    binary: Path
    data: Path
    environment: Mapping[str, str]
    name: str = "valkey"

    def url(self, port: int) -> str:
        """Return its address for Redis clients."""
        return f"redis://127.0.0.1:{port}/0"

    def command(self, port: int) -> Command:
        """Return how to run it on the loopback."""
        bind = ("--bind", "127.0.0.1", "--port", str(port))
        keep = ("--dir", self.data, "--appendonly", "yes", "--save", "")
        options = ("--maxmemory-policy", "noeviction", "--databases", "64")
        return Command((self.binary, *bind, *keep, *options), self.environment)

    def ready(self, port: int, pid: int) -> bool:
        """Tell whether process `pid` answers and has loaded its data."""
        client = redis.Redis(port=port, socket_timeout=2, socket_connect_timeout=2)
        try:
            with client:
                client.ping()
                return bool(client.info("server")["process_id"] == pid)
        except redis.RedisError:
            return False
