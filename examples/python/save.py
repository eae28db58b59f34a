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

from tasks import enqueue

collection, *media_type = sys.argv[1:]
document = json_util.loads(sys.stdin.read())
with MongoClient(os.environ["MONGODB_CONNECTION_STRING"]) as client:
    database = client[os.environ["MONGODB_NAME"]]
    document_id = database[collection].insert_one(document).inserted_id
sys.stdout.write(f"saved in {collection}: {document_id}\n")
for name in media_type:
    is_enqueued = enqueue(name, document_id)
    sys.stdout.write("enqueued\n" if is_enqueued else "not enqueued: the queue is not available\n")
