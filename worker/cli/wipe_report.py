"""Print what a wipe would remove, and what it has removed, as tables or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.cli.output import Column, ExitCode, Table, echo, print_json, print_table
from worker.core.documents import Account
from worker.core.errors import MediaError

if TYPE_CHECKING:
    from worker.operations.erase.report import WipePreview, WipeResult


@dataclass(slots=True)
class Erasure:
    """What a command would remove of a subject; once it has run, what it has removed.

    `others` and `others_deleted` count data that belongs to no type, such as thumbnails. `remark`
    is the reason why records cannot be removed, or "".
    """

    subject: str
    account: Account | None
    preview: Mapping[str, WipePreview]
    others: Mapping[str, int] = field(default_factory=dict)
    remark: str = ""
    done: Mapping[str, WipeResult] | None = None
    others_deleted: Mapping[str, int] = field(default_factory=dict)
    trouble: MediaError | None = None

    @property
    def records(self) -> int:
        return sum(each.records for each in self.preview.values())

    @property
    def exists(self) -> bool:
        """Return whether there is anything to remove."""
        states = sum(each.states for each in self.preview.values())
        return bool(self.records or states or any(self.others.values()))

    @property
    def code(self) -> ExitCode:
        """Return the exit code: FOUND if data remains."""
        skipped = any(each.skipped for each in (self.done or {}).values())
        return ExitCode.FOUND if skipped or self.trouble else ExitCode.OK


def print_preview(erasure: Erasure) -> None:
    """Print whose data would be removed, and how much."""
    account = erasure.account
    name = f"{account.handle}, {account.did}" if account else "no account"
    echo(f"{erasure.subject}: {name}")
    if erasure.remark:
        echo(erasure.remark, "yellow")
    rows = [(name, str(each.records), str(each.states)) for name, each in erasure.preview.items()]
    print_table(Table(rows, header=("type", "records", Column("states to clear", priority=1))))
    if erasure.others:
        counts = (f"{name.replace('_', ' ')}: {n}" for name, n in erasure.others.items())
        echo("; ".join(counts))


def print_result(erasure: Erasure) -> None:
    """Print what was removed, and what remains, with the reasons."""
    done = erasure.done or {}
    rows = [(name, str(each.removed), str(each.reset)) for name, each in done.items()]
    header = ("type", "records removed", Column("states cleared", priority=1))
    print_table(Table(rows, header=header))
    for name, number in erasure.others_deleted.items():
        echo(f"{name} deleted: {number}")
    for name, each in done.items():
        for why, number in each.reasons.items():
            echo(f"remaining: {number} of type {name}: {why}", "yellow")
    if erasure.trouble:
        echo(f"Not completed: {erasure.trouble.message}", "red", err=True)
    if erasure.code:
        echo("To remove the rest, run the same command again.", err=True)


def print_erasure_json(erasure: Erasure, *, dry_run: bool) -> None:
    """Print the preview and the result as one JSON object; `result` is null if nothing ran."""
    account, trouble = erasure.account, erasure.trouble
    whole = {
        "subject": erasure.subject,
        "did": account.did if account else None,
        "handle": account.handle if account else None,
        "dry_run": dry_run,
        "remark": erasure.remark or None,
        "preview": {**_previews(erasure.preview), **erasure.others},
        "result": _results(erasure),
        "error": {"code": trouble.code, "message": trouble.message} if trouble else None,
    }
    print_json(whole)


def _previews(preview: Mapping[str, WipePreview]) -> dict[str, object]:
    types = {
        name: {"records": each.records, "states": each.states} for name, each in preview.items()
    }
    return {"types": types}


def _results(erasure: Erasure) -> dict[str, object] | None:
    if erasure.done is None:
        return None
    types = {
        name: {"removed": each.removed, "cleared": each.reset, "remaining": each.reasons}
        for name, each in erasure.done.items()
    }
    return {"types": types, **erasure.others_deleted}
