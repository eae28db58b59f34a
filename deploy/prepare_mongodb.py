"""Prepare a new mongod: create its replica set with one member, and the user of media-atproto.

    prepare_mongodb.py HOST:PORT SET

Can be repeated: it keeps an existing replica set and user. Reads MONGODB_ROOT_PASSWORD, the user
and password of MONGODB_CONNECTION_STRING, and MONGODB_NAME. Each can be in a file that NAME_FILE
names.
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

_TIMEOUT = 60.0  # seconds until it must be primary
_NOT_INITIATED = 94
_USER_EXISTS = 51003


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
    """Create the replica set if it is missing."""
    try:
        admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != _NOT_INITIATED:
            raise
        admin.command("replSetInitiate", {"_id": name, "members": [{"_id": 0, "host": host}]})
        say(f"created the replica set {name}")


def await_primary(admin: Database[dict[str, object]]) -> None:
    """Wait until the member accepts writes."""
    deadline = time.monotonic() + _TIMEOUT
    while not admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise SystemExit(f"mongod is not primary after {_TIMEOUT:.0f} seconds; see its log")
        time.sleep(0.2)


def add_user(admin: Database[dict[str, object]], user: str, password: str, database: str) -> None:
    """Create the user, who may read and write one database, or set its password."""
    roles = [{"role": "readWrite", "db": database}]
    try:
        admin.command("createUser", user, pwd=password, roles=roles)
        say(f"created the user {user}")
    except OperationFailure as error:
        if error.code != _USER_EXISTS:
            raise
        # The secret may be a new one.
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
