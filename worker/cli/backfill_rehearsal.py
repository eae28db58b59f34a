"""Print what a backfill would do, for `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from worker.cli.backfill_results import STYLES
from worker.cli.output import Column, ExitCode, Table, echo, print_json, print_table
from worker.operations.text import count_of

if TYPE_CHECKING:
    from worker.operations.backfill.planner import Scope
    from worker.operations.backfill.rehearsal_result import Rehearsal, Sample

_EFFECTS = ("new", "changed", "unchanged", "partial", "failed", "pending", "removed", "skipped")


def exit_code(done: Rehearsal, scope: Scope) -> ExitCode:
    """Return the exit code of a dry run."""
    # A restore looks for missing records in the repos; nothing else does so later.
    if done.has_faults or (scope.removed and done.unreadable):
        return ExitCode.FOUND
    is_waiting = any(effect == "pending" for _, effect in done.effects)
    return ExitCode.PENDING if is_waiting else ExitCode.OK


def print_rehearsal(done: Rehearsal) -> None:
    """Print the numbers of a dry run, its samples and its result."""
    for subject, number in sorted(done.missing.items()):
        echo(f"{subject}: the records of {number} published items are missing")
    rows = [(name, effect, str(n)) for name, effect, n in _sorted_effects(done)]
    styles = [STYLES.get(effect, "") for _, effect, _ in rows]
    header = ("type", "result", "items")
    print_table(Table(rows, header=header, title="What would be done", styles=styles))
    changes = [(name, field, str(n)) for (name, field), n in sorted(done.fields.items())]
    title = "Fields of existing records that would change"
    print_table(Table(changes, header=("type", "field", "records"), title=title))
    _print_reasons(done)
    _print_accounts(done)
    for sample in done.samples:
        _print_sample(sample)
    _print_conclusion(done)


def _sorted_effects(done: Rehearsal) -> Iterable[tuple[str, str, int]]:
    names = dict.fromkeys(name for name, _ in done.effects)
    counts = {(name, str(effect)): number for (name, effect), number in done.effects.items()}
    for name in sorted(names):
        for effect in _EFFECTS:
            if number := counts.get((name, effect)):
                yield name, effect, number


def _print_reasons(done: Rehearsal) -> None:
    """Print the reasons, with the id of one item each, those of failures first."""
    keys = sorted(done.reasons, key=lambda key: (_EFFECTS.index(key.effect), key.type, key.code))
    rows: Sequence[Sequence[str]] = [
        (
            key.type,
            str(key.effect),
            key.field,
            key.code,
            str(done.reasons[key]),
            done.examples[key][0],
        )
        for key in keys
    ]
    example = Column("example", priority=2)
    header = ("type", Column("result", priority=1), "field", "reason", "items", example)
    styles = [STYLES.get(row[1], "") for row in rows]
    print_table(Table(rows, header=header, title="Why items would not be synced", styles=styles))


def _print_accounts(done: Rehearsal) -> None:
    for subject, error in sorted(done.accounts.items()):
        echo(f"{subject}: the repo cannot be read: {error}", "yellow")
    if done.unreadable > len(done.accounts):
        echo(f"and {done.unreadable - len(done.accounts)} more accounts", "yellow")


def _print_sample(sample: Sample) -> None:
    echo("")
    echo(f"{sample.type} {sample.id}: {sample.effect}", "bold")
    if sample.uri:
        echo(sample.uri)
    for reason in sample.reasons:
        name = f"{reason.field}: " if reason.field else ""
        echo(f"{name}{reason.code} {reason.message}".rstrip())
    if sample.changes:
        echo(f"changed fields: {', '.join(sample.changes)}")
    if sample.uploads:
        echo(f"blobs to upload: {', '.join(sample.uploads)}")
    if sample.record is not None:
        print_json(sample.record, indent=2)


def _print_conclusion(done: Rehearsal) -> None:
    parts = [(done.items_of("failed"), "would fail"), (done.items_of("pending"), "would wait")]
    parts.append((done.items_of("partial"), "would be published without a file"))
    texts = [f"{number} {what}" for number, what in parts if number]
    if done.unreadable:
        texts.append(f"{count_of(done.unreadable, 'repo')} cannot be read")
    if done.has_faults:
        echo(f"Dry run, nothing was changed: {', '.join(texts)}.", "red")
    elif texts:
        echo(f"Dry run, nothing was changed: {', '.join(texts)}.", "yellow")
    else:
        echo("Dry run, nothing was changed: no item would fail.", "green")


def rehearsal_as_json(done: Rehearsal) -> Mapping[str, object]:
    """Return a dry run as the value of `dry_run` in the JSON object."""
    effects: dict[str, dict[str, int]] = {}
    for name, effect, number in _sorted_effects(done):
        effects.setdefault(name, {})[effect] = number
    reasons = [
        {
            "type": key.type,
            "result": key.effect,
            "field": key.field or None,
            "reason": key.code,
            "items": number,
            "example": {"id": done.examples[key][0], "message": done.examples[key][1]},
        }
        for key, number in sorted(done.reasons.items(), key=lambda each: each[0].code)
    ]
    return {
        "results": effects,
        "changed_fields": [
            {"type": name, "field": field, "records": number}
            for (name, field), number in sorted(done.fields.items())
        ],
        "reasons": reasons,
        "missing_records": dict(done.missing),
        "unreadable_accounts": {"number": done.unreadable, "examples": done.accounts},
        "samples": [_sample_as_json(sample) for sample in done.samples],
    }


def _sample_as_json(sample: Sample) -> Mapping[str, object]:
    reasons = [
        {"field": each.field or None, "reason": each.code, "message": each.message}
        for each in sample.reasons
    ]
    return {
        "type": sample.type,
        "id": str(sample.id),
        "result": sample.effect,
        "uri": sample.uri,
        "reasons": reasons,
        "changed_fields": sample.changes,
        "uploads": sample.uploads,
        "record": sample.record,
    }
