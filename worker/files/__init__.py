"""Bytes of images and programs, read from a store: a folder or a web server.

>>> template = SourceTemplate.parse("https://media.example")
>>> store = open_store(template, deadline=30)
>>> file = store.read(SourceKey("paintings", "auth0|1", "slug.png"), max_bytes=20_000_000)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.files.errors import (
    SourceForbiddenError,
    SourceHostNotAllowedError,
    SourceKeyInvalidError,
    SourceMissingError,
    SourceNotRegularError,
    SourceRedirectedError,
    SourceRefusedError,
    SourceTimeoutError,
    SourceTooLargeError,
    SourceUnavailableError,
)
from worker.files.keys import SourceKey
from worker.files.location import SourceTemplate
from worker.files.store import SourceFile, SourceStat, SourceStore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from worker.core.net.addresses import Network


def open_store(
    template: SourceTemplate,
    *,
    deadline: float,
    networks: Sequence[Network] = (),
    tls: ssl.SSLContext | None = None,
) -> SourceStore:
    """Return the store that a template points at.

    `deadline` is the longest that one call may take, in seconds; `networks` are those, not
    public, that a web server may be in; `tls` replaces which certificates are trusted. Close the
    store when done.
    """
    # Imported here: a producer imports SourceKey, and should not pay for an HTTP client.
    if template.scheme == "file":
        from worker.files.local import LocalStore

        return LocalStore(template)
    from worker.files.http import HttpStore

    return HttpStore(template, deadline=deadline, networks=networks, tls=tls)


__all__ = [
    "SourceFile",
    "SourceForbiddenError",
    "SourceHostNotAllowedError",
    "SourceKey",
    "SourceKeyInvalidError",
    "SourceMissingError",
    "SourceNotRegularError",
    "SourceRedirectedError",
    "SourceRefusedError",
    "SourceStat",
    "SourceStore",
    "SourceTemplate",
    "SourceTimeoutError",
    "SourceTooLargeError",
    "SourceUnavailableError",
    "open_store",
]
