"""Items whose runs ended otherwise than well."""

from __future__ import annotations

from tests.contract.items import save, settle
from worker.core.clock import after, now
from worker.core.documents import Failure, ItemRef, Status
from worker.services import Services


def fail(
    here: Services,
    ref: ItemRef | None = None,
    *,
    code: str = "field_invalid",
    status: Status = Status.FAILED,
    **changes: object,
) -> ItemRef:
    """Have a run of an item, or of a new mood, end with an error; return what it is."""
    ref = ref or save(here)
    error = Failure("document", code, "a message", permanent=True, at=now())
    settle(here, ref, status=status, error=error, **changes)
    return ref


def pend(here: Services, ref: ItemRef, **changes: object) -> ItemRef:
    """Have a run of an item end without an outcome."""
    settle(here, ref, status=Status.PENDING, retry_at=after(60), **changes)
    return ref
