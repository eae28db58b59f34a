"""Whether a value out of JSON is of the type that an annotation names, and how to say what it is.

Exact, as JSON is: `true` is no number here, and nothing is converted.
"""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

_NAMES: dict[object, str] = {
    None: "absent",
    NoneType: "null",
    bool: "a boolean",
    dict: "an object",
    float: "a fraction",
    int: "a number",
    list: "a list",
    str: "a text",
}


def matches(value: object, kind: Any) -> bool:
    """Tell whether a value is of a type: a plain one, a union, or a list of such."""
    plain, item = _options(kind)
    if item is not None and type(value) is list:
        return all(matches(each, item) for each in value)
    return type(value) in plain


@cache
def _options(kind: Any) -> tuple[frozenset[type], Any]:
    """Return the plain types that a type stands for, and that of a list's items, None for none."""
    origin = get_origin(kind)
    if origin is list:
        return frozenset(), get_args(kind)[0]
    if origin not in {Union, UnionType}:
        return frozenset([NoneType if kind is None else kind]), None
    parts = [_options(one) for one in get_args(kind)]
    items = [item for _, item in parts if item is not None]
    return frozenset().union(*(plain for plain, _ in parts)), items[0] if items else None


def kind_name(kind: Any) -> str:
    """Name a type in words."""
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return " or ".join(kind_name(one) for one in get_args(kind))
    if origin is list:
        return f"a list of: {kind_name(get_args(kind)[0])}"
    return _NAMES.get(kind, str(kind))


def type_name(value: object) -> str:
    """Say of what type a value is, never what it is: it may be long, or secret."""
    return kind_name(type(value))


def exceeds_depth(value: object, levels: int) -> bool:
    """Tell whether lists and objects lie deeper in each other than so many levels."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    children = value.values() if isinstance(value, dict) else value
    return any(exceeds_depth(child, levels - 1) for child in children)
