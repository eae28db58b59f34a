"""A Celery application with an empty task, the baseline for the memory of a worker."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("idle", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    task_default_queue="idle",
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
)


@app.task(name="nothing")
def nothing() -> None:
    """Do nothing."""
