"""Timeouts of the services."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.net.transports import ResponseLimits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of calls, in seconds.

    `once` disables retries of Redis calls, for pages that a user waits for. `bounds` limits the
    responses of a PDS; None allows a whole repo.
    """

    pds: float = 15
    redis: float = 5
    once: bool = False
    bounds: ResponseLimits | None = None
