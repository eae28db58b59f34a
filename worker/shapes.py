"""Whether a value out of JSON is of the type that an annotation names, and how to say what it is.

Exact, as JSON is: `true` is no number here, and nothing is converted.
"""

from __future__ import annotations

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


def is_of(value: object, kind: Any) -> bool:
    """Tell whether a value is of a type: a plain one, a union, or a list of such."""
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return any(is_of(value, one) for one in get_args(kind))
    if origin is list:
        (item,) = get_args(kind)
        return type(value) is list and all(is_of(each, item) for each in value)
    return type(value) is (NoneType if kind is None else kind)


def name_of(kind: Any) -> str:
    """Name a type in words."""
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return " or ".join(name_of(one) for one in get_args(kind))
    if origin is list:
        return f"a list of: {name_of(get_args(kind)[0])}"
    return _NAMES.get(kind, str(kind))


def described(value: object) -> str:
    """Say of what type a value is, never what it is: it may be long, or secret."""
    return name_of(type(value))


def is_deep(value: object, levels: int) -> bool:
    """Tell whether lists and objects lie deeper in each other than so many levels."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    children = value.values() if isinstance(value, dict) else value
    return any(is_deep(child, levels - 1) for child in children)
