"""What `lexrpc` judges for us: types, lengths, ranges, enumerations and most string formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from worker.media.validation.errors import Fault, join, quote
from worker.media.validation.schema import Lexicon, Schema

_REASON = 120


class Library:
    """The lexicons as `lexrpc` holds them, parsed once.

    It is imported here, when the first record is validated, because that takes a sixth of a second
    that a producer should not pay.
    """

    def __init__(self, lexicons: Iterable[Lexicon]) -> None:
        from lexrpc.base import Base, ValidationError

        self._base = Base
        self._error = ValidationError
        self._known = self._load({lexicon.nsid: lexicon.record for lexicon in lexicons})

    def check(self, nsid: str, schema: Schema, record: Mapping[str, object]) -> None:
        """Check a record whose shape is right; raises Fault, naming the innermost field."""
        if self._reason(self._known, nsid, record) is not None:
            raise self._find(schema, record, "")

    def _load(self, schemas: Mapping[str, Schema]) -> Any:
        documents = [
            {"lexicon": 1, "id": nsid, "defs": {"main": {"type": "record", "record": part.library}}}
            for nsid, part in schemas.items()
        ]
        return self._base(lexicons=documents, require_lexicons=False)

    def _reason(self, base: Any, nsid: str, record: Mapping[str, object]) -> str | None:
        try:
            base.validate(nsid, "record", record)
        except self._error as error:
            return str(error)
        return None

    def _find(self, schema: Schema, value: object, path: str) -> Fault:
        """Narrow a refusal of `value` down to the innermost part that is refused by itself.

        The library's messages do not say where, so each part is tried alone. That is slow, but only
        a refused record pays for it.
        """
        for part, inner, where in _parts(schema, value, path):
            if self._alone(part, inner) is not None:
                return self._find(part, inner, where)
        return Fault(path, self._alone(schema, value) or "breaks the lexicon")

    def _alone(self, schema: Schema, value: object) -> str | None:
        """Say what the library has against `value` as the only field of a record, if anything."""
        single = Schema("object", {"type": "object", "properties": {"value": schema.library}})
        message = self._reason(self._load({"value": single}), "value", {"value": value})
        if message is None:
            return None
        reason = message.rpartition("`: ")[2].removeprefix(str(value)).strip()
        return f"{reason[-_REASON:]}, got {quote(value)}"


def _parts(schema: Schema, value: object, path: str) -> Iterator[tuple[Schema, object, str]]:
    """Yield what `value` is made of: each part's definition, value and path."""
    if isinstance(value, dict):
        for name, part in schema.properties.items():
            if value.get(name) is not None and part.kind != "blob":
                yield part, value[name], join(path, name)
    elif isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            yield schema.items, item, f"{path}[{index}]"
