"""The tasks over one item: doorways into the engine."""

from __future__ import annotations

from tasks.policy import MediaTask
from worker.app import app
from worker.errors import MediaError


@app.task(bind=True, base=MediaTask, name="sync_media")
def sync_media(self: MediaTask, type: str, id: str | int, user: str | None = None) -> str:  # noqa: A002
    """Make the PDS match a document as it is now; `user` is whose it was, should it be gone."""
    try:
        outcome = self.services.engine.sync(
            type, id, holder=self.message_id, user=user, only_if_due=self.is_retry
        )
    except MediaError as error:
        self.postpone(error)
    return self.conclude(outcome)


@app.task(bind=True, base=MediaTask, name="delete_media")
def delete_media(self: MediaTask, type: str, user: str, rkey: str) -> str:  # noqa: A002
    """Remove a user's record whose document is gone from MongoDB."""
    try:
        outcome = self.services.engine.delete(type, user, rkey, holder=self.message_id)
    except MediaError as error:
        self.postpone(error)
    return self.conclude(outcome)
