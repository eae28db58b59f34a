"""A PDS that stops, dies or freezes."""

from __future__ import annotations

from datetime import UTC, datetime

from tasks.sync import sync_batch
from tests.faults.stage import Stage
from tests.faults.stream import save_old_mood
from worker.queue.names import BULK

_BATCH = 60  # of each user, each time
_KILLS = 2


def restart(stage: Stage) -> None:
    """Stop it, and start it when items have failed for it."""
    stage.stack.pds.stop()
    stage.wait_for_code("pds_")
    stage.stack.pds.start()


def kill(stage: Stage) -> None:
    """Kill -9 it, and start it when items have failed for it."""
    stage.stack.pds.kill()
    stage.wait_for_code("pds_")
    stage.stack.pds.start()


def freeze(stage: Stage) -> None:
    """Freeze it until calls have timed out and every lease taken before has run out."""
    stage.stack.pds.freeze()
    children = len(stage.fleet.children())
    stage.wait(lambda: len(stage.held()) >= children, "every process to be at work")
    last = max(lease["until"] for lease in stage.held())
    stage.wait_for_code("pds_unreachable")
    stage.wait(lambda: datetime.now(UTC) > last, "the leases of then to run out")
    stage.stack.pds.thaw()


def kill_in_batches(stage: Stage) -> None:
    """Kill -9 it while it carries out an applyWrites of a backfill, twice."""
    for _ in range(_KILLS):
        _send_batches(stage)
        stage.wait(
            lambda: stage.proxy.under_way("applyWrites"),
            "an applyWrites to be under way",
            every=0.002,
        )
        stage.stack.pds.kill()
        stage.stack.pds.start()


def _send_batches(stage: Stage) -> None:
    """Save old texts, and send the messages that a backfill of them would."""
    for owner in stage.cast.users:
        items = [save_old_mood(stage.platform, owner) for _ in range(_BATCH)]
        for item in items:
            stage.stream.keep(item)
        ids: list[str | int] = [str(item.id) for item in items]
        sync_batch.apply_async(("mood", owner.subject, ids), queue=BULK)
