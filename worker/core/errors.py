"""The exceptions of publishing, one class for each kind of handling.

The code that calls a library (MongoDB, Redis, PDS, files, Pillow) translates the library's
exceptions into these. No other code catches exceptions of these libraries.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self

from worker.core.text import printable, truncate

_MAX_MESSAGE = 1000  # characters


class MediaError(Exception):
    """An expected failure of one step of publishing an item.

    `step` is `document`, `account`, `session`, `source`, `thumbnail`, `upload`, `validate`,
    `write`, `remove` or `run`. `code` is a stable name for grouping errors. The message describes
    the problem and what to do. None of them contains a secret. The message may quote foreign text:
    it is truncated, and made printable.
    """

    step: str = ""
    code: str = ""

    def __init__(self, message: str, *, step: str = "", code: str = "") -> None:
        self.message = self._clean(message)
        super().__init__(self.message)
        self.step = step or self.step
        self.code = code or self.code

    def _clean(self, message: str) -> str:
        return printable(truncate(message, _MAX_MESSAGE))


class TransientError(MediaError):
    """A failure that may be temporary: the item is retried with backoff."""


class TimeLimitError(TransientError):
    """The run exceeded the time limit of its task or batch."""

    step, code = "run", "time_limit"

    @classmethod
    def of(cls, what: str) -> Self:
        """Build the error of a run, a removal or a batch."""
        return cls(f"the {what} took longer than a task may")


class UnexpectedError(TransientError):
    """An unexpected exception: only its class is kept, as its text may hold secrets."""

    step = "run"

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Build the error to save on the document for an unexpected exception."""
        name = type(error).__name__
        return cls(f"unexpected {name}: a bug; see the log and Sentry", code=name)


class WaitError(MediaError):
    """No call may be made before `until`; the failure does not count as an attempt."""

    def __init__(self, message: str, *, until: datetime, step: str = "", code: str = "") -> None:
        super().__init__(message, step=step, code=code)
        self.until = until


class AccountError(WaitError):
    """The account cannot be used: an operator must correct it."""


class RateLimitReachedError(WaitError):
    """The worker's own rate limiter rejected the call; nothing was sent."""

    code = "budget_spent"


class LockHeldError(WaitError):
    """Another worker holds a lock that the call needs; nothing was sent."""


class PermanentError(MediaError):
    """A failure that a retry cannot fix: an operator must act."""


class UnexpectedThumbnailError(PermanentError):
    """An unexpected exception of an image decoder, reported when it is raised.

    It is the cause of this error. Only its class is kept, as its text may hold secrets.
    """

    step, code = "thumbnail", "thumbnail_unexpected"

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Build the error to save on the document."""
        return cls(f"the image decoder raised {type(error).__name__}: a bug; see Sentry")


class UnexpectedSourceError(TransientError):
    """An unexpected exception while a file was read, reported when it is raised.

    It is the cause of this error. Only its class is kept, as its text may hold secrets.
    """

    step, code = "source", "source_unexpected"

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Build the error to save on the document."""
        return cls(f"reading the file raised {type(error).__name__}: a bug; see Sentry")


class MediaTypeError(PermanentError):
    """A media type of an installed package, named in the message, is invalid."""

    step, code = "document", "media_type_invalid"


class ItemFailed(Exception):  # noqa: N818 - a state rather than an error in the log and in Flower
    """Marks a Celery task as failed; the message lists the failed items and reasons.

    The errors are already saved on the documents and reported (`worker.telemetry.alerts`).
    """
