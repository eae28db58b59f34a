"""The periodic task: the sweep."""

from __future__ import annotations

from typing import Any

from tasks.base import MediaTask
from tasks.sync import delete_media, sync_media
from worker.app import app
from worker.core.documents import ItemRef
from worker.core.errors import MediaError
from worker.core.ids import message_id
from worker.database.removals import Removal
from worker.queue.names import FRONT, OVERFLOW, SWEEP, redis_list


# A sweep whose errors last is retried a few times only: beat sends others.
@app.task(bind=True, base=MediaTask, name="sweep", max_retries=8)
def sweep(self: MediaTask) -> int:
    """Enqueue items and removals that are due or were missed; return how many."""
    try:
        enqueued = self.services().sync.sweep.run(_queue_lengths(), _enqueue_item, _enqueue_removal)
    except MediaError as error:
        self.postpone(error)
    self.services().metrics.count_sweep(enqueued)
    return enqueued


def _queue_lengths() -> dict[int, int]:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return {
            priority: int(channel.client.llen(redis_list(SWEEP, priority)))
            for priority in (FRONT, OVERFLOW)
        }


def _enqueue_item(ref: ItemRef, priority: int) -> None:
    sync_media.apply_async((ref.type, message_id(ref.id)), queue=SWEEP, priority=priority)


def _enqueue_removal(removal: Removal, priority: int) -> None:
    if removal.id is None:
        by_key = (removal.type, removal.user, removal.rkey)
        delete_media.apply_async(by_key, queue=SWEEP, priority=priority)
    else:
        by_id, whose = (removal.type, removal.id), {"user": removal.user}
        sync_media.apply_async(by_id, whose, queue=SWEEP, priority=priority)
