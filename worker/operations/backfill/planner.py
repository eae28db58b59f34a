"""Group the items to backfill, restore or retry into batches, and enqueue them.

Each batch contains items of one account. Accounts take turns, so that a large one does not delay
the others. All queries stream their results.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, islice
from typing import Self, TypeVar

from worker.app import app
from worker.core.documents import DocumentId, OwnedItem
from worker.core.ids import message_id
from worker.database.accounts import Accounts
from worker.media import MediaType, media_type
from worker.operations.backfill.queries import (
    FAILED,
    FOREIGN,
    FORGOTTEN,
    NO_ACCOUNT,
    PARTIAL,
    PENDING,
    REMOVED,
    SKIPPED_OTHERS,
    SYNCED,
    UNSEEN,
    BackfillQueries,
    OwnerCount,
    StatusGroup,
)
from worker.queue.names import BULK, SWEEP
from worker.services import Services

T = TypeVar("T")

MAX_MESSAGES = 1000  # queued at a time, about 6 MB in Redis; more than workers need
_ROUND_ROBIN_SIZE = 64  # accounts that take turns; more than an installation has workers
_LOOKUP_SIZE = 500  # accounts per query
_CHUNK = 20_000  # items grouped by owner at a time, about 10 MB
_NEVER_COVERED = {"skipped": SKIPPED_OTHERS, "forgotten": FORGOTTEN}


@dataclass(frozen=True, slots=True)
class Scope:
    """The items that a backfill covers.

    `owners` are subjects, None for all. `failed` includes failed items, `removed` wiped ones, and
    `synced` those to make new thumbnails for. `limit` is the maximum number of items to enqueue.
    """

    kinds: Sequence[MediaType]
    owners: Sequence[str] | None = None
    failed: bool = False
    removed: bool = False
    synced: bool = False
    limit: int | None = None

    @property
    def groups(self) -> list[StatusGroup]:
        """Return the status groups, ordered so that few documents are read twice.

        A run moves a document to an earlier group, out of all groups, or to the synced ones, which
        `mark_remake` only marks again.
        """
        optional = [*([FAILED] if self.failed else []), *([REMOVED] if self.removed else [])]
        synced = [SYNCED] if self.synced else []
        return [PARTIAL, NO_ACCOUNT, *optional, PENDING, FOREIGN, UNSEEN, *synced]

    @property
    def left_out(self) -> Mapping[str, StatusGroup]:
        """Return the groups of unpublished items that are not covered, by the reason to report."""
        groups = {"failed": FAILED, "removed": REMOVED} | _NEVER_COVERED
        return {reason: group for reason, group in groups.items() if group not in self.groups}


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents of one owner, to be synced with one message."""

    kind: MediaType
    owner: str
    ids: tuple[DocumentId, ...]


@dataclass(frozen=True, slots=True)
class BackfillPreview:
    """Items to enqueue, by type, and unpublished items left out, by type and reason.

    `owners` are the subjects with items to enqueue. `without_account` counts the owners of items
    who have no account, by what is missing (see `Accounts.missing_parts`).
    """

    wanted: Mapping[str, int]
    left_out: Mapping[tuple[str, str], int]
    owners: frozenset[str]
    without_account: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return the number of items to enqueue."""
        return sum(self.wanted.values())

    def limited(self, scope: Scope) -> Mapping[str, int]:
        """Return the number of items by type, at most the limit of the scope."""
        return {name: min(number, scope.limit or number) for name, number in self.wanted.items()}


class BackfillPlanner:
    """Selects the items of a backfill or a retry, and groups them into batches."""

    def __init__(self, selection: BackfillQueries, accounts: Accounts, guest_subject: str) -> None:
        self._selection = selection
        self._accounts = accounts
        self._guest_subject = guest_subject

    @classmethod
    def of(
        cls, services: Services, on_invalid_id: Callable[[MediaType, object], None] | None = None
    ) -> Self:
        """Return a planner for the documents of these services; see `BackfillQueries`."""
        selection = BackfillQueries(services.storage.store, on_invalid_id)
        return cls(selection, services.storage.accounts, services.settings.guest_subject)

    def keep_alive(self) -> None:
        """Keep the queries of unfinished iterators open; call this while a backfill waits."""
        self._selection.keep_alive()

    def preview(self, scope: Scope) -> BackfillPreview:
        """Count without changing anything."""
        wanted: Counter[str] = Counter()
        left_out: Counter[tuple[str, str]] = Counter()
        owners, unusable = set[str](), set[str]()
        for kind, excluded, row, reason in self._all_owners(scope):
            left_out.update({(kind.name, why): n for why, n in row.hidden.items()})
            if reason == "no_account" and row.wanted:
                unusable.add(row.owner)
            if why := reason or excluded:
                left_out[kind.name, why] += row.wanted
            elif row.wanted:
                wanted[kind.name] += row.wanted
                owners.add(row.owner)
        missing = self._count_missing_parts(unusable)
        return BackfillPreview(wanted, +left_out, frozenset(owners), missing)

    def _all_owners(
        self, scope: Scope
    ) -> Iterator[tuple[MediaType, str | None, OwnerCount, str | None]]:
        """Yield type, reason of an excluded group, owner, and reason of an unusable owner."""
        groups = [(group, None) for group in scope.groups]
        excluded = [(group, reason) for reason, group in scope.left_out.items()]
        for kind in scope.kinds:
            for group, reason in (*groups, *excluded):
                for row, why in self._owners(kind, group, scope):
                    yield kind, reason, row, why

    def _count_missing_parts(self, subjects: Iterable[str]) -> Counter[str]:
        counts, rest = Counter[str](), iter(subjects)
        while chunk := list(islice(rest, _LOOKUP_SIZE)):
            counts.update(self._accounts.missing_parts(chunk))
        return counts

    def batches(self, scope: Scope) -> Iterator[Batch]:
        """Yield the batches of a backfill."""
        every = chain.from_iterable(
            self._batches(kind, group, scope) for kind in scope.kinds for group in scope.groups
        )
        return every if scope.limit is None else _limit(every, scope.limit)

    def failed_batches(
        self, kinds: Sequence[MediaType], codes: Sequence[str] = (), limit: int | None = None
    ) -> Iterator[Batch]:
        """Yield batches of failed and partial items, filtered by `codes` if given.

        Unlike in a backfill, items that are hidden or have no account are included.
        """
        failed = (item for kind in kinds for item in self._selection.failed(kind, codes))
        return to_batches(islice(failed, limit))

    def remaining(self, scope: Scope, due: datetime) -> Iterator[Batch]:
        """Yield batches of the items that were not published and are due by `due`."""
        for kind in scope.kinds:
            for group in scope.groups:
                if not group.settled:
                    yield from self._batches(kind, group, scope, due)

    def _batches(
        self, kind: MediaType, group: StatusGroup, scope: Scope, due: datetime | None = None
    ) -> Iterator[Batch]:
        rows = self._owners(kind, group, scope)
        owners = (row.owner for row, reason in rows if reason is None and row.wanted)
        documents = self._selection.documents
        return round_robin(
            _cut(kind, owner, documents(kind, group, owner, due)) for owner in owners
        )

    def _owners(
        self, kind: MediaType, group: StatusGroup, scope: Scope
    ) -> Iterator[tuple[OwnerCount, str | None]]:
        """Yield each owner with the reason why their items cannot be published, if any."""
        rows = self._selection.owners(kind, group, scope.owners)
        while chunk := list(islice(rows, _LOOKUP_SIZE)):
            usable = self._accounts.usable(row.owner for row in chunk)
            for row in chunk:
                if row.owner == self._guest_subject and not kind.guests:
                    yield row, "guests_not_published"
                else:
                    yield row, None if row.owner in usable else "no_account"


def to_batches(items: Iterable[OwnedItem]) -> Iterator[Batch]:
    """Group items into batches of one type and owner."""
    stream = iter(items)
    while chunk := list(islice(stream, _CHUNK)):
        ids = defaultdict[tuple[str, str], list[DocumentId]](list)
        for item in chunk:
            ids[item.ref.type, item.owner].append(item.ref.id)
        yield from round_robin(
            _cut(media_type(name), owner, theirs) for (name, owner), theirs in ids.items()
        )


def submit(batch: Batch, backfill: str | None = None, message: str | None = None) -> bool:
    """Enqueue a batch; return whether the queue accepted it.

    A single item is sent as the sweep sends it, unless a `backfill` tracks its results.
    """
    ids = [message_id(item) for item in batch.ids]
    if backfill is None and len(ids) == 1:
        return app.submit("sync_media", (batch.kind.name, ids[0]), SWEEP, quiet=True)
    args = (batch.kind.name, batch.owner, ids, backfill)
    return app.submit("sync_batch", args, BULK, task_id=message, quiet=True)


def round_robin(streams: Iterable[Iterator[T]]) -> Iterator[T]:
    """Yield one item of each stream in turn, from up to 64 streams at a time."""
    pending = iter(streams)
    active = deque(islice(pending, _ROUND_ROBIN_SIZE))
    while active:
        current = active.popleft()
        try:
            yield next(current)
        except StopIteration:
            active.extend(islice(pending, 1))
        else:
            active.append(current)


def _cut(kind: MediaType, owner: str, ids: Iterable[DocumentId]) -> Iterator[Batch]:
    """Yield the batches of an owner, the same ones each time.

    Their sizes vary for types with thumbnails. Uploads share the time of a PDS equally: after
    batches of one size, all processes would read the next ones together while the PDS is idle.
    """
    stream = iter(ids)
    dice = random.Random(owner)  # noqa: S311 - not for security
    lowest = max(1, kind.batch // 2) if kind.has_thumbnails else kind.batch
    while some := tuple(islice(stream, dice.randint(lowest, kind.batch))):
        yield Batch(kind, owner, some)


def _limit(batches: Iterable[Batch], limit: int) -> Iterator[Batch]:
    for batch in batches:
        if limit <= 0:
            return
        yield replace(batch, ids=batch.ids[:limit])
        limit -= len(batch.ids)
