"""Makes a mongod that has just been started usable: its replica set of one, and our user.

    prepare_mongodb.py HOST:PORT SET

What is there already stays, so it can be repeated. Reads MONGODB_ROOT_PASSWORD, the user and
password of MONGODB_CONNECTION_STRING, and MONGODB_NAME, or the files that NAME_FILE names.
"""

from __future__ import annotations

import os
import sys
import time

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

from worker.core.settings.reader import EnvironmentReader, SettingsError

_PATIENCE = 60.0  # seconds until it must be primary
_NOT_INITIATED = 94
_ALREADY_THERE = 51003


def main(host: str, name: str) -> None:
    """Prepare the mongod at `host` as the set `name`; raises SettingsError."""
    with EnvironmentReader(os.environ) as reader:
        root = reader.text("MONGODB_ROOT_PASSWORD")
        url = reader.text("MONGODB_CONNECTION_STRING")
        database = reader.text("MONGODB_NAME")
    login = parse_uri(url, validate=True)
    client: MongoClient[dict[str, object]] = MongoClient(
        host, username="root", password=root, directConnection=True
    )
    with client:
        initiate(client.admin, host, name)
        await_primary(client.admin)
        add_user(client.admin, str(login["username"]), str(login["password"]), database)


def initiate(admin: Database[dict[str, object]], host: str, name: str) -> None:
    """Make the set, unless it is there."""
    try:
        admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != _NOT_INITIATED:
            raise
        admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": host}]})
        say(f"replica set {name} made")


def await_primary(admin: Database[dict[str, object]]) -> None:
    """Wait until writes are taken."""
    deadline = time.monotonic() + _PATIENCE
    while not admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise SystemExit(f"mongod is not primary after {_PATIENCE:.0f} seconds; see its log")
        time.sleep(0.2)


def add_user(admin: Database[dict[str, object]], user: str, password: str, database: str) -> None:
    """Make our user, who may read and write one database, unless it is there."""
    roles = [{"role": "readWrite", "db": database}]
    try:
        admin.command("createUser", user, pwd=password, roles=roles)
        say(f"user {user} made")
    except OperationFailure as error:
        if error.code != _ALREADY_THERE:
            raise
        # The secret may have been made anew.
        admin.command("updateUser", user, pwd=password, roles=roles)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except SettingsError as refused:
        raise SystemExit(str(refused)) from None
