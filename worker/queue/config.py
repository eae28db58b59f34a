"""The Celery configuration; docs/architecture.md describes the design."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from kombu import Exchange, Queue

from worker.core.settings import QueueSettings
from worker.queue.names import BULK, HARD_LIMIT, LIVE, SOFT_LIMIT, SWEEP

_EPOCH = datetime.fromtimestamp(0, UTC)
MAX_CHILD_MEMORY = 400_000_000  # bytes; a child process above this is replaced after its task


def configuration() -> dict[str, object]:
    """Return the Celery settings that do not depend on the environment."""
    return {
        "broker_transport_options": producer_options(),
        "broker_connection_timeout": 0.1,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_limit": 64,
        "task_publish_retry": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [
            Queue(name, Exchange(name, type="direct"), routing_key=name)
            for name in (LIVE, SWEEP, BULK)
        ],
        "task_default_queue": LIVE,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": SOFT_LIMIT,
        "task_time_limit": HARD_LIMIT,
        "worker_consumer": "worker.queue.transport:NoGossipConsumer",
        "beat_scheduler": "worker.telemetry.heartbeat:Scheduler",
        "beat_max_loop_interval": 15,
        "worker_enable_remote_control": False,
        # A process spends half of its time waiting for MongoDB and the PDS (docs/figures.md).
        "worker_concurrency": 2 * (os.cpu_count() or 1),
        "worker_prefetch_multiplier": 1,
        "worker_max_tasks_per_child": 1000,
        "worker_max_memory_per_child": MAX_CHILD_MEMORY // 1024,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def environment_configuration(settings: QueueSettings) -> dict[str, object]:
    """Return the Celery options that depend on the environment.

    These are the URL of the broker and the schedule of the sweep.
    """
    interval = settings.sweep_interval
    # Sweep messages expire, so that they do not accumulate while no worker runs.
    options = {"expires": max(interval, 10.0), "queue": LIVE}
    # Beat saves nothing, so a sweep is due at its start: frequent restarts must not prevent sweeps.
    sweep = {"task": "sweep", "schedule": interval, "options": options, "last_run_at": _EPOCH}
    return {
        "broker_url": settings.broker_url.reveal(),
        "beat_schedule": {"sweep": sweep},
    }


def producer_options() -> dict[str, object]:
    """Return the transport options of producers: short timeouts and no retries."""
    return {"socket_connect_timeout": 0.1, "socket_timeout": 0.1, "max_retries": 0}


def flower_options() -> dict[str, object]:
    """Return the transport options of Flower, which must not redeliver messages of workers.

    With kombu's own keys, it would do so for those in flight longer than its visibility timeout.
    """
    keys = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
    return producer_options() | {key: f"{key.removesuffix('_key')}_flower" for key in keys}


def worker_options(settings: QueueSettings) -> dict[str, object]:
    """Return the transport options of workers, which detect lost connections."""
    return {
        "visibility_timeout": settings.visibility_timeout,
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "unacked_restore_interval": min(10.0, settings.visibility_timeout / 2),
        "unacked_restore_throttle": 1,
        # A worker that serves all queues takes saves first.
        "queue_order_strategy": "priority",
    }
