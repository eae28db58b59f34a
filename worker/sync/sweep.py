"""Find documents that need a sync, and enqueue them.

Queue messages can be lost, so the sweep relies on the documents. Two sweeps may overlap: an item
is then enqueued twice, and its second sync changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.core.clock import after, now
from worker.core.documents import ItemRef, OwnedItem
from worker.core.settings import SweepSettings
from worker.database.accounts import Accounts
from worker.database.backlog import Backlog
from worker.database.removals import Removal, Removals
from worker.media import MEDIA_TYPES, MediaType
from worker.queue.names import FRONT, OVERFLOW
from worker.sync.account_changes import ChangedAccounts
from worker.sync.fairness import FairShare

_QUOTA = 10  # items of an owner in the front list
_SCAN_FACTOR = 20  # items read for each one enqueued, to find other owners behind a large one


@dataclass(frozen=True, slots=True)
class Sweep:
    """Enqueues items and removals of all media types that are due."""

    backlog: Backlog
    accounts: Accounts
    removals: Removals
    changed_accounts: ChangedAccounts
    settings: SweepSettings

    def run(
        self,
        queued: Mapping[int, int],
        enqueue_item: Callable[[ItemRef, int], None],
        enqueue_removal: Callable[[Removal, int], None],
    ) -> int:
        """Enqueue due removals and items that need a sync; return how many.

        Each gets the priority FRONT or OVERFLOW. `queued` maps these to the lengths of their lists.
        Items are added up to `settings.limit` per list; removals may exceed it in OVERFLOW. If
        FRONT is full, no items are enqueued. Then the items of changed accounts are marked.
        """
        limit = self.settings.limit
        shares = FairShare(_QUOTA, limit - queued[FRONT], limit - queued[OVERFLOW])
        count = 0
        for removal in self.removals.due(max(shares.front, 0), after(self.settings.requeue)):
            priority = shares.priority_for(removal.user)
            enqueue_removal(removal, OVERFLOW if priority is None else priority)
            count += 1
        kinds = list(MEDIA_TYPES.values())
        random.shuffle(kinds)  # so that no type is always last when the queue is full
        count += sum(self._sweep_type(kind, shares, enqueue_item) for kind in kinds)
        if self.settings.window:
            # Last, because it may take long: the next sweeps enqueue these items.
            self.changed_accounts.mark_items(self.settings.window)
        return count

    def _sweep_type(
        self, kind: MediaType, shares: FairShare, enqueue_item: Callable[[ItemRef, int], None]
    ) -> int:
        count = 0
        for found in self._find_items(kind, shares):
            chosen = []
            for owned in found:
                priority = shares.priority_for(owned.owner)
                if priority is not None:
                    enqueue_item(owned.ref, priority)
                    chosen.append(owned.ref)
            # Marked after they are enqueued: if the sweep dies in between, they are found again.
            if chosen:
                self.backlog.mark(kind, chosen, after(self.settings.requeue))
            count += len(chosen)
        return count

    def _find_items(self, kind: MediaType, shares: FairShare) -> Iterator[Sequence[OwnedItem]]:
        most, moment = _SCAN_FACTOR * self.settings.limit, now()
        if not shares.has_capacity():
            return
        yield self.backlog.find_due(kind, moment, most)
        if not shares.has_capacity():
            return
        oldest = moment - timedelta(days=self.settings.horizon_days)
        youngest = moment - timedelta(seconds=self.settings.grace)
        yield self.backlog.find_unseen(kind, oldest, youngest, most)
        if able := self.accounts.usable(self.backlog.waiting_for_account(kind)):
            yield self.backlog.find_skipped(kind, sorted(able), most)
        if self.settings.window and shares.has_capacity():
            changed = self.backlog.find_changed(kind, self.settings.window)
            if changed:
                # The window has moved on, so items that do not fit into the queue must be due.
                self.backlog.mark(kind, [owned.ref for owned in changed], moment)
            yield changed
