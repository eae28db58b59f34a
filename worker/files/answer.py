"""What a web server answers, and what that means for the file that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from worker.core.errors import MediaError
from worker.files.errors import (
    SourceForbiddenError,
    SourceMissingError,
    SourceRedirectedError,
    SourceRefusedError,
    SourceUnavailableError,
)

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
        raise _failure(answer)


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


def _failure(answer: Answer) -> MediaError:
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
