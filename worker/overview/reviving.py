"""Having items tried again, for the terminal and for the status page: one way for both."""

from __future__ import annotations

from worker.app import BULK, SWEEP
from worker.ids import message_id
from worker.overview.revival import Batch, Revival
from worker.services import Services


def revival_of(services: Services) -> Revival:
    """Return what has items tried again."""
    requeue = services.settings.sweep.requeue
    return Revival(services.store, services.backlog, services.lexicons, requeue=requeue)


def send(batch: Batch) -> bool:
    """Ask for a batch to be tried; a single item goes where the sweep's go.

    Returns whether the queue took the message.
    """
    # Imported late: tasks import the engine, and not the other way round.
    from tasks.policy import LostResult
    from tasks.sync import sync_batch, sync_media

    ids = [message_id(item) for item in batch.ids]
    if len(ids) == 1:
        result = sync_media.apply_async((batch.type, ids[0]), queue=SWEEP)
    else:
        result = sync_batch.apply_async((batch.type, batch.owner, ids), queue=BULK)
    return not isinstance(result, LostResult)
