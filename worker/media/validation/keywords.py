"""Which keywords a field definition may have, by its type, and what each may be set to.

Strict, since a constraint with a misspelt name would constrain nothing. Of the lexicon language
it takes what our records use and names whatever else it meets.
https://atproto.com/specs/lexicon#field-type-definitions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from worker.media.validation.blobs import is_mime_pattern
from worker.media.validation.data_model import LIBRARY_FORMATS, OWN_FORMATS
from worker.media.validation.errors import Violation, join, label, quote


class _Setting(NamedTuple):
    """What a keyword may be set to, in words and as a test."""

    words: str
    test: Callable[[Any], bool]


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(type(item) is kind for item in value)


def _is_length(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_format(value: Any) -> bool:
    return type(value) is str and (value in OWN_FORMATS or value in LIBRARY_FORMATS)


def _is_accept(value: Any) -> bool:
    return _list_of(str)(value) and bool(value) and all(map(is_mime_pattern, value))


_LENGTH = _Setting("a whole number above 0", _is_length)
_INTEGER = _Setting("a whole number", lambda value: type(value) is int)
_TEXT = _Setting("a string", lambda value: type(value) is str)
_NAMES = _Setting("a list of strings", _list_of(str))
_TEXTS = _Setting("a list of strings, not empty", lambda value: value and _list_of(str)(value))
_INTEGERS = _Setting("a list of integers, not empty", lambda value: value and _list_of(int)(value))
_OBJECT = _Setting("an object", lambda value: type(value) is dict)
_FORMAT = _Setting("a string format of the specification", _is_format)
_ACCEPT = _Setting("a list of MIME types, image/* or */*, not empty", _is_accept)

_LENGTHS = {"maxLength": _LENGTH, "minLength": _LENGTH}
_GRAPHEMES = {"maxGraphemes": _LENGTH, "minGraphemes": _LENGTH}
_KEYWORDS: Mapping[str, Mapping[str, _Setting]] = {
    "string": {
        **_LENGTHS,
        **_GRAPHEMES,
        "format": _FORMAT,
        "enum": _TEXTS,
        "knownValues": _TEXTS,
        "default": _TEXT,
    },
    "integer": {"minimum": _INTEGER, "maximum": _INTEGER, "enum": _INTEGERS, "default": _INTEGER},
    "boolean": {},
    "array": {**_LENGTHS, "items": _OBJECT},
    "object": {"properties": _OBJECT, "required": _NAMES, "nullable": _NAMES},
    "ref": {"ref": _TEXT},
    "blob": {"accept": _ACCEPT, "maxSize": _LENGTH},
}
# What a document, its record and a token may say besides what is read of them.
_DOCUMENT: Mapping[str, _Setting] = {
    "lexicon": _INTEGER,
    "id": _TEXT,
    "description": _TEXT,
    "defs": _OBJECT,
}
_RECORD: Mapping[str, _Setting] = {
    "type": _TEXT,
    "description": _TEXT,
    "key": _TEXT,
    "record": _OBJECT,
}
_BOUNDS = (
    ("minLength", "maxLength"),
    ("minGraphemes", "maxGraphemes"),
    ("minimum", "maximum"),
)
_EVERYWHERE = {"type": _TEXT, "description": _TEXT}
_NEEDED = {"array": "items", "object": "properties", "ref": "ref"}


def check_definition(source: object, path: str) -> dict[str, Any]:
    """Return the definition of the field at `path` if its keywords are valid; raises Violation."""
    if not isinstance(source, dict):
        raise Violation(path, f"should be an object, got {quote(source)}")
    kind = source.get("type")
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        raise Violation(
            join(path, "type"), f"should be one of {', '.join(_KEYWORDS)}, got {quote(kind)}"
        )
    if (needed := _NEEDED.get(kind, "type")) not in source:
        raise Violation(join(path, needed), "is required")
    _check_keywords({**_EVERYWHERE, **_KEYWORDS[kind]}, source, path)
    _check_bounds(source, path)
    return source


def check_document(source: Mapping[str, Any]) -> None:
    """Check that a lexicon document says nothing but what the language has; raises Violation."""
    _check_keywords(_DOCUMENT, source, "")


def check_record(source: Mapping[str, Any], path: str) -> None:
    """Check the same of a record's definition, its fields apart."""
    _check_keywords(_RECORD, source, path)


def check_token(source: Mapping[str, Any], path: str) -> None:
    """Check the same of a token: a name for a known value, and nothing else."""
    _check_keywords(_EVERYWHERE, source, path)


def _check_keywords(settings: Mapping[str, _Setting], source: Mapping[str, Any], path: str) -> None:
    for keyword, value in source.items():
        _check_keyword(settings.get(keyword), value, join(path, label(keyword)))


def _check_bounds(source: Mapping[str, Any], path: str) -> None:
    for least, most in _BOUNDS:
        if least in source and most in source and source[least] > source[most]:
            raise Violation(join(path, least), f"is above {most}: nothing could meet both")


def _check_keyword(setting: _Setting | None, value: object, path: str) -> None:
    if setting is None:
        raise Violation(path, "is a keyword that is not understood here")
    if not setting.test(value):
        raise Violation(path, f"should be {setting.words}, got {quote(value)}")
