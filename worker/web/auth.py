"""What stands before every page: who may see it, and what browsers are told about it."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.core.secrets import Secret
from worker.core.settings import WebSettings

HEALTH = "/healthz"
# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
_PAGES = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _PAGES,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not `no-referrer`: with that, browsers send no Origin with our own forms either.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="media-atproto", charset="UTF-8"'}


class SecurityHeaders:
    """Gives every answer the headers that keep browsers from doing anything with it but show it.

    What an answer sets itself stays. Notes on the scope when the request came (`began`).
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def armoured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        scope["began"] = time.monotonic()
        await self._app(scope, receive, armoured)


class BasicAuth:
    """Lets those in who know the user and the password; all may ask whether the page is alive.

    HTTP Basic authentication: https://www.rfc-editor.org/rfc/rfc7617
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._known = Secret(f"{settings.user}:{settings.password.reveal()}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or ask for the password."""
        if scope["path"] == HEALTH or self._is_known(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse("log in first\n", status_code=401, headers=_CHALLENGE)
        await refusal(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(credentials.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        # In a time that tells nothing of how much of it is right.
        known = self._known.reveal().encode()
        return hmac.compare_digest(given, known) and scheme.lower() == "basic"
