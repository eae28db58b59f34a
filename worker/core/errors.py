"""The errors of publishing, one class for each way of handling them.

Each client (MongoDB, Redis, PDS, files, Pillow) translates the errors of its library into these;
nothing above the clients catches an error of a library.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self


class MediaError(Exception):
    """An expected failure of one step of publishing an item.

    `step` is `document`, `account`, `session`, `source`, `thumbnail`, `upload`, `validate`,
    `write`, `remove` or `run`; `code` is a stable snake_case name to group by; the message
    describes the problem and what to do. None of the three contains a secret.
    """

    step: str = ""
    code: str = ""

    def __init__(self, message: str, *, step: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.step = step or self.step
        self.code = code or self.code


class TransientError(MediaError):
    """The same call may succeed later: retry with backoff."""


class TimeLimitError(TransientError):
    """The run exceeded the time limit of its task or batch."""

    step, code = "run", "time_limit"


class UnexpectedError(TransientError):
    """A bug, kept by its class only, because the text may contain a secret."""

    step = "run"

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return the error to save on the document for an unexpected one."""
        name = type(error).__name__
        return cls(f"unexpected {name}: a bug; see the log and Sentry", code=name)


class WaitError(MediaError):
    """The PDS asked for a wait: send nothing before `until`, and count no attempt."""

    def __init__(self, message: str, *, until: datetime, step: str = "", code: str = "") -> None:
        super().__init__(message, step=step, code=code)
        self.until = until


class AccountError(WaitError):
    """The account cannot be used: its items wait until an operator corrects it."""


class RateLimitReachedError(WaitError):
    """The limit was reached by our own count: nothing was sent."""

    code = "budget_spent"


class PermanentError(MediaError):
    """A retry cannot help: an operator must act."""


class MediaTypeError(PermanentError):
    """A media type of an installed package, named in the message, is invalid."""

    step, code = "document", "media_type_invalid"


class ItemFailed(Exception):  # noqa: N818 - a state rather than an error in the log and in Flower
    """Ends a task whose items failed; the text names the items and the reasons.

    The errors are saved on the documents and reported already (`worker.telemetry.alerts`).
    """
