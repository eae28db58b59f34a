"""Opening the store of uploaded files: a folder or a web server, as the settings have it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from worker.core.net.addresses import Network, parse_networks
from worker.core.settings import Settings
from worker.core.settings.reader import SettingsError
from worker.files.http import HttpStore
from worker.files.local import LocalStore
from worker.files.location import StoreLocation
from worker.files.store import SourceStore


def open_store(
    template: StoreLocation,
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
    if template.scheme == "file":
        return LocalStore(template)
    return HttpStore(template, deadline=deadline, networks=networks, tls=tls)


def open_sources(settings: Settings, *, deadline: float | None = None) -> SourceStore:
    """Open it; a `deadline` in seconds stands in for that of the settings. Raises SettingsError."""
    media = settings.media
    try:
        networks = parse_networks(media.allowed_networks)
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_ALLOWED_NETWORKS: {error}"]) from error
    seconds = media.deadline if deadline is None else deadline
    return open_store(store_location(settings), deadline=seconds, networks=networks)


def store_location(settings: Settings) -> StoreLocation:
    """Return how the address of a file is made; raises SettingsError."""
    media = settings.media
    try:
        return StoreLocation.parse(
            media.store_url, frozenset(media.allowed_hosts), allow_http=settings.allow_http
        )
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_URL: {error}"]) from error
