"""What a PDS's answers mean: HTTP status and error name to the errors of this project.

Classified by status and name, never by the SDK's exception classes, which group them otherwise.
Source: https://atproto.com/specs/xrpc#error-responses
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from atproto.exceptions import AtProtocolError
from atproto_client.exceptions import RequestErrorBase
from atproto_client.models.common import XrpcError

from worker.clock import after
from worker.errors import MediaError, PermanentError, TransientError, WaitError

_DEFAULT_WAIT = 60.0
_LONGEST_WAIT = 86_400.0


class SessionExpiredError(TransientError):
    """The token is expired, revoked or malformed: refresh, then log in."""

    step = "session"
    code = "session_expired"


class AccountFaultError(MediaError):
    """The account itself cannot be used: wrong password, takedown, deactivated, no such one."""

    step = "account"


class BlobNotFoundError(TransientError):
    """The record refers to a blob that the PDS does not have: upload it, write again."""

    step = "write"
    code = "blob_not_found"


class SwapError(TransientError):
    """The record is not at the version we believed: read it and decide again."""

    step = "write"
    code = "invalid_swap"


_ACCOUNT_FAULTS: Mapping[str, tuple[str, str]] = {
    "AuthenticationRequired": ("wrong_password", "the stored password is refused"),
    "AccountTakedown": ("account_takedown", "the account was taken down by its PDS"),
    "AccountDeactivated": ("account_deactivated", "the account is deactivated"),
    "AccountSuspended": ("account_suspended", "the account is suspended"),
    "AccountNotFound": ("account_not_found", "the PDS has no such account"),
    "RepoNotFound": ("account_not_found", "the PDS has no such account"),
    "RepoTakendown": ("account_takedown", "the account was taken down by its PDS"),
    "RepoDeactivated": ("account_deactivated", "the account is deactivated"),
    "RepoSuspended": ("account_suspended", "the account is suspended"),
    "AuthFactorTokenRequired": ("second_factor", "the account asks for a second factor"),
    "InvalidCredentials": ("wrong_password", "the stored password is refused"),
}
_SESSION_NAMES = frozenset({"ExpiredToken", "InvalidToken", "AuthMissing"})


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    name: str
    message: str
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        said = f"{self.name}: {self.message}" if self.name else self.message
        return f"the PDS answered {self.status} {said}".strip()[:500]


def translate(error: Exception, step: str) -> MediaError:
    """Return our error for one of the SDK's, raised in a call made for `step`."""
    response = error.response if isinstance(error, RequestErrorBase) else None
    if response is None:
        return _without_answer(error, step)
    content = response.content
    named = isinstance(content, XrpcError)
    answer = _Answer(
        status=response.status_code,
        name=str(content.error) if named else "",
        message=str(content.message or "") if named else "",
        headers=response.headers,
    )
    return _classify(answer, step)


def error_name(error: BaseException | None) -> str:
    """Return the name in an XRPC error answer, or an empty text."""
    response = error.response if isinstance(error, RequestErrorBase) else None
    if response is not None and isinstance(response.content, XrpcError):
        return str(response.content.error)
    return ""


def garbled(step: str) -> TransientError:
    """Return the error for an answer that is no XRPC answer, such as a proxy's own page."""
    message = "the PDS sent an answer that cannot be read; is PDS_URL right?"
    return TransientError(message, step=step, code="pds_answer_garbled")


def _without_answer(error: Exception, step: str) -> MediaError:
    cause = error.__cause__ or error
    if isinstance(error, ValueError) and not isinstance(error, AtProtocolError):
        return garbled(step)
    message = f"no answer from the PDS ({type(cause).__name__}); the call may have been carried out"
    return TransientError(message, step=step, code="pds_unreachable")


def _classify(answer: _Answer, step: str) -> MediaError:
    if answer.status == 429:  # noqa: PLR2004
        return WaitError(answer.text, until=_retry_after(answer), step=step, code="rate_limited")
    if answer.name in _SESSION_NAMES:
        return SessionExpiredError(answer.text)
    if answer.name in _ACCOUNT_FAULTS:
        code, meaning = _ACCOUNT_FAULTS[answer.name]
        return AccountFaultError(f"{meaning} ({answer.text})", code=code)
    if answer.name == "BlobNotFound":
        return BlobNotFoundError(answer.text)
    if answer.name == "InvalidSwap":
        return SwapError(answer.text)
    return _by_status(answer, step)


def _by_status(answer: _Answer, step: str) -> MediaError:
    if answer.status == 413:  # noqa: PLR2004
        return PermanentError(answer.text, step=step, code="payload_too_large")
    if answer.status >= 500 or answer.status in {404, 405, 408, 409, 425}:  # noqa: PLR2004
        return TransientError(answer.text, step=step, code=f"pds_{answer.status}")
    if answer.status in {401, 403}:
        return AccountFaultError(answer.text, code=f"pds_{answer.status}")
    return PermanentError(answer.text, step=step, code="pds_refused")


def _retry_after(answer: _Answer) -> datetime:
    """Return when to ask again, by `Retry-After` (seconds) or `RateLimit-Reset` (epoch)."""
    seconds = _number(answer.headers.get("retry-after"))
    if seconds is None:
        reset = _number(answer.headers.get("ratelimit-reset"))
        seconds = reset - datetime.now(UTC).timestamp() if reset else _DEFAULT_WAIT
    return after(min(max(seconds, 1.0), _LONGEST_WAIT))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
