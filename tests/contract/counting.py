"""The requests that a client of MongoDB or Redis sends, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from redis import Connection, Redis


class Commands(CommandListener):
    """Counts the commands that a client of MongoDB sends."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def started(self, event: CommandStartedEvent) -> None:
        """Count a command by its name."""
        self.counts[event.command_name] += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Required by the interface."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Required by the interface."""


class Requests:
    """Counts the requests of a client of Redis; a pipeline is one."""

    def __init__(self, redis: Redis) -> None:
        self.number = 0
        counted = self

        class Counted(Connection):
            def send_packed_command(self, *args: Any, **options: Any) -> None:
                counted.number += 1
                super().send_packed_command(*args, **options)  # type: ignore[no-untyped-call]

        redis.connection_pool.connection_class = Counted
        redis.ping()

    def of(self, call: Callable[[], object]) -> int:
        """Return the number of requests of a call."""
        before = self.number
        call()
        return self.number - before
