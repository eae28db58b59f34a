"""Backfill: everything whose published state is not right, cut into batches of one account.

Accounts take turns, so that a large one does not keep the others waiting. All of it streams.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from typing import Self, TypeVar

from worker.core.documents import DocumentId
from worker.database.accounts import Accounts
from worker.media import MediaType
from worker.operations.backfill.queries import (
    FAILED,
    FOREIGN,
    NO_ACCOUNT,
    PARTIAL,
    PENDING,
    REMOVED,
    UNSEEN,
    BackfillQueries,
    OwnerCount,
    StatusGroup,
)
from worker.services import Services

T = TypeVar("T")

_ROUND_ROBIN_SIZE = 64  # accounts that take turns; above the number of workers that one would want
_LOOKUP_SIZE = 500  # accounts at a time


@dataclass(frozen=True, slots=True)
class Scope:
    """What a backfill is to cover.

    `owners` are subjects, None for all. Items that were given up are tried with `failed`, those
    that were wiped with `removed`. `limit` is the most items to enqueue.
    """

    kinds: Sequence[MediaType]
    owners: Sequence[str] | None = None
    failed: bool = False
    removed: bool = False
    limit: int | None = None

    @property
    def groups(self) -> list[StatusGroup]:
        """Return the status groups to read, in an order in which none is met twice.

        Work moves documents from the later ones to the earlier ones, or out of all.
        """
        asked = [*([FAILED] if self.failed else []), *([REMOVED] if self.removed else [])]
        return [PARTIAL, NO_ACCOUNT, *asked, PENDING, FOREIGN, UNSEEN]


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one owner, to be synced with one message."""

    kind: MediaType
    owner: str
    ids: tuple[DocumentId, ...]


@dataclass(frozen=True, slots=True)
class BackfillPreview:
    """How much there is to do, by type; and what is left out, by type and reason."""

    wanted: Mapping[str, int]
    left_out: Mapping[tuple[str, str], int]
    accounts: int

    @property
    def total(self) -> int:
        """Return how many items there are to do."""
        return sum(self.wanted.values())


class BackfillPlanner:
    """Finds what a backfill has to do."""

    def __init__(self, selection: BackfillQueries, accounts: Accounts, guest_subject: str) -> None:
        self._selection = selection
        self._accounts = accounts
        self._guest_subject = guest_subject

    @classmethod
    def of(cls, services: Services) -> Self:
        """Return the planner over these services' documents."""
        selection = BackfillQueries(services.store)
        return cls(selection, services.accounts, services.settings.guest_subject)

    def preview(self, scope: Scope) -> BackfillPreview:
        """Count without changing anything."""
        wanted: Counter[str] = Counter()
        left_out: Counter[tuple[str, str]] = Counter()
        owners: set[str] = set()
        for kind in scope.kinds:
            for group in scope.groups:
                for row, reason in self._with_reasons(kind, self._owners(kind, group, scope)):
                    left_out.update({(kind.name, why): n for why, n in row.gone.items()})
                    if reason:
                        left_out[kind.name, reason] += row.wanted
                    elif row.wanted:
                        wanted[kind.name] += row.wanted
                        owners.add(row.owner)
        return BackfillPreview(wanted, +left_out, len(owners))

    def batches(self, scope: Scope) -> Iterator[Batch]:
        """Go through all batches, the accounts in turns."""
        every = chain.from_iterable(
            self._batches(kind, group, scope) for kind in scope.kinds for group in scope.groups
        )
        return every if scope.limit is None else _limit(every, scope.limit)

    def remaining(self, scope: Scope, due: datetime) -> Iterator[Batch]:
        """Go through what is still not right though it was tried, and is due by then."""
        for kind in scope.kinds:
            for group in scope.groups:
                if not group.settled:
                    yield from self._batches(kind, group, scope, due)

    def _batches(
        self, kind: MediaType, group: StatusGroup, scope: Scope, due: datetime | None = None
    ) -> Iterator[Batch]:
        rows = self._with_reasons(kind, self._owners(kind, group, scope))
        owners = (row.owner for row, reason in rows if reason is None and row.wanted)

        def of(owner: str) -> Iterator[Batch]:
            ids = iter(self._selection.documents(kind, group, owner, due))
            while batch := tuple(islice(ids, kind.batch)):
                yield Batch(kind, owner, batch)

        return round_robin(owners, of)

    def _owners(self, kind: MediaType, group: StatusGroup, scope: Scope) -> Iterator[OwnerCount]:
        return self._selection.owners(kind, group, scope.owners)

    def _with_reasons(
        self, kind: MediaType, rows: Iterator[OwnerCount]
    ) -> Iterator[tuple[OwnerCount, str | None]]:
        """Tell of each owner why nothing of theirs can be published; None when it can."""
        while chunk := list(islice(rows, _LOOKUP_SIZE)):
            able = self._accounts.usable(row.owner for row in chunk)
            for row in chunk:
                if row.owner == self._guest_subject and not kind.guests:
                    yield row, "guests_not_published"
                else:
                    yield row, None if row.owner in able else "no_account"


def round_robin(owners: Iterable[str], batches: Callable[[str], Iterator[T]]) -> Iterator[T]:
    """Go through the batches of owners: one of each in turn, of so many at a time."""
    waiting = iter(owners)
    at_it = deque(batches(owner) for owner in islice(waiting, _ROUND_ROBIN_SIZE))
    while at_it:
        current = at_it.popleft()
        try:
            yield next(current)
        except StopIteration:
            at_it.extend(batches(owner) for owner in islice(waiting, 1))
        else:
            at_it.append(current)


def _limit(batches: Iterable[Batch], limit: int) -> Iterator[Batch]:
    for batch in batches:
        if limit <= 0:
            return
        yield replace(batch, ids=batch.ids[:limit])
        limit -= len(batch.ids)
