"""What differs between two versions of a record: field by field, as values. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not as it should be; `wanted` and `found` are JSON, None when absent.

    The field of a record inside a record, a blob for one, is named with dots: `thumbnail.size`.
    An empty `field` speaks of the record as a whole.
    """

    field: str
    wanted: str | None
    found: str | None


def compare(wanted: Record | None, found: Record | None) -> tuple[Difference, ...]:
    """Return what differs between the record that should be there and the one that is.

    Both are in JSON form; None means that there is no record. Fields come in the order of
    `wanted`, those that only `found` has at the end.
    """
    if wanted is None and found is None:
        return ()
    if wanted is None or found is None:
        return (Difference("", _whole(wanted), _whole(found)),)
    return tuple(_differences(wanted, found, ""))


def _differences(wanted: Record, found: Record, prefix: str) -> Iterator[Difference]:
    for name in (*wanted, *(name for name in found if name not in wanted)):
        here, there = wanted.get(name), found.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _differences(here, there, f"{prefix}{name}.")
            continue
        texts = _field(wanted, name), _field(found, name)
        if texts[0] != texts[1]:
            yield Difference(f"{prefix}{name}", *texts)


def _whole(record: Record | None) -> str | None:
    return None if record is None else _json(record)


def _field(record: Record, name: str) -> str | None:
    return _json(record[name]) if name in record else None


def _json(value: object) -> str:
    """Return a value's canonical text: 1 and true, which Python takes for equal, are not."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
