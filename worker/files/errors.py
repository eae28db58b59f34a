"""The exceptions of stores that callers catch by class.

Stores raise all other failures as TransientError or PermanentError with the step `source`.
Messages contain no query strings or credentials, because the URL of a store has neither.
"""

from __future__ import annotations

from worker.core.errors import PermanentError, TransientError


class SourceMissingError(TransientError):
    """The file is not in the store; its upload may not be complete yet."""

    step, code = "source", "source_missing"
    response = "missing"


class SourceForbiddenError(TransientError):
    """The store denies access; `response` is its response, as `403`.

    Without permission to list the bucket, S3 also answers 403 for a missing file.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
    """

    step, code = "source", "source_forbidden"

    def __init__(self, message: str, response: str = "403") -> None:
        super().__init__(message)
        self.response = response


class SourceTooLargeError(PermanentError):
    """The file is larger than the `max_bytes` of the caller."""

    step, code = "source", "source_too_large"
