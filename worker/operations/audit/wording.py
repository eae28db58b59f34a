"""What is said of findings: why a record cannot be built, what differs, what a state claims."""

from __future__ import annotations

from worker.core.documents import MediaDocument, Status, SyncState
from worker.core.errors import PermanentError
from worker.media import MediaType
from worker.operations.comparison import compare
from worker.operations.expected import Expectations
from worker.pds.snapshot import StoredRecord
from worker.sync.plan import Publish

_MOST_NAMED = 3
_MOST_CHARACTERS = 80
_NOT_WANTED = {
    "guests_not_published": "guests' items of this type are not published",
    "no_account": "its owner has no account",
}


def why_unwanted(reason: str) -> str:
    """Say why there should be no record of a document."""
    return _NOT_WANTED.get(reason, f"its document is {reason}")


def claim(state: SyncState) -> str:
    """Say what a state claims."""
    match state.status:
        case None:
            return "never published" if state.rkey is None else "the state has an rkey alone"
        case Status.PENDING:
            return "the state says pending, and nothing will try it"
        case status:
            reason = f" ({state.reason})" if state.reason else ""
            return f"the state says {status}{reason}"


def difference(
    expectations: Expectations,
    kind: MediaType,
    document: MediaDocument,
    decision: Publish,
    found: StoredRecord | None,
) -> str:
    """Say why a document's record is not, or not as it should be, in the repo."""
    try:
        draft = expectations.draft(kind, document, decision.account)
        wanted = expectations.valid_record(document, draft)
    except PermanentError as error:
        return f"it cannot be published: {error.message}"
    if found is None:
        moved = f"; it is to move from {decision.moved_from}" if decision.moved_from else ""
        return claim(document.state) + moved
    named = [
        f"{each.field} is {_shortened(each.found)}, not {_shortened(each.wanted)}"
        for each in compare(wanted, found.value)
    ]
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return "; ".join(named[:_MOST_NAMED]) + more


def _shortened(text: str | None) -> str:
    if text is None:
        return "absent"
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
