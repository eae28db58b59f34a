"""The registry of media types: built-in types, and types from entry points.

docs/adding-a-media-type.md explains how an installed package adds a type.
https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path

from worker.core.errors import MediaTypeError
from worker.media.base import HidingRule, MediaType
from worker.media.kidlisp import KIDLISP
from worker.media.mood import MOOD
from worker.media.painting import PAINTING
from worker.media.piece import PIECE

OWN_TYPES = (PAINTING, MOOD, PIECE, KIDLISP)
GROUP = "media_atproto.types"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FIELD = re.compile(r"[^$.\0][^.\0]*")
_COLLECTION = re.compile(r"[^$\0]{1,100}")
_MAX_BATCH = 200  # the maximum number of writes in one applyWrites request
# Collections for documents other than media items.
_RESERVED = frozenset(
    {"users", "@handles", "atproto_accounts", "atproto_removals", "atproto_thumbnails"}
)
_EVERY_RECORD = "when"  # read by `MediaType.record`


@dataclass(frozen=True, slots=True)
class Registry:
    """All media types by name, and the lexicon folders of installed packages."""

    types: Mapping[str, MediaType]
    lexicon_folders: tuple[Path, ...]


@cache
def registry() -> Registry:
    """Load all media types, built-in types first; raises MediaTypeError if invalid.

    An entry point in the group `media_atproto.types` must refer to a MediaType with the same name
    as the entry point. The lexicon must be in the folder `lexicons/` of the same package.
    """
    types = {kind.name: kind for kind in OWN_TYPES}
    folders: dict[Path, None] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        kind = _load(entry)
        fault = find_fault(kind, entry.name, types.values())
        if fault or not isinstance(kind, MediaType):
            raise _invalid(entry, fault)
        types[kind.name] = kind
        folders[_folder(entry)] = None
    return Registry(types, tuple(folders))


def find_fault(kind: object, name: str, taken: Iterable[MediaType]) -> str:
    """Return why the object of the entry point `name` is invalid, or an empty string."""
    if not isinstance(kind, MediaType):
        return f"is {type(kind).__name__!r}, and should be a worker.media.base.MediaType"
    return _fault_of(kind, name) or _find_clash(kind, taken)


def _fault_of(kind: MediaType, name: str) -> str:
    is_batch = type(kind.batch) is int and 0 < kind.batch <= _MAX_BATCH
    faults = {
        "name should be a to z, 0 to 9 and _, 32 at most": not _matches(_NAME, kind.name),
        f"name is {kind.name!r}, and its entry point's {name!r}": kind.name != name,
        "collection should be a name of MongoDB's": not _matches(_COLLECTION, kind.collection),
        f"collection {kind.collection!r} is not one of items": kind.collection in _RESERVED,
        "nsid should be a text": not isinstance(kind.nsid, str),
        "build should be a function": not callable(kind.build),
        "fields should be a tuple of texts": not _are_texts(kind.fields),
        f"fields lacks {_EVERY_RECORD!r}, which every record has": _EVERY_RECORD not in kind.fields,
        "hidden_by should be a tuple of HidingRules": not _are_rules(kind.hidden_by),
        "waits_for should be a tuple of names in fields": not _are_fields(kind),
        "urls should map fields to texts": not _are_texts_by_name(kind.urls),
        "additions should be a tuple of texts": not _are_texts(kind.additions),
        f"batch should be 1 to {_MAX_BATCH}": not is_batch,
    }
    return next((fault for fault, applies in faults.items() if applies), "")


def _are_rules(value: object) -> bool:
    """Return whether a value is a tuple of rules that Python and MongoDB read alike."""
    return isinstance(value, tuple) and all(map(_is_rule, value))


def _is_rule(rule: object) -> bool:
    if type(rule) is not HidingRule:
        return False
    texts = (rule.equal_to, rule.other_than)
    has_one_test = None in texts and all(isinstance(text, str | None) for text in texts)
    return has_one_test and _matches(_FIELD, rule.field) and _matches(_NAME, rule.reason)


def _are_fields(kind: MediaType) -> bool:
    are_tuples = isinstance(kind.waits_for, tuple) and isinstance(kind.fields, tuple)
    return are_tuples and all(name in kind.fields for name in kind.waits_for)


def _find_clash(kind: MediaType, taken: Iterable[MediaType]) -> str:
    for other in taken:
        for what in ("name", "collection", "nsid"):
            if getattr(kind, what) == getattr(other, what):
                return f"{what} {getattr(kind, what)!r} is that of the type {other.name!r}"
    return ""


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except Exception as error:
        # Importing another program's package may raise any exception. It becomes a MediaTypeError,
        # so that the worker exits with the name of the package.
        fault = f"cannot be imported ({type(error).__name__}: {error})"
        raise _invalid(entry, fault) from error


def _folder(entry: EntryPoint) -> Path:
    package = entry.module.partition(".")[0]
    return Path(str(files(package))) / "lexicons"


def _invalid(entry: EntryPoint, fault: str) -> MediaTypeError:
    package = entry.dist.name if entry.dist else "a package without metadata"
    media_type = f"the media type {entry.name!r} of {package} ({entry.value})"
    return MediaTypeError(f"{media_type}: {fault}; correct the package, or uninstall it")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _are_texts_by_name(value: object) -> bool:
    return isinstance(value, Mapping) and _are_texts((*value.keys(), *value.values()))


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) and item for item in value)
