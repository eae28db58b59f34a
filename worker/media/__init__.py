"""The registry of media types: our own, and those of installed packages.

Which packages bring some is asked once, as this is imported; raises MediaTypeError then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from worker.media.base import Draft, MediaType, Site, UnknownTypeError
from worker.media.kidlisp import KIDLISP
from worker.media.mood import MOOD
from worker.media.packages import installed
from worker.media.painting import PAINTING
from worker.media.piece import PIECE

OWN_TYPES = (PAINTING, MOOD, PIECE, KIDLISP)
_OTHERS = installed(OWN_TYPES)

MEDIA_TYPES: Mapping[str, MediaType] = {
    kind.name: kind for kind in (*OWN_TYPES, *(other.kind for other in _OTHERS))
}

LEXICON_FOLDERS: tuple[Path, ...] = tuple(dict.fromkeys(other.lexicons for other in _OTHERS))
"""Where the lexicons of other packages' types are, one folder a package."""


def media_type(name: str) -> MediaType:
    """Return the media type of a name; raises UnknownTypeError that lists the names."""
    try:
        return MEDIA_TYPES[name]
    except (KeyError, TypeError):
        known = ", ".join(sorted(MEDIA_TYPES))
        message = f"no media type is named {ascii(name)[:60]}; there are: {known}"
        raise UnknownTypeError(message) from None


__all__ = [
    "LEXICON_FOLDERS",
    "MEDIA_TYPES",
    "Draft",
    "MediaType",
    "Site",
    "UnknownTypeError",
    "media_type",
]
