"""The sweep: finds every document that does not agree with what is published, and enqueues it.

A message may be lost; the document is the truth. Two sweeps at once do no harm: an item may be
enqueued twice, and syncing it twice changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.accounts import Accounts
from worker.backlog import Backlog
from worker.clock import after, now
from worker.documents import ItemRef
from worker.media import MEDIA_TYPES, MediaType
from worker.removal import Removal, Removals
from worker.settings import SweepSettings


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep over all media types."""

    backlog: Backlog
    accounts: Accounts
    removals: Removals
    settings: SweepSettings

    def run(
        self,
        queued: int,
        enqueue_item: Callable[[ItemRef], None],
        enqueue_removal: Callable[[Removal], None],
    ) -> int:
        """Enqueue what does not agree; return how many.

        `queued` is how long the queue is already: a long queue is not made longer.
        """
        room = max(0, self.settings.limit - queued)
        count = 0
        for removal in self.removals.due(room, after(self.settings.requeue)):
            enqueue_removal(removal)
            count += 1
        kinds = list(MEDIA_TYPES.values())
        random.shuffle(kinds)  # no type is always served last, when there is more than room
        for kind in kinds:
            count += self._sweep_type(kind, room - count, enqueue_item)
        return count

    def _sweep_type(
        self, kind: MediaType, room: int, enqueue_item: Callable[[ItemRef], None]
    ) -> int:
        count = 0
        for refs in self._findings(kind, room):
            chosen = refs[: room - count]
            for ref in chosen:
                enqueue_item(ref)
            # Marked once they are on the queue: a sweep that dies between the two repeats itself.
            if chosen:
                self.backlog.mark(kind, chosen, after(self.settings.requeue))
            count += len(chosen)
            if count >= room:
                break
        return count

    def _findings(self, kind: MediaType, room: int) -> Iterator[Sequence[ItemRef]]:
        if room <= 0:
            return
        moment = now()
        yield self.backlog.due(kind, moment, room)
        oldest = moment - timedelta(days=self.settings.horizon_days)
        youngest = moment - timedelta(seconds=self.settings.grace)
        yield self.backlog.unseen(kind, oldest, youngest, room)
        if able := self.accounts.usable(self.backlog.waiting_for_account(kind)):
            yield self.backlog.skipped_of(kind, sorted(able), room)
        if self.settings.window:
            yield self.backlog.changed(kind, self.settings.window)
