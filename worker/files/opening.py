"""The store of uploaded files, as the settings have it."""

from __future__ import annotations

from worker.core.net.addresses import parse_networks
from worker.core.settings import Settings
from worker.core.settings.reader import SettingsError
from worker.files import SourceStore, SourceTemplate, open_store


def open_sources(settings: Settings, *, deadline: float | None = None) -> SourceStore:
    """Open it; a `deadline` in seconds stands in for that of the settings. Raises SettingsError."""
    media = settings.media
    try:
        networks = parse_networks(media.allowed_networks)
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_ALLOWED_NETWORKS: {error}"]) from error
    seconds = media.deadline if deadline is None else deadline
    return open_store(template_of(settings), deadline=seconds, networks=networks)


def template_of(settings: Settings) -> SourceTemplate:
    """Return how the address of a file is made; raises SettingsError."""
    media = settings.media
    try:
        return SourceTemplate.parse(
            media.store_url, frozenset(media.allowed_hosts), allow_http=settings.allow_http
        )
    except ValueError as error:
        raise SettingsError([f"MEDIA_STORE_URL: {error}"]) from error
