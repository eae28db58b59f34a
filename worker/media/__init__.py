"""The registry of media types: the one place that a new type is added to."""

from __future__ import annotations

from collections.abc import Mapping

from worker.media.base import Draft, MediaType, Site, UnknownTypeError
from worker.media.kidlisp import KIDLISP
from worker.media.mood import MOOD
from worker.media.painting import PAINTING
from worker.media.piece import PIECE

MEDIA_TYPES: Mapping[str, MediaType] = {
    kind.name: kind for kind in (PAINTING, MOOD, PIECE, KIDLISP)
}


def media_type(name: str) -> MediaType:
    """Return the media type of a name; raises UnknownTypeError that lists the names."""
    try:
        return MEDIA_TYPES[name]
    except (KeyError, TypeError):
        known = ", ".join(sorted(MEDIA_TYPES))
        message = f"no media type is named {ascii(name)[:60]}; there are: {known}"
        raise UnknownTypeError(message) from None


__all__ = ["MEDIA_TYPES", "Draft", "MediaType", "Site", "UnknownTypeError", "media_type"]
