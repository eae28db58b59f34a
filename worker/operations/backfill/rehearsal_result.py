"""The result of a dry run: numbers by type, effect, field and reason, and sample records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from worker.core.documents import DocumentId
from worker.database.store import invalid_id_error
from worker.media import MediaType
from worker.operations.backfill.rehearsed_item import (
    UNREAD_CID,
    Effect,
    Reason,
    RehearsedItem,
    reason_of,
)
from worker.operations.expected import Record
from worker.sync.batch.progress import BackfillProgress

UNREAD = "(file not read)"
_MAX_ACCOUNTS = 20  # whose errors are kept
_NOT_DONE = frozenset({Effect.PARTIAL, Effect.FAILED})


@dataclass(frozen=True, slots=True)
class ReasonKey:
    """Items with the same reason: `field` is a field of the document or record, or empty."""

    type: str
    effect: Effect
    field: str
    code: str


@dataclass(frozen=True, slots=True)
class Sample:
    """An item with its record: as it would be written or, if it stays, as it is published.

    `uri` is None if the item has no record key. `uploads` are the fields of the blobs that would
    be uploaded. In the record, these have the CIDs of their contents, or are `UNREAD`.
    """

    type: str
    id: DocumentId
    effect: Effect
    uri: str | None
    record: Record | None
    changes: tuple[str, ...]
    uploads: tuple[str, ...]
    reasons: tuple[Reason, ...]


@dataclass(slots=True)
class Rehearsal:
    """The number of items by type and effect, with details.

    `fields` counts the fields of existing records that would change, by type. `reasons` counts the
    reasons of items that would not be synced; `examples` are the id and message of the first one.
    `missing` counts published items without a record by subject. `accounts` are the errors of up
    to 20 of the `unreadable` accounts by subject. `invalid_ids` are the type and `_id` of items
    whose `_id` cannot be sent in a message. Up to `wanted` samples are kept for each type and
    effect.
    """

    wanted: int = 0
    effects: Counter[tuple[str, Effect]] = field(default_factory=Counter)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[ReasonKey] = field(default_factory=Counter)
    examples: dict[ReasonKey, tuple[str, str]] = field(default_factory=dict)
    missing: Counter[str] = field(default_factory=Counter)
    accounts: dict[str, str] = field(default_factory=dict)
    unreadable: int = 0
    invalid_ids: set[tuple[str, str]] = field(default_factory=set)
    samples: list[Sample] = field(default_factory=list)

    def items_of(self, *effects: str) -> int:
        """Return the number of items with one of these effects."""
        return sum(number for (_, effect), number in self.effects.items() if effect in effects)

    @property
    def has_faults(self) -> bool:
        """Return whether an item would fail, or be published without a file."""
        return self.items_of(*_NOT_DONE) > 0

    @property
    def progress(self) -> BackfillProgress:
        """Return the results so far, to be shown like those of a backfill."""
        ended = {(name, str(effect)): number for (name, effect), number in self.effects.items()}
        faults = Counter[tuple[str, str]]()
        for key, number in self.reasons.items():
            if key.effect in _NOT_DONE:
                faults[key.type, key.code] += number
        return BackfillProgress(0, ended, faults)

    def add(self, item: RehearsedItem, published: Callable[[], Record | None]) -> None:
        """Count an item; `published` reads its existing record for a sample."""
        name = item.kind.name
        self.fields.update((name, changed) for changed in item.changes)
        self.count(name, item.effect, item.reasons, item.document.ref.id)
        if self.effects[name, item.effect] <= self.wanted:
            record = item.written or published()
            self.samples.append(_build_sample(item, record))

    def count(
        self, name: str, effect: Effect, reasons: Sequence[Reason], item: object, number: int = 1
    ) -> None:
        """Count items of a type with the same effect and reasons; `item` is the id of one."""
        self.effects[name, effect] += number
        for reason in reasons:
            key = ReasonKey(name, effect, reason.field, reason.code)
            self.reasons[key] += number
            self.examples.setdefault(key, (str(item), reason.message))

    def count_invalid_id(self, kind: MediaType, raw_id: object) -> None:
        """Count an item whose `_id` cannot be sent in a message; only once if it is found again."""
        key = (kind.name, repr(raw_id))
        if key not in self.invalid_ids:
            self.invalid_ids.add(key)
            reason = reason_of(invalid_id_error(raw_id))
            self.count(kind.name, Effect.FAILED, [reason], raw_id)

    def add_unreadable(self, subject: str, message: str) -> None:
        """Count an account whose repo cannot be read, and keep some of the errors."""
        self.unreadable += 1
        if len(self.accounts) < _MAX_ACCOUNTS:
            self.accounts[subject] = message


def _build_sample(item: RehearsedItem, record: Record | None) -> Sample:
    blobs = {name: _blob_cid(value) for name, value in (record or {}).items()}
    unread = {name: UNREAD for name, cid in blobs.items() if cid == UNREAD_CID}
    return Sample(
        type=item.kind.name,
        id=item.document.ref.id,
        effect=item.effect,
        uri=item.uri,
        record=None if record is None else {**record, **unread},
        changes=item.changes,
        uploads=tuple(name for name, cid in blobs.items() if cid in item.uploads),
        reasons=item.reasons,
    )


def _blob_cid(value: object) -> object:
    """Return the CID of a blob reference; None for other values."""
    ref = value.get("ref") if isinstance(value, Mapping) else None
    return ref.get("$link") if isinstance(ref, Mapping) else None
