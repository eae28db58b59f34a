"""What a new version of a published lexicon breaks for those who have the former one.

All old records must be valid by the new version, and all new ones by the old: a limit may be
neither tightened nor loosened. https://atproto.com/specs/lexicon#lexicon-evolution
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from worker.media.validation.errors import join, label

_NEW_NAME = "give the change a field, or an NSID, of its own"
OLD_RECORDS = f"records that are published may break the new version; {_NEW_NAME}"
OLD_READERS = f"readers with the published version may refuse new records; {_NEW_NAME}"
_BOTH = f"neither version takes all records of the other; {_NEW_NAME}"
_GONE = "what refers to it leads nowhere"

_UPPER = frozenset({"maxLength", "maxGraphemes", "maximum", "maxSize"})
_LOWER = frozenset({"minLength", "minGraphemes", "minimum"})
_CHOICES = frozenset({"enum", "accept"})  # everything, where it is absent
# What readers may be told anew at any time: it forbids no record.
_FREE = frozenset({"description", "knownValues", "default"})
_INSIDE = frozenset({"properties", "required", "nullable", "items", "refs", "record", "closed"})
_ANY_TYPE = "*/*"

Json = Mapping[str, object]
Direction = Literal[-1, 0, 1]


@dataclass(frozen=True, slots=True)
class BreakingChange:
    """One rule broken: the place in the document, what it was and is there (None: nothing), why."""

    path: str
    was: object
    now: object
    why: str


def breaking_changes(before: Json, after: Json) -> list[BreakingChange]:
    """Return what the lexicon document `after` breaks that was published as `before`."""
    old, new = _mapping(before.get("defs")), _mapping(after.get("defs"))
    found: list[BreakingChange] = []
    for name, definition in old.items():
        where = join("defs", label(name))
        if name in new:
            found += _compare_definition(_mapping(definition), _mapping(new[name]), where)
        else:
            found.append(BreakingChange(where, _kind(definition), None, _GONE))
    return found


def _compare_definition(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    if old.get("type") != new.get("type"):
        yield BreakingChange(join(path, "type"), old.get("type"), new.get("type"), _BOTH)
        return
    for keyword in sorted((old.keys() | new.keys()) - _FREE - _INSIDE - {"type"}):
        if old.get(keyword) != new.get(keyword):
            yield _compare_constraint(
                keyword, old.get(keyword), new.get(keyword), join(path, keyword)
            )
    for inner in ("record", "items"):
        if inner in old or inner in new:
            yield from _compare_definition(
                _mapping(old.get(inner)), _mapping(new.get(inner)), join(path, inner)
            )
    yield from _compare_object(old, new, path)
    yield from _compare_union(old, new, path)


def _compare_constraint(keyword: str, was: object, now: object, path: str) -> BreakingChange:
    """Return what a changed constraint breaks: the tighter one refuses what the other takes."""
    return BreakingChange(
        path, was, now, {-1: OLD_RECORDS, 0: _BOTH, 1: OLD_READERS}[_way(keyword, was, now)]
    )


def _way(keyword: str, was: object, now: object) -> Direction:
    """Tell whether a constraint became tighter (-1), looser (1), or another one (0)."""
    if was is None or now is None:
        return -1 if was is None else 1
    if isinstance(was, int) and isinstance(now, int) and keyword in _UPPER | _LOWER:
        return 1 if (now > was) == (keyword in _UPPER) else -1
    if isinstance(was, list) and isinstance(now, list) and keyword in _CHOICES:
        return _way_of_choices(set(map(str, was)), set(map(str, now)))
    return 0


def _way_of_choices(was: set[str], now: set[str]) -> Direction:
    if _covers(now, was):
        return 1
    return -1 if _covers(was, now) else 0


def _covers(all_of: set[str], some: set[str]) -> bool:
    """Tell whether one list of choices takes all that another does, patterns considered."""
    return all(
        not all_of.isdisjoint({_ANY_TYPE, choice.partition("/")[0] + "/*", choice})
        for choice in some
    )


def _compare_object(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    was, now = _mapping(old.get("properties")), _mapping(new.get("properties"))
    yield from _compare_required(old, new, path)
    yield from _compare_nullable(old, new, path)
    for name, definition in was.items():
        if name in now:
            where = join(join(path, "properties"), label(name))
            yield from _compare_definition(_mapping(definition), _mapping(now[name]), where)


def _compare_required(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    was, now = _names(old, "required"), _names(new, "required")
    kept = _mapping(new.get("properties"))
    known = _mapping(old.get("properties"))
    for name in sorted(was ^ now):
        where = join(join(path, "properties"), label(name))
        if name not in now:
            told = "optional" if name in kept else None
            yield BreakingChange(where, "required", told, OLD_READERS)
        else:
            told = "optional" if name in known else None
            yield BreakingChange(where, told, "required", OLD_RECORDS)


def _compare_nullable(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    was, now = _names(old, "nullable"), _names(new, "nullable")
    both = _mapping(old.get("properties")).keys() & _mapping(new.get("properties")).keys()
    for name in sorted((was ^ now) & both):
        where = join(join(path, "properties"), label(name))
        if name in was:
            yield BreakingChange(where, "nullable", "not nullable", OLD_RECORDS)
        else:
            yield BreakingChange(where, "not nullable", "nullable", OLD_READERS)


def _compare_union(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    """Compare unions: an open one takes types that nobody has named yet, a closed one does not."""
    was, now = bool(old.get("closed")), bool(new.get("closed"))
    if was != now:
        yield BreakingChange(join(path, "closed"), was, now, OLD_RECORDS if now else OLD_READERS)
    elif now and old.get("refs") != new.get("refs"):
        refs = _names(old, "refs"), _names(new, "refs")
        why = {-1: OLD_RECORDS, 0: _BOTH, 1: OLD_READERS}[_way_of_choices(*map(set, refs))]
        yield BreakingChange(join(path, "refs"), sorted(refs[0]), sorted(refs[1]), why)


def _names(definition: Json, keyword: str) -> frozenset[str]:
    value = definition.get(keyword)
    items: Iterable[object] = value if isinstance(value, list) else ()
    return frozenset(str(item) for item in items)


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _kind(definition: object) -> object:
    return _mapping(definition).get("type", "a definition")
