"""What a producer can save in MongoDB, to be as sure of a removal as of everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_GRACE = timedelta(seconds=30)  # in which the document is deleted, and the message sees to it


def removal_note(type: str, id: object, *, user: str) -> dict[str, object]:  # noqa: A002
    """Return what to save in the collection `atproto_removals` before a document is deleted.

    `type` and `id` are those of `enqueue`; `user` is the subject that the item belongs to, the
    guests' for a guest's. A sweep finds the note should the message be lost, and removes the
    record; whoever has removed it deletes the note.
    """
    name = id if isinstance(id, int) else str(id)
    return {
        "_id": f"{type}:{user}::{name}",
        "type": type,
        "user": user,
        "id": name,
        "rkey": None,
        "attempts": 0,
        "retryAt": datetime.now(UTC) + _GRACE,
    }
