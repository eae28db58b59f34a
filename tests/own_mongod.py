"""A MongoDB server of a test's own: with an oplog that soon forgets, or without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.fleet import logged
from tests.waiting import wait_for
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.databases import Mongod
from worker.dev.stack.environment import inherit
from worker.dev.stack.packages import MONGOD

_STARTUP = 60.0
# A megabyte, cut to size each second or two.
_FORGETFUL = ("--oplogSize", "1", "--syncdelay", "1")


@contextmanager
def forgetful_mongod(folder: Path, environ: dict[str, str]) -> Iterator[str]:
    """Run a replica set of one whose oplog has room for a megabyte; yields its URL."""
    with set_of_one(folder, environ, *_FORGETFUL) as url:
        yield url


@contextmanager
def set_of_one(folder: Path, environ: Mapping[str, str], *options: str) -> Iterator[str]:
    """Run a replica set of one member; yields its URL."""
    mongod = Mongod(MONGOD.locate(), folder, inherit(environ))
    port = Ports(folder / "ports.json").claim("mongod")
    command = mongod.command(port)
    with logged([*command.arguments, *options], folder / "log") as process:
        wait_for(lambda: mongod.ready(port, process.popen.pid), within=_STARTUP, what="a mongod")
        yield mongod.url(port)


@contextmanager
def lone_mongod(folder: Path) -> Iterator[str]:
    """Run a server that is no replica set; yields its URL."""
    port = Ports(folder / "ports.json").claim("mongod")
    bind = ("--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket")
    store = ("--dbpath", folder, "--wiredTigerCacheSizeGB", "0.25", "--quiet")
    with logged([MONGOD.locate(), *bind, *store], folder / "log"):
        wait_for(lambda: _answers(port), within=_STARTUP, what="a mongod")
        yield f"mongodb://127.0.0.1:{port}"


def forget(url: str) -> None:
    """Write to another database until the oplog has lost all that was in it."""
    with MongoClient[dict[str, Any]](url) as client:
        oplog = client.get_database("local")["oplog.rs"]
        last = next(oplog.find().sort("$natural", -1).limit(1))["ts"]

        def has_forgotten() -> bool:
            client["chatter"]["lines"].insert_one({"text": "x" * 100_000})
            first: bool = next(oplog.find().sort("$natural", 1).limit(1))["ts"] > last
            return first

        wait_for(has_forgotten, within=180, what="the oplog to forget", every=0.1)


def _answers(port: int) -> bool:
    try:
        with MongoClient[dict[str, Any]](
            port=port, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client:
            client.admin.command("ping")
            return True
    except PyMongoError:
        return False
