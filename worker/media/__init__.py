"""The media types of this project and of installed packages.

`MEDIA_TYPES` is created on first access, not at import (https://peps.python.org/pep-0562/), because
the packages that define media types import this module. The first access raises MediaTypeError
if the media type of a package is invalid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.core.errors import PermanentError
from worker.media.base import Draft, MediaType, SiteUrls
from worker.media.registry import OWN_TYPES, registry

if TYPE_CHECKING:
    MEDIA_TYPES: Mapping[str, MediaType]
    """All media types by name."""
else:

    def __getattr__(name: str) -> object:
        if name == "MEDIA_TYPES":
            return registry().types
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def media_type(name: str) -> MediaType:
    """Return the media type `name`; raises PermanentError if it does not exist."""
    types = registry().types
    try:
        return types[name]
    except (KeyError, TypeError):
        known = ", ".join(sorted(types))
        message = f"no media type is named {ascii(name)[:60]}; valid names are {known}"
        raise PermanentError(message, step="document", code="unknown_type") from None


__all__ = ["MEDIA_TYPES", "OWN_TYPES", "Draft", "MediaType", "SiteUrls", "media_type"]
