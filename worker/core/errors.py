"""The errors of publishing, one class for each thing that can be done about them.

Every client (MongoDB, Redis, PDS, sources, Pillow) translates the errors of its library into
these at its own edge; nothing above the clients catches a foreign exception.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self


class MediaError(Exception):
    """An expected failure of one step of publishing an item.

    `step` says where (`document`, `account`, `session`, `source`, `thumbnail`, `upload`,
    `validate`, `write`, `remove`); `code` is a stable snake_case name to group by; the message
    says what is wrong and what to do. None of the three ever holds a secret.
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
    """The run took longer than a task or batch may take."""

    step, code = "run", "time_limit"


class UnexpectedError(TransientError):
    """An error that no code expects: a bug.

    Nothing is known of its text, which may hold a secret, so only the name of its class is kept.
    """

    step = "run"

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Return what is saved on the document for an unexpected error."""
        name = type(error).__name__
        return cls(f"unexpected {name}: a bug; see the log and Sentry", code=name)


class WaitError(MediaError):
    """The other side asked us to wait: send nothing before `until`, use up no attempt."""

    def __init__(self, message: str, *, until: datetime, step: str = "", code: str = "") -> None:
        super().__init__(message, step=step, code=code)
        self.until = until


class AccountError(WaitError):
    """The account cannot be used as it is: its items wait until someone puts it right."""


class RateLimitReachedError(WaitError):
    """Our own count of what the PDS allows is used up: nothing was sent."""

    code = "budget_spent"


class PermanentError(MediaError):
    """Trying again cannot help: a person must look."""


class MediaTypeError(PermanentError):
    """A media type of an installed package cannot be used: the message names both, and why."""

    step, code = "document", "media_type_invalid"


class ItemFailed(Exception):  # noqa: N818 - reads as what happened, in the log and in Flower
    """How a task ends whose items were given up: the text names them and the reasons.

    What each of them failed with is on its document and has been told (`worker.telemetry.alerts`).
    """
