"""Find documents that need a sync, and enqueue them.

Queue messages can be lost, so the sweep relies on the documents. Two sweeps may overlap: an item
is then enqueued twice, and its second sync changes nothing.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import after, now
from worker.core.documents import ItemRef, OwnedItem
from worker.core.errors import MediaError
from worker.core.settings import SweepSettings
from worker.database.accounts import Accounts
from worker.database.backlog import Backlog
from worker.database.removals import Removal, Removals
from worker.media import MEDIA_TYPES, MediaType
from worker.pds.identity import PdsResolver
from worker.queue.names import FRONT, OVERFLOW
from worker.sync.account_changes import ChangedAccounts
from worker.sync.failed_removals import FailedRemovals
from worker.sync.fairness import FairShare
from worker.telemetry.alerts import Alerts

_QUOTA = 10  # items of an owner in the front list
_DUE_FACTOR = 3  # due items read for each one that may be enqueued
_MANY_FACTOR = 2  # due items for each one that may be enqueued; above, items are read by owner too
_SCAN_FACTOR = 20  # other items read for each one that may be enqueued
_PAGES = 200  # of 1,000 skipped items, read from an index
_REMOVALS = 100  # read before they are marked

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Enqueues items and removals of all media types that are due."""

    backlog: Backlog
    accounts: Accounts
    removals: Removals
    failed_removals: FailedRemovals
    changed_accounts: ChangedAccounts
    resolver: PdsResolver
    settings: SweepSettings
    alerts: Alerts

    def run(
        self,
        queued: Mapping[int, int],
        enqueue_item: Callable[[ItemRef, int], None],
        enqueue_removal: Callable[[Removal, int], None],
    ) -> int:
        """Enqueue due removals and items that need a sync; return how many.

        Each gets the priority FRONT or OVERFLOW. `queued` maps these to the lengths of their lists.
        They are added up to `settings.limit` per list. If FRONT is full, nothing is enqueued. Then
        unneeded failed removals are deleted, and the items of changed accounts are marked.
        """
        limit = self.settings.limit
        shares = FairShare(_QUOTA, limit - queued[FRONT], limit - queued[OVERFLOW])
        kinds = list(MEDIA_TYPES.values())
        random.shuffle(kinds)  # so that no type is always last when the queue is full
        parts: dict[str, Callable[[], int]] = {
            "removals": partial(self._sweep_removals, shares, enqueue_removal),
            **{kind.name: partial(self._sweep_type, kind, shares, enqueue_item) for kind in kinds},
            "failed removals": self._withdraw_failed_removals,
            "accounts": self._mark_changed_accounts,  # last, because they may take long
            "moved accounts": self._find_moved_accounts,
        }
        return self._run_all(parts)

    def _run_all(self, parts: Mapping[str, Callable[[], int]]) -> int:
        """Run all parts of a sweep, and return the sum; log and report errors.

        At the end, unexpected errors are raised as a group, or else the first MediaError.
        """
        count, expected, unexpected = 0, list[MediaError](), list[Exception]()
        for name, part in parts.items():
            try:
                count += part()
            except SoftTimeLimitExceeded:
                raise
            except MediaError as error:
                log.warning("sweep of %s: %s", name, error.message)
                expected.append(error)
            except Exception as error:  # noqa: BLE001
                # Any exception: an error of one part must not prevent the other parts.
                self.alerts.part_failed(f"sweep of {name}", error)
                unexpected.append(error)
        if unexpected:
            raise ExceptionGroup("unexpected errors of the sweep", unexpected)
        if expected:
            raise expected[0]
        return count

    def _sweep_removals(
        self, shares: FairShare, enqueue_removal: Callable[[Removal, int], None]
    ) -> int:
        """Enqueue due removals, past any number of those of one user."""
        count, due = 0, self.removals.due()
        while shares.has_capacity() and (found := list(islice(due, _REMOVALS))):
            chosen = []
            for removal in found:
                if (priority := shares.priority_for(removal.user)) is not None:
                    enqueue_removal(removal, priority)
                    chosen.append(removal)
            if chosen:
                self.removals.mark(chosen, after(self.settings.requeue))
            count += len(chosen)
        return count

    def _withdraw_failed_removals(self) -> int:
        """Delete failed removals of documents that were inserted again."""
        self.failed_removals.withdraw()
        return 0

    def _mark_changed_accounts(self) -> int:
        """Mark items of changed accounts, which the next sweeps enqueue."""
        if self.settings.window:
            self.changed_accounts.mark_items(self.settings.window)
        return 0

    def _find_moved_accounts(self) -> int:
        """Find accounts that moved to another PDS; the resolver marks their items as due."""
        self.resolver.confirm_used()
        return 0

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
        moment = now()
        if not shares.has_capacity():
            return
        yield from self._find_due(kind, shares, moment)
        if not shares.has_capacity():
            return
        yield from self._find_unseen(kind, moment)
        for subjects in self.backlog.waiting_for_account(kind, _PAGES):
            if able := self.accounts.usable(subjects):
                most = _SCAN_FACTOR * self.settings.limit
                found = self.backlog.find_skipped(kind, sorted(able), most)
                yield self._mark_due(kind, found, moment)
            if not shares.has_capacity():
                return
        if self.settings.window and shares.has_capacity():
            found = self.backlog.find_changed(kind, self.settings.window)
            yield self._mark_due(kind, found, moment)

    def _find_due(
        self, kind: MediaType, shares: FairShare, moment: datetime
    ) -> Iterator[Sequence[OwnedItem]]:
        """Yield due items; if there are many, first a few of each of the next owners."""
        most = _DUE_FACTOR * self.settings.limit
        earliest = self.backlog.find_due(kind, moment, most)
        first: Sequence[OwnedItem] = ()
        if len(earliest) > _MANY_FACTOR * self.settings.limit:  # some may have had invalid ids
            first = self.backlog.find_due_by_owner(kind, moment, _QUOTA, shares.front)
        yield first
        known = {owned.ref for owned in first}
        yield [owned for owned in earliest if owned.ref not in known]

    def _find_unseen(self, kind: MediaType, moment: datetime) -> Iterator[Sequence[OwnedItem]]:
        """Yield items without a status; if there are many, the latest ones too.

        Many items of an owner, or documents that cannot be marked, therefore hide no new items.
        """
        most = _SCAN_FACTOR * self.settings.limit
        since = moment - timedelta(days=self.settings.horizon_days)
        until = moment - timedelta(seconds=self.settings.grace)
        oldest = self.backlog.find_unseen(kind, since, until, most)
        yield oldest
        if len(oldest) == most:
            known = {owned.ref for owned in oldest}
            latest = self.backlog.find_unseen(kind, since, until, most, latest_first=True)
            yield [owned for owned in latest if owned.ref not in known]

    def _mark_due(
        self, kind: MediaType, items: Sequence[OwnedItem], moment: datetime
    ) -> Sequence[OwnedItem]:
        """Mark items as due, because the next sweep continues after them; return the items."""
        self.backlog.mark(kind, [owned.ref for owned in items], moment)
        return items
