"""Having items tried again, for the terminal and for the status page: one way for both."""

from __future__ import annotations

from worker.app import app
from worker.core.ids import message_id
from worker.operations.backfill.retry_failed import Batch, Revival
from worker.queue.names import BULK, SWEEP
from worker.services import Services


def revival_of(services: Services) -> Revival:
    """Return what has items tried again."""
    requeue = services.settings.sweep.requeue
    return Revival(services.store, services.backlog, services.lexicons, requeue=requeue)


def send(batch: Batch) -> bool:
    """Ask for a batch to be tried; a single item goes where the sweep's go.

    Returns whether the queue took the message.
    """
    ids = [message_id(item) for item in batch.ids]
    if len(ids) == 1:
        return app.submit("sync_media", (batch.type, ids[0]), SWEEP)
    return app.submit("sync_batch", (batch.type, batch.owner, ids), BULK)
