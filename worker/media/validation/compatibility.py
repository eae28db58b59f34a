"""Find breaking changes between two versions of a lexicon.

Old records must be valid in the new version and new records in the old version, so limits may be
neither tightened nor loosened. https://atproto.com/specs/lexicon#lexicon-evolution
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from worker.media.validation.errors import join, label

_ADVICE = "give the change a field, or an NSID, of its own"
OLD_RECORDS = f"records that are published may break the new version; {_ADVICE}"
OLD_READERS = f"readers with the published version may refuse new records; {_ADVICE}"
_BOTH = f"neither version takes all records of the other; {_ADVICE}"
_MISSING = "what refers to it leads nowhere"

_UPPER = frozenset({"maxLength", "maxGraphemes", "maximum", "maxSize"})
_LOWER = frozenset({"minLength", "minGraphemes", "minimum"})
_CHOICES = frozenset({"enum", "accept"})  # without the keyword, any value is allowed
# These keywords do not restrict records, so they may change.
_FREE = frozenset({"description", "knownValues", "default"})
_COMPARED_APART = frozenset(
    {"type", "properties", "required", "nullable", "items", "refs", "record", "closed"}
)
_ANY_TYPE = "*/*"

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BreakingChange:
    """A breaking change: path, old and new value (None if absent), and reason."""

    path: str
    was: object
    now: object
    why: str


def breaking_changes(before: Json, after: Json) -> list[BreakingChange]:
    """Return the breaking changes between two versions of a lexicon document."""
    old, new = _mapping(before.get("defs")), _mapping(after.get("defs"))
    found: list[BreakingChange] = []
    for name, definition in old.items():
        path = join("defs", label(name))
        if name in new:
            found += _compare_definition(_mapping(definition), _mapping(new[name]), path)
        else:
            kind = _mapping(definition).get("type", "a definition")
            found.append(BreakingChange(path, kind, None, _MISSING))
    return found


def _compare_definition(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    if old.get("type") != new.get("type"):
        yield BreakingChange(join(path, "type"), old.get("type"), new.get("type"), _BOTH)
        return
    for keyword in sorted((old.keys() | new.keys()) - _FREE - _COMPARED_APART):
        was, now = old.get(keyword), new.get(keyword)
        if was != now:
            yield BreakingChange(join(path, keyword), was, now, _why(keyword, was, now))
    for inner in ("record", "items"):
        if inner in old or inner in new:
            parts = _mapping(old.get(inner)), _mapping(new.get(inner))
            yield from _compare_definition(*parts, join(path, inner))
    yield from _compare_flags(old, new, join(path, "properties"))
    yield from _compare_properties(old, new, join(path, "properties"))
    yield from _compare_union(old, new, path)


def _why(keyword: str, was: object, now: object) -> str:
    """Return why a changed constraint is breaking: which version is stricter."""
    if was is None or now is None:
        return OLD_RECORDS if was is None else OLD_READERS
    if isinstance(was, int) and isinstance(now, int) and keyword in _UPPER | _LOWER:
        return OLD_READERS if (now > was) == (keyword in _UPPER) else OLD_RECORDS
    if isinstance(was, list) and isinstance(now, list) and keyword in _CHOICES:
        return _why_of_choices(set(map(str, was)), set(map(str, now)))
    return _BOTH


def _why_of_choices(was: set[str], now: set[str]) -> str:
    if _covers(now, was):
        return OLD_READERS
    return OLD_RECORDS if _covers(was, now) else _BOTH


def _covers(choices: set[str], others: set[str]) -> bool:
    """Return whether `choices`, which may be MIME patterns, include all `others`."""
    return all(
        not choices.isdisjoint({_ANY_TYPE, other.partition("/")[0] + "/*", other})
        for other in others
    )


def _compare_flags(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    """Yield changes of required properties, and of nullable properties in both."""
    for name in sorted(_names(old, "required") ^ _names(new, "required")):
        was, now = (_flag(each, name, "required", "optional") for each in (old, new))
        why = OLD_RECORDS if now == "required" else OLD_READERS
        yield BreakingChange(join(path, label(name)), was, now, why)
    common = _properties(old).keys() & _properties(new).keys()
    for name in sorted((_names(old, "nullable") ^ _names(new, "nullable")) & common):
        was, now = (_flag(each, name, "nullable", "not nullable") for each in (old, new))
        why = OLD_READERS if now == "nullable" else OLD_RECORDS
        yield BreakingChange(join(path, label(name)), was, now, why)


def _flag(definition: Json, name: str, keyword: str, otherwise: str) -> str | None:
    if name in _names(definition, keyword):
        return keyword
    return otherwise if name in _properties(definition) else None


def _compare_properties(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    now = _properties(new)
    for name, definition in _properties(old).items():
        if name in now:
            parts = _mapping(definition), _mapping(now[name])
            yield from _compare_definition(*parts, join(path, label(name)))


def _compare_union(old: Json, new: Json, path: str) -> Iterator[BreakingChange]:
    """Yield changes of a union; only a closed union rejects unlisted types."""
    was, now = bool(old.get("closed")), bool(new.get("closed"))
    if was != now:
        yield BreakingChange(join(path, "closed"), was, now, OLD_RECORDS if now else OLD_READERS)
    elif now and old.get("refs") != new.get("refs"):
        refs = _names(old, "refs"), _names(new, "refs")
        why = _why_of_choices(*map(set, refs))
        yield BreakingChange(join(path, "refs"), sorted(refs[0]), sorted(refs[1]), why)


def _properties(definition: Json) -> Json:
    return _mapping(definition.get("properties"))


def _names(definition: Json, keyword: str) -> frozenset[str]:
    value = definition.get(keyword)
    items: Iterable[object] = value if isinstance(value, list) else ()
    return frozenset(str(item) for item in items)


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}
