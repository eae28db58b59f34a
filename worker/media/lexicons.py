"""Load the lexicons of all media types, and check that none is missing."""

from __future__ import annotations

from worker.core.errors import MediaTypeError
from worker.media.base import MediaType
from worker.media.registry import registry
from worker.media.validation import Lexicons, load_lexicons

_EVERY_RECORD = ("when", "ref")  # written by `MediaType.record`


def type_lexicons() -> Lexicons:
    """Load and check the lexicons of all media types.

    Raises LexiconFileError for an invalid file, MediaTypeError for an invalid media type.
    """
    lexicons = load_lexicons(*registry().lexicon_folders)
    for kind in registry().types.values():
        if fault := find_missing(kind, lexicons):
            raise MediaTypeError(f"the media type {kind.name!r}: {fault}")
    return lexicons


def find_missing(kind: MediaType, lexicons: Lexicons) -> str:
    """Return why the lexicon of `kind` is missing or incomplete, or an empty string."""
    if kind.nsid not in lexicons.nsids:
        path = kind.nsid.replace(".", "/")
        return f"there is no lexicon {kind.nsid}: add lexicons/{path}.json to its package"
    declared = lexicons.properties(kind.nsid)
    absent = [name for name in _EVERY_RECORD if name not in declared]
    if absent:
        names = " and ".join(absent)
        return f"the lexicon {kind.nsid} does not declare {names}, which every record has"
    return ""
