"""The wire of XRPC: sending a call, reading an answer's body, turning what fails into our errors.

Source: https://atproto.com/specs/xrpc
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import httpx
from atproto.exceptions import AtProtocolError

from worker.core.secrets import Secret
from worker.pds.errors import malformed_response, translate

T = TypeVar("T")


class Json:
    """An answer's body, read field by field; raises the garbled answer's error."""

    def __init__(self, step: str, body: Mapping[str, object]) -> None:
        self._step = step
        self._body = body

    def text(self, name: str) -> str:
        """Return a text field."""
        return self._get_typed(name, str)

    def optional_text(self, name: str) -> str | None:
        """Return a text field, or None when there is none."""
        return self._get_typed(name, str) if name in self._body else None

    def number(self, name: str) -> int:
        """Return a whole number field."""
        return self._get_typed(name, int)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a flag, or the default when there is none."""
        return self._get_typed(name, bool) if name in self._body else default

    def inner(self, name: str) -> Json:
        """Return a field that is an object, to read on in it."""
        return Json(self._step, self._get_typed(name, dict))

    def mapping(self, name: str) -> Mapping[str, object]:
        """Return a field that is an object, as it is."""
        return self._get_typed(name, dict)

    def objects(self, name: str) -> list[Json]:
        """Return a field that is a list of objects."""
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
    """Translate the errors of the SDK into those of `worker.pds.errors`."""
    # The SDK lets httpx's and pydantic's own errors through besides its own.
    try:
        yield
    except (AtProtocolError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise translate(error, step) from error


def raise_for_status(response: httpx.Response) -> None:
    """Raise httpx.HTTPStatusError for any answer but success; a hook of the client."""
    # Before the SDK does: it follows redirects, and reads errors only in their usual form.
    if not response.is_success:
        response.read()
        raise httpx.HTTPStatusError("refused", request=response.request, response=response)


def bearer(token: Secret) -> dict[str, str]:
    """Return the headers that send a token."""
    return {"Authorization": f"Bearer {token.reveal()}"}


def headers_of(error: BaseException | None) -> Mapping[str, str]:
    """Return the headers of the answer that an error is about; none without an answer."""
    return error.response.headers if isinstance(error, httpx.HTTPStatusError) else {}


def status_of(error: BaseException | None) -> str:
    """Return the HTTP status of the answer that an error is about, or why there was none."""
    if isinstance(error, httpx.HTTPStatusError):
        return str(error.response.status_code)
    cause = error.__cause__ if isinstance(error, AtProtocolError) and error.__cause__ else error
    if isinstance(cause, httpx.TimeoutException):
        return "timeout"
    return "unreachable" if isinstance(cause, httpx.TransportError) else "garbled"
