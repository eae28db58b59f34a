"""Print how many pending items have an error code: `failures` and `retry` leave them out."""

from __future__ import annotations

from collections.abc import Sequence

from worker.cli.output import echo
from worker.core.documents import Status
from worker.media import MediaType
from worker.operations.error_help import ACCOUNT_CODES
from worker.operations.status import Counts, ItemCounts
from worker.services.storage import Storage


def print_pending(storage: Storage, kinds: Sequence[MediaType], codes: Sequence[str]) -> None:
    """Print the number of pending items with each of the codes, and where to look."""
    if not codes:
        return
    counts = ItemCounts(storage.database, storage.store)
    errors = Counts.sum(counts.errors(kind) for kind in kinds).errors
    for code in dict.fromkeys(codes):
        if number := errors[code, Status.PENDING]:
            verb = "item is" if number == 1 else "items are"
            where = ": see media-atproto accounts" if code in ACCOUNT_CODES else ""
            echo(f"{number} {verb} pending with {code}, and retried automatically{where}", "yellow")
