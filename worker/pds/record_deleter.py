"""Removing many records of a repo, and knowing of each whether it is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.core.errors import TransientError
from worker.core.records import RecordKey, Write
from worker.pds.errors import RecordConflictError
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo

# A batch of deletes keeps the PDS from answering anyone else for as long as it takes.
BATCH = 100
_TRIES = 3


class RecordDeleter:
    """Deletes records by the batch, one by one where batches do not get through."""

    def __init__(self, locks: RepoLocks, *, batch: int = BATCH) -> None:
        self._locks = locks
        self._batch = batch

    def delete(self, repo: Repo, keys: Sequence[RecordKey]) -> Iterator[Sequence[RecordKey]]:
        """Delete records that were just listed; yield those that are known to be gone.

        The lock of the repo is held for one try of one batch, not while the caller works with
        what was yielded: that each batch names the commit it follows is what keeps it from
        undoing another's write. Raises WaitError, AccountError, TransientError when another
        worker keeps the lock or the PDS does not answer; what was yielded before stays gone.
        """
        distinct = list(dict.fromkeys(keys))  # one key twice fails a batch
        while distinct:
            room = repo.remaining_points()
            most = self._batch if room is None else max(1, min(self._batch, room))
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
        """Delete all in one batch, if it gets through; return the keys that are still there."""
        fault = self._apply(repo, keys)
        if fault is None:
            return frozenset()
        if isinstance(fault, RecordConflictError):
            return frozenset(keys)  # somebody wrote in between, and nothing was carried out
        # One of them was gone before, which fails all, or nobody knows what became of the call.
        # A call for each key: keys of a large collection may lie far apart in its listing.
        return frozenset(key for key in keys if repo.get(key))

    def _apply(self, repo: Repo, keys: Sequence[RecordKey]) -> TransientError | None:
        with self._locks.hold(repo.did):
            commit = repo.commit()
            try:
                repo.apply([Write("delete", key) for key in keys], commit)
            except TransientError as error:
                return error
        return None
