"""A second member of a replica set, which can be made to lag behind the primary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from tests.fleet import logged
from tests.waiting import wait_for
from worker.database.mongo import RawDocument
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.databases import Mongod
from worker.dev.stack.environment import inherit
from worker.dev.stack.packages import MONGOD

_PATIENCE = 60.0
_FAIL_POINTS = ("--setParameter", "enableTestCommands=1")


@dataclass(frozen=True)
class SecondMember:
    """A secondary, and a direct connection to it."""

    url: str
    direct: MongoClient[RawDocument]
    primary: MongoClient[RawDocument]

    def set_votes(self, votes: int) -> None:
        """Count for the majority, with one vote, or not."""
        config: dict[str, Any] = self.primary.admin.command("replSetGetConfig")["config"]
        config["members"][1]["votes"] = votes
        config["version"] += 1
        self.primary.admin.command("replSetReconfig", config)

    def lag(self) -> None:
        """Apply no further writes; reads are answered from what it has."""
        self._stop_applying("alwaysOn")

    def catch_up(self) -> None:
        """Apply all writes again."""
        self._stop_applying("off")

    def _stop_applying(self, mode: str) -> None:
        self.direct.admin.command("configureFailPoint", "rsSyncApplyStop", mode=mode)


@contextmanager
def second_member(url: str, folder: Path, environ: Mapping[str, str]) -> Iterator[SecondMember]:
    """Add a member without a vote to the replica set at `url` until the block ends."""
    folder.mkdir()
    port = Ports(folder / "ports.json").claim("mongod")
    host = f"127.0.0.1:{port}"
    command = Mongod(MONGOD.locate(), folder, inherit(environ)).command(port)
    with (
        logged([*command.arguments, *_FAIL_POINTS], folder / "log") as process,
        MongoClient[RawDocument](url) as client,
        MongoClient[RawDocument](host, directConnection=True, tz_aware=True) as direct,
    ):
        direct.admin.command("ping")
        member = SecondMember(f"mongodb://{host}", direct, client)
        _reconfigure(client, [{"_id": 1, "host": host, "priority": 0, "votes": 0}])
        try:
            wait_for(lambda: _is_ready(client, host), within=_PATIENCE, what="a second member")
            yield member
        finally:
            _reconfigure(client, [])
            process.kill()  # asked to stop, a secondary waits for 15 seconds


def _reconfigure(client: MongoClient[RawDocument], others: list[dict[str, Any]]) -> None:
    config: dict[str, Any] = client.admin.command("replSetGetConfig")["config"]
    config["members"] = [config["members"][0], *others]
    config["version"] += 1
    client.admin.command("replSetReconfig", config)


def _is_ready(client: MongoClient[RawDocument], host: str) -> bool:
    members = client.admin.command("replSetGetStatus")["members"]
    return any(each["name"] == host and each["stateStr"] == "SECONDARY" for each in members)
