"""Save a document in MongoDB, and enqueue its item, as an upload function does.

    python save.py COLLECTION [TYPE] < document.json

Dates and ObjectIds are written as in MongoDB's Extended JSON: {"$date": "2026-03-12T20:53:00Z"},
{"$oid": "65f0c0ffee65f0c0ffee65f0"}. Without TYPE nothing is enqueued. The environment must have
MONGODB_CONNECTION_STRING, MONGODB_NAME and REDIS_URL.

Exit codes: 0 saved, and enqueued if TYPE is given; 1 not saved, because a document with the same
unique value exists; 2 not saved, because of another error; 3 saved and not enqueued: the sweep of a
worker finds the document later.
"""

from __future__ import annotations

import os
import sys
from textwrap import shorten
from typing import NoReturn

import bson
from bson import json_util
from bson.errors import BSONError
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, DuplicateKeyError, PyMongoError

from tasks import enqueue

_DUPLICATE, _ERROR, _NOT_ENQUEUED = 1, 2, 3
# json_util raises these for values of Extended JSON that it cannot convert.
_INVALID = (
    ArithmeticError,
    AttributeError,
    BSONError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def parse(text: str) -> dict[str, object]:
    """Parse a document in Extended JSON; ends the program if MongoDB cannot store it."""
    try:
        document = json_util.loads(text)
        bson.encode(document)
    except _INVALID as error:
        fail(f"The document is not a JSON object in MongoDB's Extended JSON: {error}", _ERROR)
    return dict(document)


def save(collection: str, document: dict[str, object]) -> object:
    """Insert a document; return its `_id`."""
    with MongoClient[dict[str, object]](os.environ["MONGODB_CONNECTION_STRING"]) as client:
        database = client[os.environ["MONGODB_NAME"]]
        return database[collection].insert_one(document).inserted_id


def main() -> None:
    """Save the document in stdin, and enqueue its item."""
    if len(sys.argv) not in {2, 3}:
        fail(str(__doc__), _ERROR)
    if not {"MONGODB_CONNECTION_STRING", "MONGODB_NAME"} <= os.environ.keys():
        fail("The environment is not set: set -a; . ./.env; set +a", _ERROR)
    collection, *media_type = sys.argv[1:]
    document = parse(sys.stdin.read())
    try:
        document_id = save(collection, document)
    except DuplicateKeyError as error:
        fields = ", ".join((error.details or {}).get("keyPattern", {})) or "unique field"
        fail(
            f"Nothing was saved: {collection} has a document with this {fields} already.",
            _DUPLICATE,
        )
    except (ConfigurationError, ValueError):
        # The driver's message can quote the URL, which can contain a password.
        fail("Nothing was saved: MONGODB_CONNECTION_STRING or MONGODB_NAME is not valid.", _ERROR)
    except PyMongoError as error:
        why = shorten(str(error), 150)
        fail(f"Nothing was saved: MongoDB did not carry out the call: {why}", _ERROR)
    say(f"saved in {collection}: {document_id}")
    for name in media_type:
        if not enqueue(name, document_id):
            say(f"{name} {document_id}: saved and not enqueued: the queue is not available.")
            sys.exit(_NOT_ENQUEUED)
        say(f"{name} {document_id}: enqueued")


def fail(message: str, code: int) -> NoReturn:
    """Print an error, and end the program."""
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
