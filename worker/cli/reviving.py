"""What commands share that have items tried again: the messages, and what is told of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from worker.cli.page import say
from worker.ids import message_id

if TYPE_CHECKING:
    from worker.overview import Batch, Revival, Tally
    from worker.services import Services


def revival_of(services: Services) -> Revival:
    """Return what has items tried again."""
    from worker.overview import Revival

    requeue = services.settings.sweep.requeue
    return Revival(services.store, services.backlog, services.lexicons, requeue=requeue)


def send(batch: Batch) -> bool:
    """Ask for a batch to be tried; a single item goes where the sweep's go."""
    from tasks.policy import LostResult
    from tasks.sync import sync_batch, sync_media
    from worker.app import BULK, SWEEP

    ids = [message_id(item) for item in batch.ids]
    if len(ids) == 1:
        result = sync_media.apply_async((batch.type, ids[0]), queue=SWEEP)
    else:
        result = sync_batch.apply_async((batch.type, batch.owner, ids), queue=BULK)
    return not isinstance(result, LostResult)


def print_tally(tally: Tally, requeue: float) -> None:
    """Tell what was enqueued, and what is left to a sweep."""
    say_counts(tally.enqueued, "enqueued")
    if tally.left:
        say_counts(tally.left, "not enqueued")
        message = "The queue did not take them: check that REDIS_URL names a server that answers."
        say(f"{message} They are pending; a sweep finds them in {requeue:.0f} seconds.", "yellow")


def say_counts(counts: Counter[str], what: str) -> None:
    """Tell numbers by type."""
    split = ", ".join(f"{number} {name}" for name, number in counts.items())
    say(f"{counts.total()} {what}{f': {split}' if split else ''}")
