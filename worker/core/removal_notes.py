"""Removal notes, which keep a removal pending if its queue message is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_GRACE = timedelta(seconds=30)  # time to delete the document and process the message


def removal_note(
    type: str,  # noqa: A002
    id: object,  # noqa: A002
    *,
    user: str,
    rkey: str | None = None,
) -> dict[str, object]:
    """Build the note to save in `atproto_removals` before a document is deleted.

    `type` and `id` are the arguments of `enqueue`. `user` is the subject of the item's owner (the
    guest subject for a guest's item). `rkey` is `atproto.rkey` of the document, if it has one: the
    record is then found by one call. If the message is lost, a sweep finds the note and removes the
    record. The note is deleted after the record is removed.
    """
    name = id if isinstance(id, int) else str(id)
    return {
        "_id": f"{type}:{user}::{name}",
        "type": type,
        "user": user,
        "id": name,
        "rkey": rkey,
        "attempts": 0,
        "retryAt": datetime.now(UTC) + _GRACE,
    }
