"""The tasks that run on a schedule."""

from __future__ import annotations

from typing import Any

from tasks.policy import MediaTask
from tasks.sync import delete_media, sync_media
from worker.app import SWEEP, app
from worker.documents import ItemRef
from worker.errors import MediaError
from worker.ids import message_id
from worker.removal import Removal


@app.task(bind=True, base=MediaTask, name="sweep")
def sweep(self: MediaTask) -> int:
    """Enqueue every document that does not agree with what is published; return how many."""
    try:
        return self.services.sweep.run(_queued(), _enqueue_item, _enqueue_removal)
    except MediaError as error:
        self.postpone(error)


def _queued() -> int:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return int(channel.client.llen(SWEEP))


def _enqueue_item(ref: ItemRef) -> None:
    sync_media.apply_async((ref.type, message_id(ref.id)), queue=SWEEP)


def _enqueue_removal(removal: Removal) -> None:
    if removal.rkey:
        delete_media.apply_async((removal.type, removal.user, removal.rkey), queue=SWEEP)
    else:
        sync_media.apply_async((removal.type, removal.id), {"user": removal.user}, queue=SWEEP)
