"""Read XRPC responses and translate errors (https://atproto.com/specs/xrpc)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TypeVar

import httpx
from atproto.exceptions import AtProtocolError

from worker.core.secrets import Secret
from worker.pds.errors import malformed_response, translate

T = TypeVar("T")


class Json:
    """The JSON object in a response. Methods raise TransientError for a wrong type."""

    def __init__(self, step: str, body: Mapping[str, object]) -> None:
        self._step = step
        self._body = body

    def text(self, name: str) -> str:
        return self._get_typed(name, str)

    def optional_text(self, name: str) -> str | None:
        return self._get_typed(name, str) if name in self._body else None

    def number(self, name: str) -> int:
        return self._get_typed(name, int)

    def flag(self, name: str, *, default: bool) -> bool:
        return self._get_typed(name, bool) if name in self._body else default

    def inner(self, name: str) -> Json:
        return Json(self._step, self._get_typed(name, dict))

    def mapping(self, name: str) -> Mapping[str, object]:
        return self._get_typed(name, dict)

    def objects(self, name: str) -> list[Json]:
        items = self._get_typed(name, list)
        if not all(isinstance(item, dict) for item in items):
            raise malformed_response(self._step)
        return [Json(self._step, item) for item in items]

    def _get_typed(self, name: str, kind: type[T]) -> T:
        value = self._body.get(name)
        if not isinstance(value, kind):
            raise malformed_response(self._step)
        return value


@contextmanager
def pds_errors(step: str) -> Iterator[None]:
    """Translate the exceptions of a call into MediaErrors for `step`."""
    # The SDK also raises the errors of httpx, and those of pydantic (ValueError).
    try:
        yield
    except (AtProtocolError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise translate(error, step) from error


def raise_for_status(response: httpx.Response) -> None:
    """Raise httpx.HTTPStatusError unless the status is 2xx."""
    # This runs before the SDK, which reads only standard errors.
    if not response.is_success:
        response.read()
        raise httpx.HTTPStatusError("refused", request=response.request, response=response)


def bearer(token: Secret) -> dict[str, str]:
    """Build the `Authorization` header for a token."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def headers_of(error: BaseException | None) -> Mapping[str, str]:
    """Return the response headers in an HTTPStatusError, none for other errors."""
    return error.response.headers if isinstance(error, httpx.HTTPStatusError) else {}


def redirect_target(error: BaseException | None) -> str | None:
    """Return the URL that an HTTPStatusError redirects to, or None.

    A URL with a user name or password is not followed.
    """
    if not isinstance(error, httpx.HTTPStatusError) or not error.response.has_redirect_location:
        return None
    with suppress(httpx.InvalidURL, ValueError):
        url = error.request.url.join(error.response.headers["location"])
        return None if url.userinfo else str(url)
    return None


def status_of(error: BaseException | None) -> str:
    """Return the HTTP status in an error, or `timeout`, `unreachable`, `garbled`."""
    if isinstance(error, httpx.HTTPStatusError):
        return str(error.response.status_code)
    cause = error.__cause__ if isinstance(error, AtProtocolError) and error.__cause__ else error
    if isinstance(cause, httpx.TimeoutException):
        return "timeout"
    return "unreachable" if isinstance(cause, httpx.TransportError) else "garbled"
