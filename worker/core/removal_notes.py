"""Removal notes: a producer saves one so that a removal survives a lost message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_GRACE = timedelta(seconds=30)  # in which the document is deleted and the message processed


def removal_note(type: str, id: object, *, user: str) -> dict[str, object]:  # noqa: A002
    """Return the document to save in `atproto_removals` before a deletion.

    `type` and `id` are those of `enqueue`; `user` is the subject of the item's owner (the guest
    subject for a guest's item). If the message is lost, a sweep finds the note and removes the
    record. The note is deleted once the record is removed.
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
