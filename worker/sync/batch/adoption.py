"""Adopting records that are there already: another program wrote them, or the state was lost.

Before a backfill first writes to a repo it reads the whole of it, in one call, and notes on each
document which record names it in `ref`. So no record gets a twin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from redis import Redis

from worker.core.documents import Account, DocumentId, MediaDocument, Status
from worker.core.ids import InvalidIdError, parse_id
from worker.core.redis_errors import redis_errors
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES, MediaType
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot, StoredRecord

_KEPT = 86_400  # seconds for which a backfill remembers what it has read
_CHUNK = 500
_OPEN = frozenset({None, Status.PENDING, Status.PARTIAL, Status.FAILED})


class Adoption:
    """Reads each repo once for each backfill."""

    def __init__(
        self, redis: Redis, locks: RepoLocks, store: DocumentStore, state_updates: StateUpdates
    ) -> None:
        self._redis = redis
        self._locks = locks
        self._store = store
        self._state_updates = state_updates

    def adopt(self, repo: Repo, account: Account, backfill: str) -> None:
        """Adopt an account's records, unless this backfill has done so.

        Raises the errors of the PDS, MongoDB and Redis; then nothing must be written yet.
        """
        done = f"media-atproto:adopted:{backfill}:{repo.did}"
        if self._is_there(done):
            return
        with self._locks.hold(repo.did):
            if self._is_there(done):
                return
            snapshot = RepoSnapshot.parse(repo.did, repo.export())
            for kind in MEDIA_TYPES.values():
                self._adopt(kind, account, snapshot)
            with redis_errors():
                self._redis.set(done, 1, ex=_KEPT)

    def _is_there(self, key: str) -> bool:
        with redis_errors():
            return bool(self._redis.exists(key))

    def _adopt(self, kind: MediaType, account: Account, snapshot: RepoSnapshot) -> None:
        by_ref = snapshot.by_ref(kind.nsid)
        refs = iter(by_ref)
        while chunk := list(islice(refs, _CHUNK)):
            ids = [loaded for ref in chunk for loaded in _ids(ref)]
            found = [
                state_update
                for document in self._store.find_all(kind, ids)
                if document.owner == account.subject
                and (records := by_ref.get(str(document.ref.id)))
                and (state_update := find_adoptions(document, account.did, records))
            ]
            self._state_updates.apply(kind, found, retry_at=None)


def find_adoptions(
    document: MediaDocument, did: str, records: Sequence[StoredRecord]
) -> StateUpdate | None:
    """Return what a document's state has to say, given the records that name it; None if it does.

    The record that the state names is kept, or else the first. What is settled is left alone.
    """
    state = document.state
    # What waited for an account has one now.
    is_open = state.status in _OPEN or state.reason == "no_account"
    if document.takedown_flag or not is_open or state.repo not in {None, did}:
        return None
    kept = next((record for record in records if record.rkey == state.rkey), records[0])
    if (state.repo, state.rkey, state.cid) == (did, kept.rkey, kept.cid):
        return None
    return StateUpdate(document, did, kept.rkey, kept.cid)


def _ids(ref: str) -> Iterator[DocumentId]:
    try:
        yield from parse_id(ref)
    except InvalidIdError:
        return
