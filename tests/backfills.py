"""Backfills in one process: the queue delivers at once, or loses what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from tests.bulk import KINDS
from tests.world import World
from worker.operations.backfill.planner import BackfillPlanner, Batch, Scope
from worker.operations.backfill.rehearsal import rehearse
from worker.operations.backfill.rehearsal_result import Rehearsal
from worker.operations.backfill.run import BackfillRun
from worker.queue.depth import QueueLengths
from worker.services import Services
from worker.sync.batch.engine import BatchRequest
from worker.sync.batch.progress import BackfillProgress, ProgressTracker


@dataclass
class Queue:
    """The bulk queue and a worker that serves each message as it comes, in this process.

    Messages for which `lose` is true never arrive.
    """

    world: World
    lose: Callable[[Batch], object] = field(default=lambda _batch: False)
    served: list[Batch] = field(default_factory=list)

    def send(self, batch: Batch, backfill: str, message: str) -> bool:
        """Take a message, and serve it as the task does."""
        if self.lose(batch):
            return True
        self.served.append(batch)
        ids, is_retry = list(batch.ids), False
        while ids:
            request = BatchRequest(batch.kind, batch.owner, ids, message, backfill, is_retry)
            report = self.world.services.sync.batches.sync_reporting(request, max_wait=30)
            ids, is_retry = report.due_within(30)[0], True
        return True

    def backfill_run(self, *, stalled: float = 0.0, **scope: object) -> BackfillRun:
        """Return a backfill of all types, or of what `scope` says, by this queue."""
        services = self.world.services
        wanted = Scope(**{"kinds": KINDS, **scope})  # type: ignore[arg-type]
        return BackfillRun(
            name=uuid4().hex,
            scope=wanted,
            planner=BackfillPlanner.of(services),
            progress=ProgressTracker(services.storage.redis),
            send=self.send,
            lengths=lambda: QueueLengths(0, 0, 0, 0),
            show=lambda _tally: None,
            stalled=stalled,
        )


def run_backfill(world: World, **scope: object) -> BackfillProgress:
    """Run a backfill to its end; return what was told of it."""
    backfill_run = Queue(world).backfill_run(**scope)  # type: ignore[arg-type]
    backfill_run.enqueue()
    return backfill_run.wait()


def dry_run(
    services: Services, scope: Scope, *, samples: int = 0, reads_files: bool = True
) -> Rehearsal:
    """Rehearse a backfill."""
    preview = BackfillPlanner.of(services).preview(scope)
    return rehearse(services, scope, preview, samples=samples, reads_files=reads_files)
