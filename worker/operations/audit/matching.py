"""Match the records of a collection with their documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from worker.core.documents import MediaDocument, SyncState
from worker.operations.audit.claims import Claim
from worker.pds.repo_snapshot import CollectionRecords, RecordsByRef, StoredRecord
from worker.sync.plan import Plan


@dataclass(frozen=True, slots=True)
class Expected:
    """A document, its plan, and the CID of its expected record.

    `cid` is None if no record is expected or the record cannot be built.
    """

    document: MediaDocument
    plan: Plan
    cid: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """A document, its record, and further records of the same document."""

    expected: Expected
    own: StoredRecord | None
    duplicates: Sequence[StoredRecord] = ()


class RecordMatcher:
    """Matches the records of one collection of the repo `did` with documents.

    The record of a document is the one in its state, or else the oldest that names it. The record
    must name the document, or none: the state is not enough. Only flags of the matched records are
    kept in memory. Call `accept` before all other methods: the accepted records are not loaded.
    """

    def __init__(self, did: str, records: CollectionRecords) -> None:
        self._did = did
        self._records = records
        self._is_matched = bytearray(len(records))
        self._next = 0  # position

    @cached_property
    def _by_ref(self) -> RecordsByRef:
        return RecordsByRef(self._records, self._is_matched)

    def accept(self, claim: Claim) -> int | None:
        """Match the record of a claim, and return its position; None if it is another record.

        A document with further records is found by `retract`. Raises RepoDamagedError.
        """
        if claim.rkey is None:
            return None
        position = self._records.position(claim.rkey, near=self._next)
        if position is None or self._is_matched[position]:
            return None
        if self._records.cid(position) != claim.cid:
            return None
        self._is_matched[position] = True
        self._next = position + 1
        return position

    def retract(self, document: MediaDocument) -> bool:
        """Undo the acceptance of a document; return False if it was not accepted."""
        state = document.state
        position = self._records.position(state.rkey) if state.rkey else None
        if position is None or not self._is_matched[position]:
            return False
        if self._records.ref(position) != str(document.ref.id):
            return False
        self._is_matched[position] = False
        return True

    def match(self, expected: Expected, *, is_named: bool) -> Match:
        """Match a document; `is_named` is False if its `_id` in a record names another document.

        Raises RepoDamagedError.
        """
        ref = str(expected.document.ref.id) if is_named else None
        positions = self._by_ref.positions(ref) if ref else []
        claimed = self._claimed_position(expected.document.state, positions, ref)
        if claimed is not None:
            positions = [claimed, *(each for each in positions if each != claimed)]
        for position in positions:
            self._is_matched[position] = True
        records = [self._records.at(position) for position in positions]
        return Match(expected, records[0] if records else None, records[1:])

    def release(self, match: Match) -> None:
        """Undo a match."""
        for record in (match.own, *match.duplicates):
            if record and (position := self._records.position(record.rkey)) is not None:
                self._is_matched[position] = False

    def unmatched(self) -> Iterator[StoredRecord]:
        """Yield the records without a document; raises RepoDamagedError."""
        for position, is_matched in enumerate(self._is_matched):
            if not is_matched:
                yield self._records.at(position)

    def _claimed_position(
        self, state: SyncState, named: Sequence[int], ref: str | None
    ) -> int | None:
        """Return the position of the record in a state, if it is named or names no document.

        A record that names `ref` is not one of `named` if it was accepted before.
        """
        if state.rkey is None or state.repo not in {None, self._did}:
            return None
        for position in named:
            if self._records.rkey(position) == state.rkey:
                return position
        found = self._records.position(state.rkey)
        if found is None or self._is_matched[found]:
            return None
        return found if self._records.ref(found) in {None, ref} else None
