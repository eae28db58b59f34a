"""Withdraw failed removals whose documents were inserted again."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.ids import candidate_ids
from worker.database.removals import Removal, Removals
from worker.database.store import DocumentStore
from worker.media import media_type

_LIMIT = 100  # removals checked by one sweep


@dataclass(frozen=True, slots=True)
class FailedRemovals:
    """Finds failed removals, which are not retried, and deletes those that are no longer needed.

    The runs of documents do not check this, because it would cost each save a call.
    """

    store: DocumentStore
    removals: Removals

    def withdraw(self) -> None:
        """Delete the failed removals of documents that exist, among up to 100 random ones."""
        for removal in self.removals.sample_failed(_LIMIT):
            if self._has_document(removal):
                self.removals.withdraw_failed(removal)

    def _has_document(self, removal: Removal) -> bool:
        kind = media_type(removal.type)
        if removal.id is not None:
            owned = self.store.find_owners(kind, candidate_ids(removal.id))
        elif removal.rkey is not None:
            owned = self.store.find_owners_of_key(kind, removal.rkey)
        else:
            return False
        return any(each.owner == removal.user for each in owned)
