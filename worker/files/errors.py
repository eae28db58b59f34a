"""The errors of stores that callers handle by type.

All other failures of a store are plain errors of the step `source` with their own code. No
message contains a query string or a credential, because a store URL has neither.
"""

from __future__ import annotations

from worker.core.errors import PermanentError, TransientError


class SourceMissingError(TransientError):
    """The store has no such file; its upload may not be complete yet."""

    step, code = "source", "source_missing"


class SourceTooLargeError(PermanentError):
    """The file is larger than the caller can use."""

    step, code = "source", "source_too_large"
