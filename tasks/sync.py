"""The tasks that publish, update and remove the records of items."""

from __future__ import annotations

from contextlib import suppress

from celery.exceptions import SoftTimeLimitExceeded

from tasks.base import MediaTask
from worker.app import app
from worker.core.errors import MediaError
from worker.queue.names import BATCH_HARD_LIMIT, BATCH_SOFT_LIMIT


@app.task(bind=True, base=MediaTask, name="sync_media")
def sync_media(self: MediaTask, type: str, id: str | int, user: str | None = None) -> str:  # noqa: A002
    """Sync an item. `user` is its subject, required if its document was deleted."""
    try:
        outcome = self.select_engine().sync(
            type, id, holder=self.holder, user=user, only_if_due=self.is_retry
        )
    except MediaError as error:
        self.postpone(error)
    finally:
        # Last, because this item need not wait for it; another task repeats it.
        with suppress(SoftTimeLimitExceeded):
            self.keep_queues_fair()
    return self.conclude(outcome)


@app.task(
    bind=True,
    base=MediaTask,
    name="sync_batch",
    soft_time_limit=BATCH_SOFT_LIMIT,
    time_limit=BATCH_HARD_LIMIT,
)
def sync_batch(
    self: MediaTask,
    type: str,  # noqa: A002
    subject: str,
    ids: list[str | int],
    backfill: str | None = None,
) -> str:
    """Sync items of one subject. `backfill` is the name of the backfill, or None."""
    # Imported here: producers import the tasks, and must not load the engine.
    from worker.media import media_type
    from worker.sync.batch.engine import BatchRequest

    try:
        self.keep_queues_fair()
        kind, only_if_due = media_type(type), self.is_retry
        tries, max_wait = self.request.retries + 1, self.max_wait
        request = BatchRequest(kind, subject, ids, self.holder, backfill, only_if_due, tries)
        report = self.services().sync.batches.sync_reporting(request, max_wait=max_wait)
    except MediaError as error:
        self.postpone(error)
    return self.conclude_batch(report, request, max_wait)


@app.task(bind=True, base=MediaTask, name="delete_media")
def delete_media(self: MediaTask, type: str, user: str, rkey: str) -> str:  # noqa: A002
    """Delete the record at `rkey` in a subject's repo after its document was deleted."""
    try:
        self.keep_queues_fair()
        outcome = self.select_engine().delete_record(type, user, rkey, holder=self.holder)
    except MediaError as error:
        self.postpone(error)
    return self.conclude(outcome)
