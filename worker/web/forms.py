"""Forms that only our own pages can send.

A page has a token that belongs to the browser's cookie, which no other site can read or have sent
along; and a browser says itself from which page a form comes.
Source: https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from worker.core.secrets import Vault

_COOKIE = "media_atproto_session"
_SESSION = re.compile(r"[A-Za-z0-9_-]{43}")
_LARGEST = 10_000  # bytes of a form
_ENCODED = "application/x-www-form-urlencoded"
_AGAIN = "open the page anew and send its form again"


class FormRefusedError(Exception):
    """A form that is not taken; `status` is the answer's, the text says why."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Pass:
    """What lets a browser's forms in: its session, and the token that belongs to that."""

    session: str
    token: str
    is_new: bool

    def put_on(self, response: Response, request: Request) -> None:
        """Give the browser its session with an answer, if it has none yet."""
        if self.is_new:
            response.set_cookie(
                _COOKIE,
                self.session,
                httponly=True,
                samesite="strict",
                secure=request.url.scheme == "https",
            )


class Forms:
    """Issues passes and checks them; the keys are those of the vault, the same in all processes."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def pass_of(self, request: Request) -> Pass:
        """Return the pass of a browser, a new one if it has none."""
        session = _session_of(request)
        kept = session or secrets.token_urlsafe(32)
        return Pass(kept, self._token(kept), is_new=session is None)

    async def read(self, request: Request) -> Mapping[str, str]:
        """Return the fields of a form that one of our pages sent; raises FormRefusedError."""
        _check_origin(request)
        form = await _read(request)
        session = _session_of(request)
        if session is None:
            raise FormRefusedError(f"the browser sent no cookie with it: {_AGAIN}")
        if not hmac.compare_digest(form.get("token", "").encode(), self._token(session).encode()):
            raise FormRefusedError(f"its token is not the one of this browser: {_AGAIN}")
        return form

    def _token(self, session: str) -> str:
        return self._vault.tag(f"form of {session}")


def _session_of(request: Request) -> str | None:
    session = request.cookies.get(_COOKIE, "")
    return session if _SESSION.fullmatch(session) else None


def _check_origin(request: Request) -> None:
    # https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise FormRefusedError("it comes from a page of another site")
    # The scheme may be another one than ours: TLS can end before us.
    origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
    if not host or _place(origin) != host.lower():
        raise FormRefusedError("it does not say that it comes from a page of this site")


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


async def _read(request: Request) -> Mapping[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _ENCODED:
        raise FormRefusedError(f"it is not encoded as {_ENCODED}", 415)
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        raise FormRefusedError("it does not say how long it is", 411)
    if int(length) > _LARGEST:
        raise FormRefusedError(f"it has more than {_LARGEST} bytes", 413)
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    except ValueError:
        raise FormRefusedError("it is no text", 400) from None
