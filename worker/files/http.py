"""A store on a web server, with limits on time and size; redirects are rejected."""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import httpcore

from worker.core.errors import MediaError, PermanentError, TransientError
from worker.core.net.addresses import AddressNotAllowedError, Network
from worker.core.net.transports import Deadline, GuardedBackend
from worker.files.errors import SourceForbiddenError, SourceMissingError, SourceTooLargeError
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
# The content types of generated pages, such as error pages, login forms and web apps.
_PAGE = re.compile(
    r"text/(html|xml)|application/(xml|xhtml\+xml|json|problem\+json)|(multipart|message)/.*"
)
_PLAIN = frozenset({"", "identity", "aws-chunked"})


@dataclass(frozen=True, slots=True)
class _Answer:
    """The status and headers of a response, and an iterator over its body."""

    url: str
    status: int
    headers: dict[str, str]
    body: Iterator[bytes]

    @property
    def length(self) -> int | None:
        """Return the Content-Length in bytes, or None if missing or invalid."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def identity(self, size: int | None) -> str | None:
        """Build an identity from URL and ETag, or from date and `size`; None without."""
        etag = self.headers.get("etag", "")
        modified = self.headers.get("last-modified", "")
        if 0 < len(etag) <= _MAX_ETAG:
            return f"{self.url} etag={etag}"
        if 0 < len(modified) <= _MAX_ETAG and size is not None:
            return f"{self.url} size={size} modified={modified}"
        return None


class HttpStore(SourceStore):
    """Reads files over HTTP from the allowed hosts of a StoreLocation.

    Uses httpcore instead of httpx: httpcore follows no redirects, decodes no content encoding,
    reads no environment variables, and passes deadlines to each read (see `Deadline`).
    """

    def __init__(
        self,
        location: StoreLocation,
        *,
        deadline: float,
        networks: Sequence[Network],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._location = location
        self._deadline = deadline
        if location.scheme == "https" and tls is None:
            # Without a shared context, httpcore loads the certificates per connection (16 ms).
            tls = httpcore.default_ssl_context()
        self._pool = httpcore.ConnectionPool(
            max_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_SECONDS,
            network_backend=GuardedBackend(networks),
            ssl_context=tls,
        )

    def stat(self, key: SourceKey) -> SourceStat:
        """Request size and identity with HEAD, or with GET if HEAD is not supported."""
        url = self._location.url(key)
        end = time.monotonic() + self._deadline
        with self._exchange("HEAD", url, end) as answer:
            # The connection can be reused only after the (empty) body is read.
            _read_body(answer, 0)
            if answer.status not in _NO_HEAD:
                return _parse_stat(answer)
        with self._exchange("GET", url, end) as answer:
            return _parse_stat(answer)

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Read a file; without ETag and date, the identity is a hash of the bytes."""
        url = self._location.url(key)
        with self._exchange("GET", url, time.monotonic() + self._deadline) as answer:
            _check_head(answer)
            _check_encoding(answer)
            if (answer.length or 0) > max_bytes:
                raise SourceTooLargeError(
                    f"{url} has {answer.length} bytes, and {max_bytes} is the limit"
                )
            data = _read_body(answer, max_bytes)
            identity = answer.identity(len(data))
        return SourceFile(data, identity or f"{url} sha256={hashlib.sha256(data).hexdigest()}")

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _exchange(self, method: str, url: str, end: float) -> Iterator[_Answer]:
        """Send a request and yield the response; translate httpcore errors to MediaError."""
        timeout = {
            "connect": Deadline(_CONNECT_SECONDS, end),
            "read": Deadline(_READ_SECONDS, end),
            "write": Deadline(_READ_SECONDS, end),
            "pool": max(0.0, end - time.monotonic()),
        }
        extensions = {"timeout": timeout}
        try:
            with self._pool.stream(method, url, headers=_HEADERS, extensions=extensions) as answer:
                headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in answer.headers
                }
                yield _Answer(url, answer.status, headers, answer.iter_stream())
        except AddressNotAllowedError as error:
            message = f"{error}: allow it with MEDIA_STORE_ALLOWED_NETWORKS if it should be"
            raise PermanentError(message, step="source", code="source_host_not_allowed") from None
        except httpcore.TimeoutException as error:
            name = type(error).__name__
            message = f"{url} was not received in full within {self._deadline:g} s ({name})"
            raise TransientError(message, step="source", code="source_timeout") from error
        except httpcore.NetworkError as error:
            message = f"{url} cannot be reached: {ascii(str(error))[:200]}"
            raise TransientError(message, step="source", code="source_unavailable") from error
        except httpcore.ProtocolError as error:  # its text may quote the response
            message = f"the answer for {url} is incomplete or not HTTP"
            raise TransientError(message, step="source", code="source_unavailable") from error


def _parse_stat(answer: _Answer) -> SourceStat:
    _check_head(answer)
    return SourceStat(answer.identity(answer.length), answer.length)


def _check_head(answer: _Answer) -> None:
    """Raise MediaError unless the status is 200 and the content type can be that of a file.

    HTML, XML, JSON, multipart and message types are refused: they are error pages or login forms.
    """
    if answer.status != 200:  # noqa: PLR2004
        raise _status_error(answer)
    content_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if _PAGE.fullmatch(content_type):
        message = (
            f"{answer.url} is sent as {ascii(content_type)[:40]}, a page instead of a file: "
            "MEDIA_STORE_URL must lead to the files themselves"
        )
        raise PermanentError(message, step="source", code="source_refused")


def _check_encoding(answer: _Answer) -> None:
    """Raise PermanentError if the body has a content encoding such as gzip."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding not in _PLAIN:
        message = (
            f"{answer.url} is sent in an encoding ({ascii(encoding)[:40]}) that was not requested: "
            "store the file without Content-Encoding"
        )
        raise PermanentError(message, step="source", code="source_refused")


def _status_error(answer: _Answer) -> MediaError:
    message = f"{answer.url} answered {answer.status}"
    if answer.status in _MISSING:
        return SourceMissingError(message)
    if answer.status == 403:  # noqa: PLR2004
        return SourceForbiddenError(message)
    if 300 <= answer.status < 400:  # noqa: PLR2004
        message += ", a redirect, which is not followed: MEDIA_STORE_URL must lead to the files"
        return PermanentError(message, step="source", code="source_redirected")
    if answer.status >= 500 or answer.status in _TRY_LATER:  # noqa: PLR2004
        return TransientError(message, step="source", code="source_unavailable")
    return PermanentError(message, step="source", code="source_refused")


def _read_body(answer: _Answer, max_bytes: int) -> bytes:
    """Read the body; raises SourceTooLargeError if it exceeds `max_bytes`."""
    data = BytesIO()  # `getvalue` returns the bytes without a copy
    for chunk in answer.body:
        data.write(chunk)
        if data.tell() > max_bytes:
            raise SourceTooLargeError(f"{answer.url} has more than {max_bytes} bytes, the limit")
    return data.getvalue()
