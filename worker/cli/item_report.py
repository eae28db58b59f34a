"""Print an inspection as tables, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from worker.cli.output import Column, Style, Table, echo, print_json, print_table
from worker.core.clock import now
from worker.core.documents import BlobState, Status
from worker.core.text import MAX_SHOWN, truncate
from worker.database.state import dump_state
from worker.operations.status.inspection import BlobCheck, Inspection, PublishedState
from worker.operations.text import STATE_LABELS, as_utc, format_duration, format_value
from worker.operations.unavailable import explain

_DIFFERENCES = ("field", Column("expected", wraps=True), Column("actual", wraps=True))
_FILES = (
    "field",
    Column("check", wraps=True),
    Column("type", priority=2),
    Column("bytes", priority=3),
    Column("CID", priority=1),
)
_UNSETTLED = {Status.FAILED, Status.PARTIAL, Status.PENDING}
_STYLES: Mapping[Status, Style] = {
    Status.SYNCED: "green",
    Status.FAILED: "red",
    Status.PARTIAL: "yellow",
    Status.PENDING: "yellow",
}


def print_inspection(inspection: Inspection) -> None:
    """Print the status and differences of an item, then its details."""
    state, published = inspection.item.document.state, inspection.published
    status = state.status or "never published"
    style = _STYLES.get(state.status, "") if state.status else ""
    echo(f"{inspection.item.document.ref}: {status}", style or "bold")
    if state.error:
        echo(f"{state.error.step}: {state.error.message}", style)
    if published:
        if published.fault and not (state.error and state.error.message == published.fault):
            echo(f"The record cannot be built: {published.fault}", "red")
        _print_differences(published)
    print_table(Table(_state_rows(inspection), title="State"))
    if published:
        print_table(Table(_record_rows(published), title="Record on the PDS"))
    print_table(Table(_document_rows(inspection), title="Document in MongoDB"))
    _print_verdict(inspection)


def _print_differences(published: PublishedState) -> None:
    rows = [
        (difference.field or "(record)", _side(difference.wanted), _side(difference.found))
        for difference in published.differences
    ]
    print_table(Table(rows, header=_DIFFERENCES, title="Differences"))
    files = [_blob_row(check) for check in published.blobs]
    print_table(Table(files, header=_FILES, title="Files"))


def print_inspection_json(inspection: Inspection) -> None:
    """Print an inspection as one JSON object; times are RFC 3339, ids are strings."""
    item, published = inspection.item, inspection.published
    account = item.account
    whole = {
        "item": {"type": item.document.ref.type, "id": item.document.ref.id},
        "document": item.content,
        "account": account
        and {"subject": account.subject, "did": account.did, "handle": account.handle},
        "state": _without_none(dump_state(item.document.state)),
        "plan": item.plan,
        "error": inspection.error
        and {"code": inspection.error.code, "message": explain(inspection.error)},
        **_published_as_json(published),
    }
    print_json(whole, indent=2)


def _published_as_json(published: PublishedState | None) -> dict[str, object]:
    """Return what is on the PDS; all values are null if that is unknown."""
    if published is None:
        return dict.fromkeys(("fault", "record", "differences", "blobs", "equal"))
    found = published.found
    return {
        "fault": published.fault,
        "record": found and {"uri": found.uri, "cid": found.cid, "value": found.value},
        "differences": [
            {
                "field": each.field,
                "wanted": _parse_json(each.wanted),
                "found": _parse_json(each.found),
            }
            for each in published.differences
        ],
        "blobs": [
            {"field": each.field, "cid": each.blob.cid, "fault": each.fault}
            for each in published.blobs
        ],
        "equal": published.faults == 0,
    }


def _document_rows(inspection: Inspection) -> list[tuple[str, str]]:
    account = inspection.item.account
    rows = [(str(name), _cell(value)) for name, value in inspection.item.content.items()]
    owner = f"{account.handle} ({account.did})" if account else "none"
    return [*rows, ("account", owner)]


def _state_rows(inspection: Inspection) -> list[tuple[str, str]]:
    state = inspection.item.document.state
    kept = _without_none({**dump_state(state), "did": None, "blobs": None, "error": None})
    rows = [(STATE_LABELS.get(name, name), _cell(value)) for name, value in kept.items()]
    if state.error:
        kind = "permanent" if state.error.permanent else "temporary"
        rows.append(("error", f"{state.error.code}, {kind}, {_ago(state.error.at)}"))
    if state.lease:
        rows.append(("lease", f"{state.lease.holder}, until {_ago(state.lease.until)}"))
    return [*rows, ("planned", inspection.item.plan)]


def _record_rows(published: PublishedState) -> list[tuple[str, str]]:
    found = published.found
    if found is None:
        return [("none", "")]
    rows = [(name, _cell(value)) for name, value in found.value.items()]
    return [("URI", found.uri), ("CID", found.cid), *rows]


def _blob_row(check: BlobCheck) -> tuple[str, ...]:
    return check.field, check.fault or "ok", *_describe(check.blob)


def _describe(blob: BlobState) -> tuple[str, str, str]:
    return (blob.mime_type, str(blob.size), blob.cid) if blob.cid else ("", "", "")


def _print_verdict(inspection: Inspection) -> None:
    if inspection.published is None:
        if inspection.error:
            echo(f"The record cannot be read: {explain(inspection.error)}", "red")
    elif count := inspection.published.faults:
        echo(f"{count} difference{'s' if count > 1 else ''} found.", "red")
    elif (status := inspection.item.document.state.status) in _UNSETTLED:
        echo(f"No differences found, but the item is {status}.", "yellow")
    elif inspection.item.document.state.error:
        echo("No differences found, but the last run ended with an error.", "yellow")
    else:
        echo("No differences found.", "green")
    if advice := inspection.item.reset_advice:
        echo(advice)


def _side(text: str | None) -> str:
    return "absent" if text is None else truncate(text, MAX_SHOWN)


def _cell(value: object) -> str:
    return _ago(value) if isinstance(value, datetime) else format_value(value)


def _ago(moment: datetime) -> str:
    """Format a time in UTC, and its distance from now."""
    seconds = (now() - as_utc(moment)).total_seconds()
    far = f"{format_duration(abs(seconds))} {'ago' if seconds >= 0 else 'from now'}"
    return f"{as_utc(moment):%Y-%m-%d %H:%M:%S} UTC ({far})"


def _without_none(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _parse_json(text: str | None) -> object:
    return None if text is None else json.loads(text)
