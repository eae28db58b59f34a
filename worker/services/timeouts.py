"""Timeouts of the services."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.net.client import ClientLimits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of calls, in seconds.

    `once` disables retries of Redis calls, for pages that a user waits for. `limits` are those of
    all calls to a PDS; with None, they depend on the call (`worker.pds.call_limits`).
    """

    pds: float = 15
    redis: float = 5
    once: bool = False
    limits: ClientLimits | None = None
