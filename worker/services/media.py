"""Build the parts that records are made from: files, thumbnails, lexicons and URLs."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass

from pymongo.database import Database

from worker.core.settings import MediaSettings, Settings
from worker.core.settings.reader import SettingsError
from worker.database.mongo import RawDocument
from worker.database.thumbnail_cache import ThumbnailCache
from worker.files.opening import open_sources
from worker.files.store import SourceStore
from worker.files.thumbnail import ThumbnailSettings
from worker.media import MEDIA_TYPES, SiteUrls
from worker.media.lexicons import type_lexicons
from worker.media.validation import Lexicons


@dataclass(frozen=True, slots=True)
class Media:
    """The sources, thumbnails, lexicons and URLs of records."""

    sources: SourceStore
    thumbnails: ThumbnailCache
    thumbnail_settings: ThumbnailSettings
    lexicons: Lexicons
    site: SiteUrls


def build_media(settings: Settings, database: Database[RawDocument], resources: ExitStack) -> Media:
    """Open the sources, load the lexicons and check the URL templates.

    Raises SettingsError, LexiconFileError and MediaTypeError.
    """
    return Media(
        lexicons=type_lexicons(),
        sources=resources.enter_context(closing(open_sources(settings))),
        thumbnails=ThumbnailCache(database["atproto_thumbnails"]),
        thumbnail_settings=ThumbnailSettings(),
        site=_site_urls(settings.media),
    )


def _site_urls(media: MediaSettings) -> SiteUrls:
    known = {f"{kind.name}_{name}".upper() for kind in MEDIA_TYPES.values() for name in kind.urls}
    unknown = sorted(media.url_templates.keys() - known)
    if unknown:
        problems = [f"URL_TEMPLATE_{name} matches no URL field" for name in unknown]
        raise SettingsError(problems)
    return SiteUrls(media.site_url, media.user_bucket, media.guest_bucket, media.url_templates)
