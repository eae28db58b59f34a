"""The Redis keys of this project, and those that Celery, kombu and Flower write for it.

A test compares them with the table in SECURITY.md. Keys of other Celery applications, such as
`celery` or `_kombu.binding.celery`, are not among them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from kombu.transport.redis import Channel

from worker.queue.config import flower_options
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, SWEEP, redis_list

_QUEUES = (LIVE, SWEEP, BULK)
_FLOWER_EXCHANGES = ("celeryev", "reply.celery.pidbox")
_UNACKED = ("unacked_key", "unacked_index_key", "unacked_mutex_key")
# The type stubs of kombu lack two of its names.
_DEADLINES: str = Channel.keyprefix_binding_deadlines  # type: ignore[attr-defined]
_BINDINGS: tuple[str, ...] = (
    Channel.keyprefix_queue,
    Channel.keyprefix_binding_permanent,  # type: ignore[attr-defined]
)

OWN_KEYS = (
    "media-atproto:*",
    *(redis_list(queue, priority) for queue in _QUEUES for priority in (FRONT, OVERFLOW)),
    *(str(getattr(Channel, name)) for name in _UNACKED),
    _DEADLINES,
    *(prefix % exchange for prefix in _BINDINGS for exchange in (*_QUEUES, *_FLOWER_EXCHANGES)),
    # Queues of Flower.
    "celeryev.*",
    "*.reply.celery.pidbox*",
    *(str(flower_options()[name]) for name in _UNACKED),
)
"""Patterns, in which only `*` is special."""


def is_own_key(name: str) -> bool:
    """Return whether a Redis key belongs to this project."""
    return any(fnmatchcase(name, pattern) for pattern in OWN_KEYS)
