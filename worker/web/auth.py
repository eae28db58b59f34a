"""ASGI middleware: Basic authentication, and security headers in all responses."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.core.secrets import Secret
from worker.core.settings import WebSettings

HEALTH = "/healthz"
_HEADERS: Mapping[str, str] = {
    # https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # With `no-referrer`, browsers would not send our origin with our own forms either.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="media-atproto", charset="UTF-8"'}


class Gate:
    """Requires a login, except for `HEALTH`, and adds security headers to responses.

    Uses HTTP Basic authentication (https://www.rfc-editor.org/rfc/rfc7617). Keeps headers that
    the response already has. Saves the start time of a request in its scope, as `began`.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        login = f"{settings.user}:{settings.password.reveal()}"
        self._credentials = Secret(base64.b64encode(login.encode()).decode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        scope["began"] = time.monotonic()
        app = self._app
        if scope["path"] != HEALTH and not self._is_authorized(Headers(scope=scope)):
            app = PlainTextResponse("log in first\n", status_code=401, headers=_CHALLENGE)
        await app(scope, receive, send_with_headers)

    def _is_authorized(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        expected = self._credentials.reveal().encode()
        # In constant time: the duration must not reveal how many characters are correct.
        is_equal = hmac.compare_digest(given.strip().encode(), expected)
        return is_equal and scheme.lower() == "basic"
