"""The worker's consumer: Celery's own, less its talk with other workers."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer


class LoneConsumer(Consumer):
    """A consumer that takes no part in gossip.

    With it, a worker of Celery 5.7 dies when a task ends while Redis is away, and nothing here
    needs workers to know of each other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        options = kwargs.pop("worker_options", None) or {}
        alone = {**options, "without_gossip": True, "without_mingle": True}
        kwargs["worker_options"] = alone
        super().__init__(*args, **kwargs)
