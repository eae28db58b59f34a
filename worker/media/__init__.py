"""The media types: our own, and those of installed packages.

`MEDIA_TYPES` and `LEXICON_FOLDERS` are made when they are first asked for, not as this is imported:
a package's module imports this one, perhaps before anybody has asked for the types. Asking raises
MediaTypeError (https://peps.python.org/pep-0562/).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from worker.media.base import Draft, MediaType, SiteUrls, UnknownTypeError
from worker.media.registry import OWN_TYPES, registry

if TYPE_CHECKING:
    MEDIA_TYPES: Mapping[str, MediaType]
    """All types by name, the one registry."""
    LEXICON_FOLDERS: tuple[Path, ...]
    """Where the lexicons of other packages' types are, one folder a package."""
else:

    def __getattr__(name: str) -> object:
        if name == "MEDIA_TYPES":
            return registry().types
        if name == "LEXICON_FOLDERS":
            return registry().lexicon_folders
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def media_type(name: str) -> MediaType:
    """Return the media type of a name; raises UnknownTypeError that lists the names."""
    types = registry().types
    try:
        return types[name]
    except (KeyError, TypeError):
        known = ", ".join(sorted(types))
        message = f"no media type is named {ascii(name)[:60]}; there are: {known}"
        raise UnknownTypeError(message) from None


__all__ = [
    "LEXICON_FOLDERS",
    "MEDIA_TYPES",
    "OWN_TYPES",
    "Draft",
    "MediaType",
    "SiteUrls",
    "UnknownTypeError",
    "media_type",
]
