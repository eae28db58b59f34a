"""The programs of MongoDB, as a replica set of one member, and of Valkey."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
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
    """Runs `mongod` with its data in the folder `data`."""

    binary: Path
    data: Path
    environment: Mapping[str, str]
    name: str = "mongod"

    def url(self, port: int) -> str:
        return f"mongodb://{_host(port)}"  # drivers discover the replica set

    def command(self, port: int) -> Command:
        # Without `--nounixsocket`, mongod creates a socket file in the temporary folder.
        bind = ("--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket")
        store = ("--dbpath", self.data, "--replSet", _SET, "--wiredTigerCacheSizeGB", "0.25")
        quiet = ("--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false")
        return Command((self.binary, *bind, *store, *quiet), self.environment)

    def ready(self, port: int, pid: int) -> bool:
        """Return whether process `pid` is primary; initiate the replica set if needed."""
        # A new client for each call: a client that connected before the replica set was initiated
        # still assumes that sessions are not supported.
        client = MongoClient[dict[str, Any]](
            _host(port), directConnection=True, serverSelectionTimeoutMS=1000, timeoutMS=5000
        )
        with suppress(PyMongoError), client:
            return _is_primary(client.admin, _host(port), pid)
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
        _configure(admin, host)
    return False


def _configure(admin: Database[dict[str, Any]], host: str) -> None:
    """Initiate the replica set, or change the port of its only member."""
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
    """Runs `valkey-server`, which replaces Redis, with append-only files in `data`."""

    binary: Path
    data: Path
    environment: Mapping[str, str]
    name: str = "valkey"

    def url(self, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    def command(self, port: int) -> Command:
        bind = ("--bind", "127.0.0.1", "--port", str(port))
        keep = ("--dir", self.data, "--appendonly", "yes", "--save", "")
        options = ("--maxmemory-policy", "noeviction", "--databases", "64")
        return Command((self.binary, *bind, *keep, *options), self.environment)

    def ready(self, port: int, pid: int) -> bool:
        client = redis.Redis(port=port, socket_timeout=2, socket_connect_timeout=2)
        with suppress(redis.RedisError), client:
            client.ping()  # fails while Valkey loads its data
            return bool(client.info("server")["process_id"] == pid)
        return False
