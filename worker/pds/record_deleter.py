"""Delete many records of a repo, and report which ones are gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.core.errors import TransientError
from worker.core.records import RecordKey, Write
from worker.pds.errors import RecordConflictError
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo

BATCH = 100  # the PDS answers no other call while it carries out a batch of deletes
_TRIES = 3


class RecordDeleter:
    """Deletes records in batches, and one by one where batches fail."""

    def __init__(self, locks: RepoLocks, *, batch: int = BATCH) -> None:
        self._locks = locks
        self._batch = batch

    def delete(self, repo: Repo, keys: Sequence[RecordKey]) -> Iterator[Sequence[RecordKey]]:
        """Delete records that were just listed; yield those that are known to be gone.

        The lock of the repo is held for each try of a batch only, not while the caller handles
        what was yielded: a batch names the commit it follows, so it cannot undo another write.
        Raises WaitError, AccountError, and TransientError if another worker keeps the lock or the
        PDS does not answer; what was yielded before stays gone.
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
        """Delete records in one batch; return the keys that still exist if it fails."""
        with self._locks.hold(repo.did):
            commit = repo.commit()
            try:
                repo.apply([Write("delete", key) for key in keys], commit)
            except RecordConflictError:
                return frozenset(keys)  # another program has written, and nothing was deleted
            except TransientError:
                pass  # a missing key fails the batch, or the result is unknown
            else:
                return frozenset()
        # One call for each key: the keys of a large collection may be far apart in its listing.
        return frozenset(key for key in keys if repo.get(key))
