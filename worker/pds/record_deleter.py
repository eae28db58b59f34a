"""Delete many records of a repo in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.core.errors import TransientError
from worker.core.records import RecordKey, Write
from worker.pds.errors import RecordConflictError
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo

BATCH = 100  # records; the PDS answers no other call while it deletes a batch
_TRIES = 3


class RecordDeleter:
    """Deletes records in batches, or one by one if a batch fails repeatedly."""

    def __init__(self, locks: RepoLocks, *, batch: int = BATCH) -> None:
        self._locks = locks
        self._batch = batch

    def delete(self, repo: Repo, keys: Sequence[RecordKey]) -> Iterator[Sequence[RecordKey]]:
        """Delete records, and yield their keys once they are deleted.

        Keys of missing records are yielded too. The repo's lock is held during each batch, but not
        while the caller handles the yielded keys. The PDS rejects a batch if the repo has changed.
        Raises the errors of Repo, and TransientError if another worker keeps the lock. Keys
        yielded before an error stay deleted.
        """
        distinct = list(dict.fromkeys(keys))  # a duplicate key fails a batch
        while distinct:
            points = repo.remaining_points()
            most = self._batch if points is None else max(1, min(self._batch, points))
            yield from self._delete_batch(repo, distinct[:most])
            distinct = distinct[most:]

    def _delete_batch(self, repo: Repo, keys: Sequence[RecordKey]) -> Iterator[Sequence[RecordKey]]:
        for _ in range(_TRIES):
            left = self._try(repo, keys)
            if gone := [key for key in keys if key not in left]:
                yield gone
            if not left:
                return
            keys = [key for key in keys if key in left]
        for key in keys:
            repo.delete(key)
            yield [key]

    def _try(self, repo: Repo, keys: Sequence[RecordKey]) -> frozenset[RecordKey]:
        """Delete records in one batch; return the keys that still exist."""
        with self._locks.hold(repo.did, repo.hold_waiting):
            commit = repo.commit()
            try:
                repo.apply([Write("delete", key) for key in keys], commit)
            except RecordConflictError:
                return frozenset(keys)  # another write changed the repo, and nothing was deleted
            except TransientError:
                pass  # a record was missing, or the result is unknown
            else:
                return frozenset()
        # One call per key: in a large collection, the keys may be on many pages of its listing.
        return frozenset(key for key in keys if repo.get(key))
