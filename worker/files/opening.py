"""Create the media store from the settings."""

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
    location: StoreLocation,
    *,
    deadline: float,
    networks: Sequence[Network] = (),
    tls: ssl.SSLContext | None = None,
) -> SourceStore:
    """Create the store for a location; the caller must close it.

    For web servers, `deadline` limits each call (seconds), `networks` are the allowed private
    networks, and `tls` replaces the default certificates.
    """
    if location.scheme == "file":
        return LocalStore(location)
    return HttpStore(location, deadline=deadline, networks=networks, tls=tls)


def open_sources(settings: Settings, *, deadline: float | None = None) -> SourceStore:
    """Create the store from the settings; raises SettingsError if they are invalid."""
    media = settings.media
    try:
        networks = parse_networks(media.allowed_networks)
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_ALLOWED_NETWORKS: {error}"]) from error
    return open_store(
        store_location(settings), deadline=deadline or media.deadline, networks=networks
    )


def store_location(settings: Settings) -> StoreLocation:
    """Parse MEDIA_STORE_URL of the settings; raises SettingsError if it is invalid."""
    hosts = settings.media.allowed_hosts
    try:
        return StoreLocation.parse(settings.media.store_url, hosts, allow_http=settings.allow_http)
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_URL: {error}"]) from error
