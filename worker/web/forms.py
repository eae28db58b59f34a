"""Protect forms against cross-site request forgery (CSRF), and execute retries.

Each form contains a token derived from the browser's session cookie. Other sites can neither read
nor send this cookie. The headers Sec-Fetch-Site and Origin are checked too.
Source: https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qsl

import pymongo
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from worker.core.ids import parse_id
from worker.core.secrets import Vault
from worker.media import MediaType, media_type
from worker.operations.backfill.planner import BackfillPlanner, to_batches
from worker.operations.backfill.retry import RetryTotals, find_named, retry_batches
from worker.services import Services
from worker.web.templates import item_url, url

_COOKIE = "media_atproto_session"
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
_MAX_BYTES = 10_000
_CONTENT_TYPE = "application/x-www-form-urlencoded"
_AGAIN = "reload the page and send the form again"
MAX_IDS = 1000  # items per request; a request takes about a second
_TIMEOUT = 20.0  # seconds
# The results shown after a form was sent, by the value of `told` in the URL.
MESSAGES: Mapping[str, str] = {
    "enqueued": "Enqueued: a worker will process the item. Reload to see the result.",
    "left": "The queue did not accept the message. The item is pending, and a sweep will enqueue "
    "it. Check REDIS_URL, and that Redis is running.",
    "busy": "Not enqueued: a worker is processing this item.",
    "all": "Enqueued: workers will process the items.",
    "most": f"Enqueued the first {MAX_IDS} items. Select the button again to enqueue more.",
    "rest": "The queue did not accept all messages. The items are pending, and a sweep will "
    "enqueue them. Check REDIS_URL, and that Redis is running.",
    "none": "Nothing to retry: workers are processing these items, or have done so.",
}


class FormRefusedError(HTTPException):
    """A form was refused; the error page shows the reason."""

    def __init__(self, reason: str, status: int = 403) -> None:
        super().__init__(status, f"Nothing was changed: the form was refused, because {reason}.")


@dataclass(frozen=True, slots=True)
class Forms:
    """Adds tokens to forms and checks them, using the vault's keys in all processes."""

    vault: Vault

    def respond(self, request: Request, render: Callable[[str], Response]) -> Response:
        """Return `render(token)`, with a session cookie if the browser sent none."""
        known = _session_of(request)
        session = known or secrets.token_urlsafe(32)
        response = render(self._token(session))
        if known is None:
            secure = request.url.scheme == "https" or not _is_loopback(request.url.hostname or "")
            response.set_cookie(_COOKIE, session, httponly=True, samesite="strict", secure=secure)
        return response

    async def read(self, request: Request) -> Mapping[str, str]:
        """Return the fields of a form; raises FormRefusedError if a check fails."""
        _check_origin(request)
        form = await _read(request)
        session = _session_of(request)
        if session is None:
            raise FormRefusedError(f"the browser sent no cookie: use https, and {_AGAIN}")
        if not hmac.compare_digest(form.get("token", "").encode(), self._token(session).encode()):
            raise FormRefusedError(f"its token belongs to another session: {_AGAIN}")
        return form

    def _token(self, session: str) -> str:
        return self.vault.tag(f"form of {session}")


def _session_of(request: Request) -> str | None:
    session = request.cookies.get(_COOKIE, "")
    return session if _SESSION.fullmatch(session) else None


def _is_loopback(host: str) -> bool:
    """Return whether the browser runs on this machine.

    For other hosts a cookie is always sent through TLS: behind a proxy that we do not know, such as
    one outside of our container, the request does not show whether TLS was used.
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_origin(request: Request) -> None:
    # https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise FormRefusedError("it comes from a page of another site")
    # The scheme can differ, because a proxy may terminate TLS.
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    if not host or origin.partition("://")[2].lower() != host.lower():
        raise FormRefusedError("it does not say that it comes from a page of this site")


async def _read(request: Request) -> Mapping[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _CONTENT_TYPE:
        raise FormRefusedError(f"it is not encoded as {_CONTENT_TYPE}", 415)
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise FormRefusedError("it does not say how long it is", 411)
    if int(length) > _MAX_BYTES:
        raise FormRefusedError(f"it has more than {_MAX_BYTES} bytes", 413)
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    except ValueError:
        raise FormRefusedError("it is no text", 400) from None


@dataclass(frozen=True, slots=True)
class RetryRequest:
    """A request to retry one item by `id`, or all failed items of a type by `code`."""

    kind: MediaType
    id: str
    code: str

    @classmethod
    def of(cls, form: Mapping[str, str]) -> RetryRequest:
        """Parse a form; raises PermanentError for an unknown type or an invalid id."""
        kind = media_type(form.get("type", ""))
        code = form.get("code", "")
        if not code:
            parse_id(form.get("id", ""))
        return cls(kind, form.get("id", ""), code)


def execute(services: Services, retry: RetryRequest) -> str | None:
    """Retry items as `media-atproto retry` does; return the URL of the result page.

    Returns None if the item does not exist. Raises StoreUnavailableError, and PermanentError if
    an index is missing.
    """
    with pymongo.timeout(_TIMEOUT):
        return _retry_all(services, retry) if retry.code else _retry_one(services, retry)


def _retry_one(services: Services, retry: RetryRequest) -> str | None:
    named = find_named(services.storage.store, [retry.kind], [retry.id])
    if named.busy:
        return f"{item_url(named.busy[0])}&told=busy"
    if not named.items:
        return None
    totals = retry_batches(services, to_batches(named.items))
    told = "left" if totals.skipped else "enqueued"
    return f"{item_url(named.items[0].ref)}&told={told}"


def _retry_all(services: Services, retry: RetryRequest) -> str:
    planner = BackfillPlanner.of(services)
    failed = planner.failed_batches([retry.kind], [retry.code], limit=MAX_IDS)
    told = _describe(retry_batches(services, failed))
    return url("/failures", {"type": retry.kind.name, "code": retry.code, "told": told})


def _describe(totals: RetryTotals) -> str:
    if totals.skipped:
        return "rest"
    count = totals.enqueued.total()
    return "none" if not count else "most" if count == MAX_IDS else "all"
