"""`media-atproto status`: count items by state, errors, and queued messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.output import (
    UNCHANGED,
    Column,
    ExitCode,
    Table,
    echo,
    exit_with,
    on_interrupt,
    print_json,
    print_table,
)
from worker.core.clock import now, rfc3339
from worker.core.documents import Status
from worker.core.redis_errors import RedisUnavailableError
from worker.media import MEDIA_TYPES
from worker.operations.error_help import help_for
from worker.operations.text import format_duration
from worker.operations.unavailable import explain

if TYPE_CHECKING:
    from worker.core.secrets import Secret
    from worker.operations.status import Counts, QueueLengths, RemovalCounts

_ALL = "all"
_WITH_ERRORS = (Status.FAILED, Status.PARTIAL, Status.PENDING)
_REASONS = "Errors by reason; pending items are retried automatically"
_REASONS_HEADER: Sequence[str | Column] = (
    "code",
    *map(str, _WITH_ERRORS),
    Column("what to do", wraps=True),
)


@dataclass(frozen=True, slots=True)
class _StatusReport:
    """Counts by type and in total, and queue lengths, or `fault` if Redis is down."""

    types: Mapping[str, Counts]
    every: Counts
    removals: RemovalCounts
    queues: QueueLengths | None
    fault: str
    at: datetime


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")
@click.pass_obj
def status(env_file: Path | None, *, as_json: bool) -> None:
    """Count items by type and state, errors, and queued messages.

    \b
    never published  no status yet: never processed (see backfill)
    pending          retried automatically; the age of the oldest is the time since its first error
    synced           published and up to date
    partial          published, but a file is missing or old (see failures)
    failed           not retried automatically (see failures)
    skipped          not published, for a reason
    removed          the record was removed, for a reason

    Then the reasons, the numbers of messages in each queue and in flight, and the number of
    records of deleted documents that remain to be removed. Everything is counted from indexes,
    which takes a second or two per million documents.

    \b
    Exit codes:
      0  everything was counted
      2  error: wrong usage, or a service does not respond; without Redis, only the queues are
         missing
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    with on_interrupt(UNCHANGED):
        snapshot = _fetch(env_file)
    (_print_json if as_json else _print_page)(snapshot)
    exit_with(ExitCode.ERROR if snapshot.fault else ExitCode.OK)


def _fetch(env_file: Path | None) -> _StatusReport:
    from worker.operations.status import Counts, ItemCounts

    with closing(open_services(env_file)) as services:
        overview = ItemCounts(services.storage.database, services.storage.store)
        types = {name: overview.counts(kind) for name, kind in MEDIA_TYPES.items()}
        removals = overview.removals()
        queues, fault = _fetch_queues(services.settings.redis_url)
    return _StatusReport(
        types=types,
        every=Counts.sum(types.values()),
        removals=removals,
        queues=queues,
        fault=fault,
        at=now(),
    )


def _fetch_queues(url: Secret) -> tuple[QueueLengths | None, str]:
    """Return the queue lengths, or None and the error."""
    from worker.operations.status import Queues

    with closing(Queues(url)) as queues:
        try:
            return queues.lengths(), ""
        except RedisUnavailableError as error:
            return None, explain(error)


def _print_page(snapshot: _StatusReport) -> None:
    columns = {**snapshot.types, _ALL: snapshot.every}
    names = ("never published", *map(str, Status), "total", "oldest pending")
    cells = [_count_cells(counts, snapshot.at) for counts in columns.values()]
    header = [Column(""), *(Column(name, wraps=True) for name in columns)]
    print_table(Table(list(zip(names, *cells, strict=True)), header=header))
    print_table(Table(_reason_rows(snapshot.every), header=_REASONS_HEADER, title=_REASONS))
    for status, counts in (
        ("skipped", snapshot.every.skipped),
        ("removed", snapshot.every.removed),
    ):
        ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        by_reason = [(reason, str(number)) for reason, number in ranked]
        title = f"{status.capitalize()} by reason"
        print_table(Table(by_reason, header=("reason", status), title=title))
    removals = snapshot.removals
    if removals.pending or removals.failed:
        kept = [("pending", str(removals.pending)), ("failed", str(removals.failed))]
        print_table(Table(kept, title="Removals of records whose documents are gone"))
    if snapshot.queues:
        queues = asdict(snapshot.queues).items()
        lengths = [(name.replace("_", " "), str(number)) for name, number in queues]
        print_table(Table(lengths, title="Messages in the queues and in flight"))
    else:
        echo(f"The queue lengths are unknown: {snapshot.fault}", "red")


def _count_cells(counts: Counts, at: datetime) -> tuple[str, ...]:
    statuses = (counts.statuses[status] for status in Status)
    oldest = format_duration((at - counts.oldest).total_seconds()) if counts.oldest else ""
    return (*map(str, (counts.never, *statuses, counts.total)), oldest)


def _reason_rows(counts: Counts) -> list[tuple[str, ...]]:
    from worker.operations.status import NO_CODE

    return [
        (
            code,
            *(str(counts.errors[code, status]) for status in _WITH_ERRORS),
            "" if code == NO_CODE else help_for(code).action,
        )
        for code in counts.codes
    ]


def _print_json(snapshot: _StatusReport) -> None:
    whole = {
        "at": rfc3339(snapshot.at),
        "types": {name: _as_json(counts, snapshot.at) for name, counts in snapshot.types.items()},
        "all": _as_json(snapshot.every, snapshot.at),
        "removals": asdict(snapshot.removals),
        "queues": asdict(snapshot.queues) if snapshot.queues else None,
        "fault": snapshot.fault or None,
    }
    print_json(whole, indent=2)


def _as_json(counts: Counts, at: datetime) -> dict[str, object]:
    oldest = counts.oldest
    age = int((at - oldest).total_seconds()) if oldest else None
    return {
        "total": counts.total,
        "never_published": counts.never,
        **{str(status): counts.statuses[status] for status in Status},
        "oldest_pending": {"since": rfc3339(oldest), "seconds": age} if oldest else None,
        "reasons": {
            code: {str(s): counts.errors[code, s] for s in _WITH_ERRORS} for code in counts.codes
        },
        "skipped_reasons": dict(counts.skipped),
        "removed_reasons": dict(counts.removed),
    }
