"""Print an inspection as tables, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from worker.cli.output import Table, echo, print_json, print_table
from worker.core.clock import now
from worker.core.documents import BlobState
from worker.core.text import MAX_SHOWN, truncate
from worker.database.state import dump_state
from worker.operations.status.inspection import BlobCheck, Inspection
from worker.operations.text import as_utc, format_duration, format_value

_LABELS = {
    "attemptedAt": "attempted",
    "syncedAt": "synced",
    "retryAt": "next try",
    "mimeType": "type",
}


def print_page(inspection: Inspection) -> None:
    """Print an inspection as tables, and the differences."""
    echo(str(inspection.item.document.ref), "bold")
    print_table(Table(_document_rows(inspection), title="Document"))
    print_table(Table(_state_rows(inspection), title="State"))
    print_table(Table(_record_rows(inspection), title="Record on the PDS"))
    print_table(Table([_blob_row(check) for check in inspection.published.blobs], title="Blobs"))
    if inspection.published.fault:
        echo(f"The record cannot be built: {inspection.published.fault}", "red")
    rows = [
        (difference.field or "(record)", _side(difference.wanted), _side(difference.found))
        for difference in inspection.published.differences
    ]
    print_table(Table(rows, header=("differs", "should be", "is"), title="Differences"))
    _print_verdict(inspection)


def print_inspection_json(inspection: Inspection) -> None:
    """Print an inspection as one JSON object; times are RFC 3339, ids are strings."""
    found, account = inspection.published.found, inspection.item.account
    whole = {
        "item": {"type": inspection.item.document.ref.type, "id": inspection.item.document.ref.id},
        "document": inspection.item.content,
        "account": account
        and {"subject": account.subject, "did": account.did, "handle": account.handle},
        "state": _without_none(dump_state(inspection.item.document.state)),
        "plan": inspection.item.plan,
        "fault": inspection.published.fault,
        "record": found and {"uri": found.uri, "cid": found.cid, "value": found.value},
        "differences": [
            {
                "field": each.field,
                "wanted": _parse_json(each.wanted),
                "found": _parse_json(each.found),
            }
            for each in inspection.published.differences
        ],
        "blobs": [
            {"field": each.field, "cid": each.blob.cid, "fault": each.fault}
            for each in inspection.published.blobs
        ],
        "equal": inspection.published.faults == 0,
    }
    print_json(whole, indent=2)


def _document_rows(inspection: Inspection) -> list[tuple[str, str]]:
    account = inspection.item.account
    rows = [(str(name), _cell(value)) for name, value in inspection.item.content.items()]
    owner = f"{account.handle} ({account.did})" if account else "none"
    return [*rows, ("account", owner)]


def _state_rows(inspection: Inspection) -> list[tuple[str, str]]:
    state = inspection.item.document.state
    kept = {**dump_state(state), "did": None, "blobs": None, "error": None}
    rows = [(_LABELS.get(name, name), _cell(value)) for name, value in _without_none(kept).items()]
    if state.error:
        kind = "permanent" if state.error.permanent else "temporary"
        rows.append(("error", f"{state.error.step}: {state.error.message}"))
        rows.append(("", f"{state.error.code}, {kind}, {_ago(state.error.at)}"))
    if state.lease:
        rows.append(("lease", f"{state.lease.holder}, until {_ago(state.lease.until)}"))
    return [*rows, ("plan", inspection.item.plan)]


def _record_rows(inspection: Inspection) -> list[tuple[str, str]]:
    found = inspection.published.found
    if found is None:
        return [("none", "")]
    rows = [(name, _cell(value)) for name, value in found.value.items()]
    return [("uri", found.uri), ("cid", found.cid), *rows]


def _blob_row(check: BlobCheck) -> tuple[str, ...]:
    return check.field, check.fault or "ok", _describe(check.blob)


def _describe(blob: BlobState) -> str:
    return f"{blob.mime_type}, {blob.size} bytes, {blob.cid}" if blob.cid else ""


def _print_verdict(inspection: Inspection) -> None:
    count = inspection.published.faults
    if count == 0:
        echo("No faults found.", "green")
    else:
        echo(f"{count} fault{'s' if count > 1 else ''} found.", "red")


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
