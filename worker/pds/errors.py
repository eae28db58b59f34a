"""Translate PDS error responses into our errors, by HTTP status and error name.

The exception classes of the SDK are not used, because they group errors differently. Source:
https://atproto.com/specs/xrpc#error-responses
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from worker.core.clock import after, http_timestamp
from worker.core.errors import MediaError, PermanentError, TransientError, WaitError
from worker.telemetry.redaction import redact

_DEFAULT_WAIT = 60.0
_MAX_WAIT = 86_400.0
_FIRST_EPOCH = 1e9  # a smaller number is a duration, not a Unix timestamp
_MAX_BODY = 100_000  # bytes of an error response
_READING = frozenset({"read", "session"})  # steps whose calls change no record
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_LOGIN = ".createSession"
_LOGINS = (_LOGIN, ".refreshSession")
# The message of the reference PDS for InvalidMimeType.
_TYPES = re.compile(r"Expected: ([^\s,]+), Got: ([^\s,]+)")
_SECRET_HEADERS = ("authorization", "x-ratelimit-bypass")


class SessionExpiredError(TransientError):
    """The token is expired, revoked or malformed. Refresh it or log in again."""

    step, code = "session", "session_expired"


class AccountUnusableError(MediaError):
    """The account cannot be used: wrong password, taken down, deactivated or missing.

    A call without a session may not report the reason: the code is then `repo_unavailable`.
    """

    step = "account"


class GatewayError(TransientError):
    """The response has no XRPC error name: it comes from a gateway in front of the PDS.

    The gateway may have rejected the content of this call only.
    """


class BlobNotFoundError(TransientError):
    """The record refers to a blob missing on the PDS. Upload it and write again."""

    step, code = "write", "blob_not_found"


class BlobTypeConflictError(PermanentError):
    """The PDS already has a blob with these bytes under another type.

    `stored` is the type that the PDS has, `sent` the one in the record; both are None if the PDS
    does not name them.
    """

    step, code = "write", "blob_type_conflict"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        types = _TYPES.search(message)
        self.stored = types[1] if types else None
        self.sent = types[2] if types else None


class RecordConflictError(TransientError):
    """The record or repo is not at the expected version. Read it and plan again."""

    step, code = "write", "invalid_swap"


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
_TEMPORARY = frozenset({401, 403, 404, 405, 408, 409, 425})  # without a known error name
_MESSAGES = ("error", "message")  # the fields of an XRPC error; the second is optional
_CLASSES: Mapping[str, type[MediaError]] = {
    "ExpiredToken": SessionExpiredError,
    "InvalidToken": SessionExpiredError,
    "AuthMissing": SessionExpiredError,
    "BlobNotFound": BlobNotFoundError,
    "InvalidSwap": RecordConflictError,
    "InvalidMimeType": BlobTypeConflictError,
}


@dataclass(frozen=True, slots=True)
class _ErrorAnswer:
    path: str
    status: int
    name: str
    message: str
    headers: Mapping[str, str]
    is_page: bool

    @property
    def text(self) -> str:
        text = f"{self.name}: {self.message}" if self.name else self.message
        return f"the PDS answered {self.status} {text}".strip()[:500]

    @property
    def refuses_login(self) -> bool:
        """Return whether this is a 4xx response to a login, or to a refresh of a session."""
        return self.path.endswith(_LOGINS) and 400 <= self.status < 500  # noqa: PLR2004


def translate(error: Exception, step: str) -> MediaError:
    """Convert an exception of the SDK or httpx into a MediaError for `step`."""
    if isinstance(error, httpx.HTTPStatusError):
        return _classify(_answer(error.response), step)
    if isinstance(error, ValueError | httpx.DecodingError):
        return malformed_response(step)
    cause = error if isinstance(error, httpx.HTTPError) else error.__cause__ or error
    message = f"no answer from the PDS{_address(cause)} ({type(cause).__name__})"
    if step not in _READING and not isinstance(cause, _NOT_SENT):
        message += "; the call may have been carried out"
    return TransientError(message, step=step, code="pds_unreachable")


def _address(error: BaseException) -> str:
    """Return the host and port of the call that failed, if the error has its request."""
    with suppress(RuntimeError):  # raised by httpx if the request is unknown
        if isinstance(error, httpx.RequestError):
            url = error.request.url
            return f" at {url.host}:{url.port or _PORTS.get(url.scheme, '')}"
    return ""


def error_name(error: BaseException | None) -> str:
    """Return the XRPC error name in an HTTPStatusError, or an empty string."""
    return _answer(error.response).name if isinstance(error, httpx.HTTPStatusError) else ""


def malformed_response(step: str) -> GatewayError:
    """Create the error for a response that is not XRPC, such as a proxy error page."""
    message = "the PDS sent an answer that cannot be read; is PDS_URL right?"
    return GatewayError(message, step=step, code="pds_answer_garbled")


def _answer(response: httpx.Response) -> _ErrorAnswer:
    fields = _parse_body(response.content)
    texts = (text if isinstance(text, str) else "" for text in map(fields.get, _MESSAGES))
    name, message = _redact_echoes(response.request, *texts)
    path, headers = response.request.url.path, response.headers
    is_page = headers.get("content-type", "").startswith("text/html")
    return _ErrorAnswer(path, response.status_code, name, message, headers, is_page)


def _parse_body(content: bytes) -> Mapping[str, object]:
    """Parse the JSON object of an error; return an empty mapping for anything else."""
    if len(content) > _MAX_BODY:
        return {}
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _redact_echoes(request: httpx.Request, name: str, message: str) -> tuple[str, str]:
    """Remove the request's secrets from the name and message of an error.

    The message of a login is dropped, because it could contain parts of the password.
    """
    secrets = [request.headers.get(header, "").rpartition(" ")[2] for header in _SECRET_HEADERS]
    is_login = request.url.path.endswith(_LOGINS)
    name, message = (redact(text, secrets) for text in (name, message))
    return (name if _NAME.fullmatch(name) else ""), ("" if is_login else message)


def _classify(answer: _ErrorAnswer, step: str) -> MediaError:
    if answer.status == 429:  # noqa: PLR2004
        until = retry_after(answer.headers)
        return WaitError(answer.text, until=until, step=step, code="rate_limited")
    if answer.name in _CLASSES and not answer.path.endswith(_LOGIN):
        return _CLASSES[answer.name](answer.text)
    if answer.name in _ACCOUNT_FAULTS:
        code, meaning = _ACCOUNT_FAULTS[answer.name]
        return AccountUnusableError(f"{meaning} ({answer.text})", code=code)
    if step == "read" and answer.name == "InvalidRequest":
        # Our requests are valid, so the repo is the cause. The PDS sends no specific error name.
        message = f"the PDS does not show the account's repo ({answer.text})"
        return AccountUnusableError(message, code="repo_unavailable")
    if answer.refuses_login:
        # A PDS may report a wrong password with any of these status codes.
        return AccountUnusableError(answer.text, code=f"pds_{answer.status}")
    return _by_status(answer, step)


def _by_status(answer: _ErrorAnswer, step: str) -> MediaError:
    code = f"pds_{answer.status}"
    if answer.status < 400:  # noqa: PLR2004
        message = f"the PDS answered {answer.status}, a redirect perhaps; is PDS_URL right?"
        return TransientError(message, step=step, code="pds_redirected")
    if answer.status == 413:  # noqa: PLR2004
        return PermanentError(answer.text, step=step, code="payload_too_large")
    if answer.name and answer.status in {401, 403}:
        return AccountUnusableError(answer.text, code=code)
    if answer.is_page or answer.status >= 500 or answer.status in _TEMPORARY:  # noqa: PLR2004
        kind = TransientError if answer.name else GatewayError
        return kind(answer.text, step=step, code=code)
    return PermanentError(answer.text, step=step, code="pds_refused")


def retry_after(headers: Mapping[str, str]) -> datetime:
    """Return the time of the next call, from `Retry-After` or `RateLimit-Reset`.

    Both headers may contain a number of seconds. `Retry-After` may also be an HTTP date
    (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after). The reference PDS sends
    `RateLimit-Reset` as seconds since 1970.
    """
    moment = datetime.now(UTC).timestamp()
    for name in ("retry-after", "ratelimit-reset"):
        value = _number(headers.get(name, ""))
        if value is not None:
            seconds = value - moment if value > _FIRST_EPOCH else value
            return after(min(max(seconds, 1.0), _MAX_WAIT))
    return after(_DEFAULT_WAIT)


def _number(text: str) -> float | None:
    with suppress(ValueError):
        value = float(text)
        return value if math.isfinite(value) else None
    return http_timestamp(text)
