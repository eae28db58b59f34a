"""Timeouts of the services."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.net.client import ClientLimits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts of calls, in seconds.

    `first` limits the wait for the first response of MongoDB, Redis, the directory, and each PDS of
    our settings; with None, it is limited like all others. `once` disables retries of Redis calls,
    for pages that a user waits for. `limits` are those of all calls to a PDS; with None, they
    depend on the call (`worker.pds.call_limits`).
    """

    pds: float = 15
    redis: float = 5
    first: float | None = None
    once: bool = False
    limits: ClientLimits | None = None


COMMAND = Timeouts(first=3)
"""For commands: they report a service that does not respond at once, and may then take long."""

LOOKUP = Timeouts(pds=3, redis=3, first=3, once=True)
"""For commands that read one item."""
