"""Print what a backfill covers, and what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.cli.output import Column, Table, echo, print_table
from worker.operations.text import count_of

if TYPE_CHECKING:
    from worker.operations.backfill.planner import BackfillPreview, Scope

_HIDDEN = "hidden: published when shown again"
_ADVICE = {
    "failed": "include them: `backfill --failed` or `retry`",
    "forgotten": "the account was forgotten: not published again",
    "guests_not_published": "guests' items of this type are not published",
    "no_account": "give the owner an account, then run `backfill` again",
    "removed": "publish them again: `restore USER`",
    "skipped": "published when the document is complete",
}
_MISSING = {
    "user": "not in `users`",
    "did": "without a DID (`atproto.did`)",
    "password": "without a password (`atproto.password`)",
}


def print_preview(preview: BackfillPreview, scope: Scope) -> None:
    """Print the number of items by type, and the items left out by reason."""
    limit = f", {scope.limit} of them now" if scope.limit else ""
    items, accounts = count_of(preview.total, "item"), count_of(len(preview.owners), "account")
    echo(f"{items} of {accounts} to publish{limit}")
    rows = [(name, str(number)) for name, number in sorted(preview.wanted.items())]
    print_table(Table(rows, header=("type", "items")))
    left_out = [
        (name, reason, str(number), _ADVICE.get(reason, _HIDDEN))
        for (name, reason), number in sorted(preview.left_out.items())
    ]
    header = ("type", "reason", "items", Column("what to do", priority=1, wraps=True))
    print_table(Table(left_out, header=header, title="Left out"))
    for part, number in preview.without_account.items():
        echo(f"owners without an account: {number} {_MISSING[part]}", "yellow")


def preview_as_json(preview: BackfillPreview, scope: Scope) -> Mapping[str, object]:
    """Return the preview as the first keys of the JSON object."""
    left_out = sorted(preview.left_out.items())
    return {
        "items": dict(preview.wanted),
        "accounts": len(preview.owners),
        "limit": scope.limit,
        "left_out": [
            {"type": name, "reason": reason, "items": number} for (name, reason), number in left_out
        ],
        "owners_without_account": dict(preview.without_account),
    }
