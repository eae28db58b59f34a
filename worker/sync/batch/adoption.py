"""Save existing records on their documents before a backfill.

Another program wrote these records, or the states of their documents were lost. Before its first
write to a repo, a backfill exports the repo with one call, and finds the document of each record
by the record's field `ref`, or `mongoId` if it has no `ref`. This avoids duplicate records, and
writes of current records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from redis import Redis

from worker.core.documents import Account, MediaDocument, Status
from worker.core.ids import candidate_ids
from worker.core.redis_errors import redis_errors
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES, MediaType
from worker.media.validation import BlobRule, Lexicons
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot, StoredRecord
from worker.sync.existing_records import adopt_blobs

_KEPT = 86_400  # seconds for which Redis stores that a backfill has adopted the records of a repo
_CHUNK = 500
_OPEN = frozenset({None, Status.PENDING, Status.PARTIAL, Status.FAILED})


@dataclass(frozen=True, slots=True)
class Adoption:
    """Adopts the records of each repo once per backfill."""

    redis: Redis
    locks: RepoLocks
    store: DocumentStore
    state_updates: StateUpdates
    lexicons: Lexicons

    def adopt(self, repo: Repo, account: Account, backfill: str) -> None:
        """Save an account's records on its documents, unless this backfill has done so.

        Raises errors of the PDS, MongoDB and Redis. The caller must then not write to the repo.
        """
        done = f"media-atproto:adopted:{backfill}:{repo.did}"
        if self._exists(done):
            return
        with self.locks.hold(repo.did):
            if self._exists(done):
                return
            snapshot = RepoSnapshot.parse(repo.did, repo.export())
            for kind in MEDIA_TYPES.values():
                self._adopt(kind, account, snapshot)
            with redis_errors():
                self.redis.set(done, 1, ex=_KEPT)

    def _exists(self, key: str) -> bool:
        with redis_errors():
            return bool(self.redis.exists(key))

    def _adopt(self, kind: MediaType, account: Account, snapshot: RepoSnapshot) -> None:
        by_ref = snapshot.by_ref(kind.nsid)
        rules = self.lexicons.blob_rules(kind.nsid)
        refs = iter(by_ref)
        while chunk := list(islice(refs, _CHUNK)):
            ids = [each for ref in chunk for each in candidate_ids(ref)]
            found = [
                state_update
                for document in self.store.find_all(kind, ids)
                if document.owner == account.subject
                and (records := by_ref.get(str(document.ref.id)))
                and (state_update := _adopt_record(document, account.did, records, rules))
            ]
            self.state_updates.apply(kind, found, retry_at=None)


def _adopt_record(
    document: MediaDocument,
    did: str,
    records: Sequence[StoredRecord],
    rules: Mapping[str, BlobRule],
) -> StateUpdate | None:
    """Build the state update that saves one of `records` on its document.

    Prefers the record that is already in the state, then the first one. Returns None if the state
    is correct, or if the document is hidden, or its status or repo forbids an update.
    """
    state = document.state
    # An item that was skipped for lack of an account has one now.
    is_open = state.status in _OPEN or state.reason == "no_account"
    if document.hidden or not is_open or state.repo not in {None, did}:
        return None
    kept = next((record for record in records if record.rkey == state.rkey), records[0])
    if (state.repo, state.rkey, state.cid) == (did, kept.rkey, kept.cid):
        return None
    blobs = adopt_blobs(kept.value, rules, state.blobs)
    return StateUpdate(document, did, kept.rkey, kept.cid, blobs)
