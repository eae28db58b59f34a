"""Expected failures of files and images, by their stable codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from worker.core.errors import MediaError, PermanentError, TransientError

_RETRIED = {"source_missing", "source_forbidden", "source_unavailable", "source_timeout"}


@contextmanager
def fails_with(code: str, match: str = ".") -> Iterator[pytest.ExceptionInfo[MediaError]]:
    """Check that the block fails with this code, and for good unless the code is retried."""
    kind = TransientError if code in _RETRIED else PermanentError
    with pytest.raises(kind, match=match) as caught:
        yield caught
    assert caught.value.code == code
