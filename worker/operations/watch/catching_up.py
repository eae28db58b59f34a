"""What follows a lost position: everything that differs is made due, and a sweep enqueues it."""

from __future__ import annotations

from collections.abc import Callable

from worker.core.clock import now
from worker.database.backlog import Backlog
from worker.media import MEDIA_TYPES

_WINDOW = 1000  # documents that are compared together


def mark_all_changed(backlog: Backlog, between: Callable[[], None]) -> int:
    """Make every item due that was edited since its last run; return how many.

    Calls `between` every so many documents. New items need no mark: sweeps find them by their
    ids. Safe to repeat. Raises StoreUnavailableError.
    """
    count = 0
    for kind in MEDIA_TYPES.values():
        after, is_more = None, True
        while is_more:
            changed, after = backlog.changed_after(kind, after, _WINDOW)
            backlog.mark(kind, [owned.ref for owned in changed], now())
            count, is_more = count + len(changed), after is not None
            between()
    return count
