"""A store that is a web server: bounded in time and bytes, and without redirects."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import httpcore

from worker.core.errors import MediaError
from worker.core.net.addresses import AddressNotAllowedError, GuardedBackend, Network
from worker.core.net.transports import Deadline, DeadlineBackend
from worker.files.errors import (
    SourceForbiddenError,
    SourceHostNotAllowedError,
    SourceMissingError,
    SourceRedirectedError,
    SourceRefusedError,
    SourceTimeoutError,
    SourceTooLargeError,
    SourceUnavailableError,
)
from worker.files.location import StoreLocation
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore

_CONNECT_SECONDS = 3.0
_READ_SECONDS = 10.0
_CONNECTIONS = 8
_KEEPALIVE_SECONDS = 30.0
_HEADERS = (
    ("Accept", "*/*"),
    ("Accept-Encoding", "identity"),
    ("User-Agent", "media-atproto"),
)
_NO_HEAD = frozenset({405, 501})
_MAX_ETAG = 200
_MISSING = frozenset({404, 410})
_TRY_LATER = frozenset({408, 425, 429})
# What a server makes up itself: pages of errors, of logins, of an app for every path.
_PAGES = frozenset(
    {
        "text/html",
        "application/xhtml+xml",
        "text/xml",
        "application/xml",
        "application/json",
        "application/problem+json",
    }
)
_PLAIN = frozenset({"", "identity", "aws-chunked"})


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of a response and its body still to come."""

    url: str
    status: int
    headers: dict[str, str]
    body: Iterator[bytes]

    @property
    def length(self) -> int | None:
        """The announced size of the body in bytes."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def identity(self, size: int | None) -> str | None:
        """Name this version of the bytes: by its ETag, or by its date and size."""
        etag = self.headers.get("etag", "")
        modified = self.headers.get("last-modified", "")
        if 0 < len(etag) <= _MAX_ETAG:
            return f"{self.url} etag={etag}"
        if 0 < len(modified) <= _MAX_ETAG and size is not None:
            return f"{self.url} size={size} modified={modified}"
        return None


def check_status(answer: Answer) -> None:
    """Accept only 200, a file in full; raises the error that any other status stands for."""
    if answer.status != 200:  # noqa: PLR2004 - the one status that is not an error
        raise _error_for(answer)


def check_type(answer: Answer) -> None:
    """Accept only what may be an uploaded file: a page that stands in for one is not the file."""
    said = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said in _PAGES or said.startswith(("multipart/", "message/")):
        raise SourceRefusedError(
            f"{answer.url} is sent as {ascii(said)[:40]}, a page instead of a file: "
            "MEDIA_STORE_URL must lead to the files themselves"
        )


def check_encoding(answer: Answer) -> None:
    """Accept only bytes as they were uploaded: a compressed program is not the program."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding not in _PLAIN:
        raise SourceRefusedError(
            f"{answer.url} is sent in an encoding ({ascii(encoding)[:40]}) that was not asked for: "
            "store the file without Content-Encoding"
        )


def _error_for(answer: Answer) -> MediaError:
    """Return the error that a status stands for."""
    said = f"{answer.url} answered {answer.status}"
    if answer.status in _MISSING:
        return SourceMissingError(said)
    if answer.status == 403:  # noqa: PLR2004
        return SourceForbiddenError(
            f"{said}: the file is missing and may not be listed, or the store refuses us; "
            "the right to list (S3: s3:ListBucket) tells the two apart"
        )
    if 300 <= answer.status < 400:  # noqa: PLR2004
        return SourceRedirectedError(
            f"{said}, a redirect, which is not followed: "
            "MEDIA_STORE_URL must lead to the files themselves"
        )
    if answer.status >= 500 or answer.status in _TRY_LATER:  # noqa: PLR2004
        return SourceUnavailableError(said)
    return SourceRefusedError(said)


class HttpStore(SourceStore):
    """Fetches files from the hosts that a template allows.

    httpcore rather than httpx: it follows no redirect, undoes no encoding, reads no environment,
    and lets a deadline reach every read (see `worker.core.net.transports`).
    """

    def __init__(
        self,
        template: StoreLocation,
        *,
        deadline: float,
        networks: Sequence[Network] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`deadline` is the longest that one call may take, in seconds; see `open_store`."""
        self._template = template
        self._deadline = deadline
        self._pool = httpcore.ConnectionPool(
            max_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=DeadlineBackend(GuardedBackend(networks)),
            ssl_context=tls or _load_certificates(template.scheme),
        )

    def stat(self, key: SourceKey) -> SourceStat:
        """Return size and identity from the headers of HEAD, or of GET where HEAD is unknown."""
        url = self._template.url(key)
        end = time.monotonic() + self._deadline
        with self._exchange("HEAD", url, end) as answer:
            # Read to its end, which is here at once, or the connection could not be used again.
            _read_body(answer, 0)
            if answer.status not in _NO_HEAD:
                return _parse_stat(answer)
        with self._exchange("GET", url, end) as answer:
            return _parse_stat(answer)

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Return a file; without an ETag or a date, its identity is made from the bytes."""
        url = self._template.url(key)
        end = time.monotonic() + self._deadline
        with self._exchange("GET", url, end) as answer:
            check_status(answer)
            check_type(answer)
            check_encoding(answer)
            if (answer.length or 0) > max_bytes:
                raise SourceTooLargeError(
                    f"{url} has {answer.length} bytes, and {max_bytes} is the limit"
                )
            data = _read_body(answer, max_bytes)
            identity = answer.identity(len(data))
        return SourceFile(data, identity or f"{url} sha256={hashlib.sha256(data).hexdigest()}")

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    @contextmanager
    def _exchange(self, method: str, url: str, end: float) -> Iterator[Answer]:
        """Send a request and hand out the answer, with httpcore's errors translated."""
        timeout = {
            "connect": Deadline(_CONNECT_SECONDS, end),
            "read": Deadline(_READ_SECONDS, end),
            "write": Deadline(_READ_SECONDS, end),
            "pool": max(0.0, end - time.monotonic()),
        }
        try:
            with self._pool.stream(
                method, url, headers=_HEADERS, extensions={"timeout": timeout}
            ) as response:
                yield Answer(
                    url, response.status, _decode_headers(response), response.iter_stream()
                )
        except AddressNotAllowedError as error:
            raise SourceHostNotAllowedError(
                f"{error}: allow it with MEDIA_STORE_ALLOWED_NETWORKS if it should be"
            ) from None
        except httpcore.TimeoutException as error:
            raise SourceTimeoutError(
                f"{url} did not answer in full within {self._deadline:g} s ({type(error).__name__})"
            ) from error
        except httpcore.NetworkError as error:
            raise SourceUnavailableError(
                f"{url} cannot be reached: {ascii(str(error))[:200]}"
            ) from error
        except httpcore.ProtocolError as error:  # its text may quote whatever the server sent
            raise SourceUnavailableError(
                f"the answer for {url} broke off, or is no HTTP"
            ) from error


def _load_certificates(scheme: str) -> ssl.SSLContext | None:
    """Return the usual trusted certificates, once: httpcore would take 16 ms per connection."""
    return httpcore.default_ssl_context() if scheme == "https" else None


def _read_body(answer: Answer, max_bytes: int) -> bytes:
    """Read a body, counting as it arrives: a server may announce less than it sends."""
    data = BytesIO()  # gives its bytes away without a second copy
    for chunk in answer.body:
        data.write(chunk)
        if data.tell() > max_bytes:
            raise SourceTooLargeError(f"{answer.url} has more than {max_bytes} bytes, the limit")
    return data.getvalue()


def _decode_headers(response: httpcore.Response) -> dict[str, str]:
    """Return headers with their names in lower case."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }


def _parse_stat(answer: Answer) -> SourceStat:
    check_status(answer)
    check_type(answer)
    return SourceStat(answer.identity(answer.length), answer.length)
