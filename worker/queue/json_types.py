"""Check JSON values against type annotations, and describe JSON types.

The check is strict: values are not converted, and `true` is not a number.
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


def matches(value: object, kind: Any) -> bool:
    """Return whether a value matches `kind`: a plain type, a union or a list type."""
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return any(matches(value, each) for each in get_args(kind))
    if origin is list:
        return type(value) is list and all(matches(each, get_args(kind)[0]) for each in value)
    return type(value) is (NoneType if kind is None else kind)


def kind_name(kind: Any) -> str:
    """Return the name of a type for error messages."""
    origin = get_origin(kind)
    if origin in {Union, UnionType}:
        return " or ".join(kind_name(each) for each in get_args(kind))
    if origin is list:
        return f"a list of: {kind_name(get_args(kind)[0])}"
    return _NAMES.get(kind, str(kind))


def type_name(value: object) -> str:
    """Return the name of a value's type. The value itself may be secret."""
    return kind_name(type(value))


def exceeds_depth(value: object, levels: int) -> bool:
    """Return whether lists and objects are nested more than `levels` deep."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    children = value.values() if isinstance(value, dict) else value
    return any(exceeds_depth(child, levels - 1) for child in children)
