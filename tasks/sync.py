"""The tasks over one item: doorways into the engine."""

from __future__ import annotations

from tasks.base import MediaTask
from worker.app import app
from worker.core.errors import MediaError
from worker.queue.names import BATCH_HARD_LIMIT, BATCH_SOFT_LIMIT, BULK, MAX_COUNTDOWN


@app.task(bind=True, base=MediaTask, name="sync_media")
def sync_media(self: MediaTask, type: str, id: str | int, user: str | None = None) -> str:  # noqa: A002
    """Make the PDS match a document as it is now; `user` is whose it was, should it be gone."""
    try:
        outcome = self.engine.sync(
            type, id, holder=self.holder, user=user, only_if_due=self.is_retry
        )
    except MediaError as error:
        self.postpone(error)
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
    """Make the PDS match documents of one user as they are now, as part of a backfill perhaps."""
    try:
        balancer = self.services.balancer
        if self.arrived_on(BULK):
            balancer.rebalance(BULK, balancer.length(BULK), app.task_functions)
        report = self.services.batches.sync_batch(
            type,
            subject,
            ids,
            holder=self.holder,
            backfill=backfill,
            only_if_due=self.is_retry,
            max_wait=MAX_COUNTDOWN,
        )
    except MediaError as error:
        self.postpone(error)
    return self.conclude_batch(report, (type, subject), backfill)


@app.task(bind=True, base=MediaTask, name="delete_media")
def delete_media(self: MediaTask, type: str, user: str, rkey: str) -> str:  # noqa: A002
    """Remove a user's record whose document is gone from MongoDB."""
    try:
        outcome = self.engine.delete_record(type, user, rkey, holder=self.holder)
    except MediaError as error:
        self.postpone(error)
    return self.conclude(outcome)
