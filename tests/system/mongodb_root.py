"""The user `root` of a MongoDB that a deployment starts."""

from __future__ import annotations

from pathlib import Path

from pymongo import MongoClient

from tests.fleet import logged
from worker.dev.stack.packages import MONGOD


def make_root(secrets: Path, port: int, folder: Path) -> None:
    """Create the user root, as the image's entrypoint does at its first start."""
    command = [str(MONGOD.locate()), "--port", str(port), "--dbpath", str(folder / "data")]
    with (
        logged([*command, "--bind_ip", "127.0.0.1", "--nounixsocket"], folder / "log"),
        MongoClient[dict[str, object]](port=port) as client,
    ):
        password = (secrets / "mongodb_root_password").read_text().strip()
        client.admin.command("createUser", "root", pwd=password, roles=["root"])
