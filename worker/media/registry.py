"""The registry of media types, made once in a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from worker.media.base import MediaType
from worker.media.kidlisp import KIDLISP
from worker.media.mood import MOOD
from worker.media.packages import installed
from worker.media.painting import PAINTING
from worker.media.piece import PIECE

OWN_TYPES = (PAINTING, MOOD, PIECE, KIDLISP)


@dataclass(frozen=True, slots=True)
class Registry:
    """All types by name, and where the lexicons of other packages' types are."""

    types: Mapping[str, MediaType]
    lexicon_folders: tuple[Path, ...]


@cache
def registry() -> Registry:
    """Return the types, our own first; raises MediaTypeError for one that cannot be used."""
    others = installed(OWN_TYPES)
    kinds = (*OWN_TYPES, *(other.kind for other in others))
    folders = dict.fromkeys(other.lexicons for other in others)
    return Registry({kind.name: kind for kind in kinds}, tuple(folders))
