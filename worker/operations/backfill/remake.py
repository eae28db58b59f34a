"""Mark items so that their thumbnails are made again, with the current settings.

A mark is saved on the document, until a run has made the thumbnails. Therefore it outlives the
command, its messages and Redis: the sweep enqueues marked items.
"""

from __future__ import annotations

from worker.core.clock import after
from worker.operations.backfill.planner import BackfillPlanner, Scope
from worker.services import Services


def mark_remake(services: Services, scope: Scope) -> int:
    """Mark the items of a scope, and return their number; synced ones become pending."""
    backlog, requeue = services.storage.backlog, services.settings.sweep.requeue
    return sum(
        backlog.mark_remake(batch.kind, batch.ids, after(requeue))
        for batch in BackfillPlanner.of(services).batches(scope)
    )
