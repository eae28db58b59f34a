"""The API for producers: call `enqueue` right after saving a document.

    from tasks import enqueue

    painting_id = paintings.insert_one(painting).inserted_id
    enqueue("painting", painting_id)

`enqueue` never raises, and blocks for a quarter of a second at most. If a message is lost, a sweep
finds the document later.
"""

from __future__ import annotations

# Imported now, so that the first call does not wait for the import.
import kombu.transport.redis  # noqa: F401

from tasks.sync import delete_media, sync_media
from worker.app import app
from worker.core.removal_notes import removal_note


def enqueue(type: str, id: object, *, user: str | None = None) -> bool:  # noqa: A002
    """Enqueue a document that was saved, edited, nuked or deleted.

    `type` is the name of a media type. `id` is the document's `_id`: an ObjectId, string or number.
    `user` is the subject of the item, required if the document has been deleted from MongoDB.
    Returns whether the message was sent. If not, a warning is logged, and the sweep finds the
    document later.
    """
    name = id if isinstance(id, int) else str(id)
    return app.submit(sync_media.name, (type, name) if user is None else (type, name, user))


__all__ = ["delete_media", "enqueue", "removal_note", "sync_media"]
