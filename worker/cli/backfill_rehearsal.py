"""Print what a backfill would do, for `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from worker.cli.output import ExitCode, Table, echo, print_table

if TYPE_CHECKING:
    from worker.media import MediaType
    from worker.operations.backfill.planner import Scope
    from worker.operations.backfill.rehearsal import Rehearsal
    from worker.services import Services


def rehearse(services: Services, scope: Scope) -> ExitCode:
    """Rehearse a backfill and print the result; FOUND if an item would fail."""
    from worker.operations.backfill import rehearsal

    done = rehearsal.rehearse(services, scope)
    _print_effects(done, scope.kinds)
    changes = [(name, field, str(n)) for (name, field), n in sorted(done.fields.items())]
    title = "Fields that would change"
    print_table(Table(changes, header=("type", "field", "records"), title=title))
    faults = [(name, code, str(n)) for (name, code), n in sorted(done.rejections.items())]
    print_table(Table(faults, header=("type", "error", "items"), title="Items that would fail"))
    for subject, error in sorted(done.unreadable.items()):
        echo(f"{subject}: the repo cannot be read: {error}", "yellow")
    return ExitCode.FOUND if done.has_faults else ExitCode.OK


def _print_effects(done: Rehearsal, kinds: Sequence[MediaType]) -> None:
    from worker.operations.backfill.rehearsal import Effect

    rows = [
        (kind.name, *(str(done.effects[kind.name, effect]) for effect in Effect))
        for kind in kinds
        if any(done.effects[kind.name, effect] for effect in Effect)
    ]
    header = ("type", *(effect.value for effect in Effect))
    print_table(Table(rows, header=header, title="What would be done"))
