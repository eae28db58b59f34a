"""The supported keywords of lexicon definitions, and their valid values.

Unknown keywords are rejected, because a misspelt constraint would have no effect. Only the part of
the lexicon language that records of this project use is supported.
https://atproto.com/specs/lexicon#field-type-definitions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from worker.media.validation.blobs import is_mime_pattern
from worker.media.validation.data_model import LIBRARY_FORMATS, OWN_FORMATS
from worker.media.validation.errors import Violation, join, label, quote


class _Setting(NamedTuple):
    """The valid values of a keyword: a description and a test function."""

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
_CHOICES = {"enum": _TEXTS, "knownValues": _TEXTS}
_KEYWORDS: Mapping[str, Mapping[str, _Setting]] = {
    "string": {**_LENGTHS, **_GRAPHEMES, **_CHOICES, "format": _FORMAT, "default": _TEXT},
    "integer": {"minimum": _INTEGER, "maximum": _INTEGER, "enum": _INTEGERS, "default": _INTEGER},
    "boolean": {},
    "array": {**_LENGTHS, "items": _OBJECT},
    "object": {"properties": _OBJECT, "required": _NAMES, "nullable": _NAMES},
    "ref": {"ref": _TEXT},
    "blob": {"accept": _ACCEPT, "maxSize": _LENGTH},
}
TOKEN = {"type": _TEXT, "description": _TEXT}
"""The keywords that all definitions may have; a token may have no others."""
DOCUMENT = {"lexicon": _INTEGER, "id": _TEXT, "description": _TEXT, "defs": _OBJECT}
RECORD = {**TOKEN, "key": _TEXT, "record": _OBJECT}
_BOUNDS = (("minLength", "maxLength"), ("minGraphemes", "maxGraphemes"), ("minimum", "maximum"))
_REQUIRED = {"array": "items", "object": "properties", "ref": "ref"}


def check_definition(source: object, path: str) -> dict[str, Any]:
    """Return `source` if it is a valid definition; raises Violation if not."""
    if not isinstance(source, dict):
        raise Violation(path, f"should be an object, got {quote(source)}")
    kind = source.get("type")
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        reason = f"should be one of {', '.join(_KEYWORDS)}, got {quote(kind)}"
        raise Violation(join(path, "type"), reason)
    if (required := _REQUIRED.get(kind, "type")) not in source:
        raise Violation(join(path, required), "is required")
    check_keywords({**TOKEN, **_KEYWORDS[kind]}, source, path)
    for least, most in _BOUNDS:
        if least in source and most in source and source[least] > source[most]:
            raise Violation(join(path, least), f"is above {most}: nothing could meet both")
    return source


def check_keywords(settings: Mapping[str, _Setting], source: Mapping[str, Any], path: str) -> None:
    """Raise Violation for a keyword not in `settings` or with an invalid value."""
    for keyword, value in source.items():
        where = join(path, label(keyword))
        if (setting := settings.get(keyword)) is None:
            raise Violation(where, "is a keyword that is not supported")
        if not setting.test(value):
            raise Violation(where, f"should be {setting.words}, got {quote(value)}")
