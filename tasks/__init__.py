"""The functions for producers: call `enqueue` right after the save.

    from tasks import enqueue

    painting_id = paintings.insert_one(painting).inserted_id
    enqueue("painting", painting_id)

It never raises, and never delays the save for more than a quarter of a second: a sweep finds every
document whose message was lost.
"""

from __future__ import annotations

# Imported now, so that the first save does not wait for it.
import kombu.transport.redis  # noqa: F401

from tasks.sync import delete_media, sync_media
from worker.app import app
from worker.core.removal_notes import removal_note


def enqueue(type: str, id: object, *, user: str | None = None) -> bool:  # noqa: A002
    """Enqueue a document that was saved, edited, nuked or deleted.

    `type` is the name of a media type; `id` the document's `_id`, an ObjectId, a text or a number.
    `user` is the subject of the item, needed if the document has been deleted from MongoDB.
    Returns whether the message was sent; if not, this is logged, and the sweep will find the
    document.
    """
    name = id if isinstance(id, int) else str(id)
    return app.submit(sync_media.name, (type, name) if user is None else (type, name, user))


__all__ = ["delete_media", "enqueue", "removal_note", "sync_media"]
