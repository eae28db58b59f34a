"""The lexicons of all media types: each type has one, with the fields that every record has."""

from __future__ import annotations

from worker.core.errors import MediaTypeError
from worker.media import LEXICON_FOLDERS, MEDIA_TYPES, MediaType
from worker.media.validation import Lexicons, load_lexicons

_EVERY_RECORD = ("when", "ref")  # written by `MediaType.record`


def type_lexicons() -> Lexicons:
    """Load the lexicons of all types; raises LexiconFileError and MediaTypeError."""
    lexicons = load_lexicons(*LEXICON_FOLDERS)
    for kind in MEDIA_TYPES.values():
        if fault := find_missing(kind, lexicons):
            raise MediaTypeError(f"the media type {kind.name!r}: {fault}")
    return lexicons


def find_missing(kind: MediaType, lexicons: Lexicons) -> str:
    """Return what a type lacks in the lexicons; empty if nothing."""
    if kind.nsid not in lexicons.nsids:
        path = kind.nsid.replace(".", "/")
        return f"there is no lexicon {kind.nsid}: add lexicons/{path}.json to its package"
    declared = lexicons.properties(kind.nsid)
    absent = [name for name in _EVERY_RECORD if name not in declared]
    if absent:
        names = " and ".join(absent)
        return f"the lexicon {kind.nsid} does not declare {names}, which every record has"
    return ""
