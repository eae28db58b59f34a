"""The rules of the data model, which hold for every value whatever its lexicon says.

https://atproto.com/specs/data-model
"""

from __future__ import annotations

from collections.abc import Mapping

from worker.media.validation.errors import Fault, join, label

MAX_INTEGER = 2**53 - 1
"""Largest integer, either sign, that JavaScript (and so a PDS) can hold exactly."""

MAX_DEPTH = 32
"""How many objects and arrays may lie inside one another, the record among them."""


def check_data(record: object) -> dict[str, object]:
    """Check that `record` is an object of plain JSON values and return it as a dict.

    Raises Fault at the first float, integer beyond `MAX_INTEGER`, lone surrogate, key that is no
    string, value that JSON has no form for (bytes, tuples, dates) or object nested too deep.
    """
    if not isinstance(record, Mapping):
        raise Fault("record", f"is {_kind(record)} and should be an object")
    plain = dict(record)
    _check_object(plain, "", MAX_DEPTH)
    return plain


def _check(value: object, path: str, depth: int) -> None:
    if depth == 0 and isinstance(value, dict | list):
        raise Fault(path, f"is nested more than {MAX_DEPTH} levels deep")
    if type(value) is str:
        _check_text(value, path)
    elif type(value) is int:
        _check_integer(value, path)
    elif type(value) is dict:
        _check_object(value, path, depth)
    elif type(value) is list:
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth - 1)
    elif type(value) is float:
        raise Fault(path, "is a float, which AT Protocol records cannot hold")
    elif value is not None and type(value) is not bool:
        raise Fault(path, f"is {_kind(value)}, which JSON has no form for")


def _check_object(value: dict[object, object], path: str, depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            raise Fault(path or "record", f"has a key that is {_kind(key)}, not a string")
        where = join(path, label(key))
        _check_text(key, where)
        _check(item, where, depth - 1)


def _check_integer(value: int, path: str) -> None:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise Fault(path, "is an integer beyond 2^53-1, which not every reader can hold")


def _check_text(text: str, path: str) -> None:
    """Refuse half of a surrogate pair: it has no UTF-8 form, and a PDS would replace it."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        where = f"at character {error.start}"
        raise Fault(path, f"holds a lone surrogate {where}, which is not Unicode text") from None


def _kind(value: object) -> str:
    return f"a Python {type(value).__name__}"
