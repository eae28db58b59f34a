"""Save a document in MongoDB, and enqueue its item, as an upload function does.

    python save.py COLLECTION [TYPE] < document.json

Dates and ObjectIds are written as in MongoDB's Extended JSON: {"$date": "2026-03-12T20:53:00Z"},
{"$oid": "65f0c0ffee65f0c0ffee65f0"}. Without TYPE nothing is enqueued. The environment must have
MONGODB_CONNECTION_STRING, MONGODB_NAME and REDIS_URL.
"""

from __future__ import annotations

import os
import sys

from bson import json_util
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

from tasks import enqueue


def save(collection: str, text: str) -> object:
    """Insert a document; return its `_id`."""
    document = json_util.loads(text)
    with MongoClient[dict[str, object]](os.environ["MONGODB_CONNECTION_STRING"]) as client:
        database = client[os.environ["MONGODB_NAME"]]
        return database[collection].insert_one(document).inserted_id


def main() -> None:
    """Save the document in stdin, and enqueue its item."""
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    if "MONGODB_CONNECTION_STRING" not in os.environ:
        sys.exit("The environment is not set: set -a; . ./.env; set +a")
    collection, *media_type = sys.argv[1:]
    try:
        document_id = save(collection, sys.stdin.read())
    except DuplicateKeyError:
        sys.exit(f"Nothing was saved: {collection} has a document with this _id already.")
    except ValueError as error:
        sys.exit(f"The document is not JSON: {error}")
    sys.stdout.write(f"saved in {collection}: {document_id}\n")
    for name in media_type:
        outcome = "enqueued" if enqueue(name, document_id) else "the queue is not available"
        sys.stdout.write(f"{name} {document_id}: {outcome}\n")


if __name__ == "__main__":
    main()
