"""Report what a backfill would do, without any write.

The items of the backfill are compared with the records in the repos of their accounts. No file is
read: a missing thumbnail counts as a change, a missing recording does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from worker.core.documents import Account, MediaDocument
from worker.core.errors import MediaError, PermanentError
from worker.media import MediaType
from worker.operations.backfill.planner import BackfillPlanner, Scope
from worker.operations.expected import ExpectedRecords, compare
from worker.pds.repo_snapshot import RecordsByRef, RepoSnapshot, StoredRecord
from worker.services import Services
from worker.sync.plan import Publish, Remove, plan


class Effect(StrEnum):
    """What a backfill would do with an item; CURRENT: save the state, write no record."""

    NEW = "new"
    CHANGED = "changed"
    CURRENT = "current"
    REMOVED = "removed"
    REJECTED = "rejected"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Rehearsal:
    """The number of items by type and effect, with details.

    `fields` counts the record fields that would change, `rejections` the error codes, both by
    type. `unreadable` maps the subjects of accounts whose repo cannot be read to the error.
    """

    effects: Counter[tuple[str, Effect]] = field(default_factory=Counter)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejections: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def has_faults(self) -> bool:
        """Return whether an item would fail, or an account could not be checked."""
        return bool(self.rejections or self.unreadable)


def rehearse(services: Services, scope: Scope) -> Rehearsal:
    """Compare the items of a backfill with their records; raises StoreUnavailableError.

    Reads one repo after the other.
    """
    planner, rehearsal = BackfillPlanner.of(services), Rehearsal()
    for owner in sorted(planner.preview(scope).owners):
        done = rehearsal.effects.total()
        left = None if scope.limit is None else scope.limit - done
        account = services.storage.accounts.find(owner)
        if account is None or left == 0:
            continue
        try:
            snapshot = services.pds.repo(account).export()
        except MediaError as error:
            rehearsal.unreadable[owner] = error.message
            continue
        expected_records = ExpectedRecords(services.media.site, services.media.lexicons)
        comparison = _AccountComparison(expected_records, account, snapshot, rehearsal)
        for batch in planner.batches(replace(scope, owners=[owner], limit=left)):
            for document in services.storage.store.find_all(batch.kind, batch.ids):
                comparison.add(batch.kind, document)
    return rehearsal


@dataclass(slots=True)
class _AccountComparison:
    """Compares documents of one account with its repo, and counts the results."""

    expected_records: ExpectedRecords
    account: Account
    snapshot: RepoSnapshot
    result: Rehearsal
    _records: dict[str, Mapping[str, StoredRecord]] = field(default_factory=dict)
    _by_ref: dict[str, RecordsByRef] = field(default_factory=dict)

    def add(self, kind: MediaType, document: MediaDocument) -> None:
        """Count one document, and the record fields that would change."""
        self.result.effects[kind.name, self._effect(kind, document)] += 1

    def _effect(self, kind: MediaType, document: MediaDocument) -> Effect:
        found = self._find(kind, document)
        decision = plan(kind, document, self.account)
        if isinstance(decision, Remove) and found:
            return Effect.REMOVED
        if not isinstance(decision, Publish):
            return Effect.SKIPPED
        try:
            changes = set(self._changes(kind, document, found))
        except PermanentError as error:
            self.result.rejections[kind.name, error.code] += 1
            return Effect.REJECTED
        if found is None:
            return Effect.NEW
        self.result.fields.update((kind.name, name) for name in changes)
        return Effect.CHANGED if changes else Effect.CURRENT

    def _find(self, kind: MediaType, document: MediaDocument) -> StoredRecord | None:
        """Return the record that names a document, or else the one at its key; or None.

        A record at its key that names another document belongs to that one.
        """
        if kind.nsid not in self._records:
            self._records[kind.nsid] = self.snapshot.records(kind.nsid)
            self._by_ref[kind.nsid] = self.snapshot.by_ref(kind.nsid)
        state = document.state
        if named := self._by_ref[kind.nsid].choose(str(document.ref.id), state.rkey):
            return named
        if state.rkey is None or state.repo not in {None, self.account.did}:
            return None
        found = self._records[kind.nsid].get(state.rkey)
        return found if found and found.ref is None else None

    def _changes(
        self, kind: MediaType, document: MediaDocument, found: StoredRecord | None
    ) -> Iterator[str]:
        """Yield the record fields that would change; raises PermanentError if invalid."""
        draft = self.expected_records.draft(kind, document, self.account)
        value = found.value if found else None
        wanted = self.expected_records.valid_record(document, draft, value)
        if found is None or value is None:
            return
        if not self.expected_records.is_current(kind, document, self.account, found):
            yield from (each.field.partition(".")[0] for each in compare(wanted, value))
        optional = {*kind.additions, *value}
        yield from (name for name in draft.blobs if name not in optional)
