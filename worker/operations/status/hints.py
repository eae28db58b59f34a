"""The indexes that queries insist on, so that none goes through a collection for want of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import OperationFailure

from worker.core.documents import Status
from worker.core.errors import PermanentError
from worker.database.mongo import StoreUnavailableError, translated

FAILED = (Status.FAILED, Status.PARTIAL)
NO_CODE = "(none)"  # stands for what older programs left without a code that can be read


class IndexMissingError(PermanentError):
    """An index is not there, and without it a query would go through a whole collection."""

    step, code = "store", "index_missing"


@contextmanager
def indexed() -> Iterator[None]:
    """Turn the driver's errors into ours; IndexMissingError for a hint that leads nowhere."""
    try:
        with translated():
            yield
    except StoreUnavailableError as error:
        cause = error.__cause__
        if isinstance(cause, OperationFailure) and "hint provided does not" in str(cause):
            message = "an index is missing in MongoDB: run media-atproto init"
            raise IndexMissingError(message) from error
        raise


def with_code(code: str) -> dict[str, object]:
    """Match documents whose error has this code, or NO_CODE."""
    return {"atproto.error.code": code if code != NO_CODE else {"$not": {"$type": "string"}}}
