"""Writing many records of one account: applyWrites under the repo's lock, all or none a chunk.

After any doubt (no answer, a fault of the server, somebody else's commit) the repo itself is
asked what is there, and only what is missing is sent. A chunk that is refused is halved until
the culprit stands alone; that one is handed back, for the path of single items to deal with.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from worker.core.errors import MediaError, PermanentError, TransientError, WaitError
from worker.core.records import Write
from worker.pds.client import POINTS
from worker.pds.errors import BlobNotFoundError
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.publisher import PreparedRecord

_MAX_BYTES = 900_000  # of JSON in a call; a PDS takes 1,000,000
_OVERHEAD = 300  # bytes of a write besides its record's
_MAX_LOOKS = 3
_MAX_REJECTED = 3


@dataclass(slots=True)
class WriteResult:
    """What became of prepared records: in the repo, refused by themselves, or not written."""

    written: list[PreparedRecord] = field(default_factory=list)
    rejected: list[PreparedRecord] = field(default_factory=list)
    failed: list[tuple[PreparedRecord, MediaError]] = field(default_factory=list)

    @property
    def is_hopeless(self) -> bool:
        """Tell whether nothing at all was written, of several that were tried one by one."""
        return not self.written and len(self.rejected) >= _MAX_REJECTED


class Writer:
    """Writes prepared records."""

    def __init__(self, locks: RepoLocks, throttle: BulkThrottle) -> None:
        self._locks = locks
        self._throttle = throttle

    def write(self, repo: Repo, records: Sequence[PreparedRecord]) -> WriteResult:
        """Write all records; each is in one of the three lists of the result.

        Once the PDS does not answer, asks to wait, or carries out nothing that it is asked for,
        nothing more is sent.
        """
        result = WriteResult()
        if not records:
            return result
        waiting = deque(records)
        try:
            with self._locks.hold(repo.did):
                while waiting:
                    with self._throttle.slot() as most:
                        chunk = _chunk(waiting, _max_writes(repo, most))
                        self._settle(repo, chunk, result)
        except MediaError as error:
            settled = {item.key for item in (*result.written, *result.rejected)}
            rest = (item for item in records if item.key not in settled)
            result.failed += [(item, error) for item in rest]
        return result

    def _settle(self, repo: Repo, chunk: Sequence[PreparedRecord], result: WriteResult) -> None:
        """Write a chunk, halving it as long as it is refused."""
        parts = deque([chunk])
        while parts:
            part = parts.popleft()
            try:
                self._send(repo, part)
            except (PermanentError, BlobNotFoundError, _RefusedError) as refusal:
                if len(part) > 1:
                    parts.extendleft(_split(part))
                    continue
                result.rejected += part
                if isinstance(refusal, _RefusedError) and result.is_hopeless:
                    raise
            else:
                result.written += part

    def _send(self, repo: Repo, part: Sequence[PreparedRecord]) -> None:
        """Send a chunk, and after any doubt what of it is not there."""
        writes = [_write_of(item, exists=item.run.state.cid is not None) for item in part]
        for _ in range(_MAX_LOOKS):
            commit = repo.commit()
            for item in part:
                item.run.begin_write(item.key)
            try:
                repo.apply(writes, commit)
            except (BlobNotFoundError, WaitError):
                raise
            except TransientError:
                writes = list(_missing(repo, part))
                if not writes:
                    return
            else:
                return
        raise _RefusedError(f"the PDS carries out no write of these {len(part)}")


class _RefusedError(TransientError):
    """A PDS that answers does not carry out a chunk, and does not say why."""

    step, code = "write", "writes_refused"


def _write_of(item: PreparedRecord, *, exists: bool) -> Write:
    """Return the write that updates the existing record, or creates it."""
    return Write("update" if exists else "create", item.key, item.record)


def _max_writes(repo: Repo, most: int) -> int:
    """Return how many creates the repo's budget has room for; where that is none, it says so."""
    room = repo.remaining_points()
    return most if room is None else max(1, min(most, room // POINTS["create"]))


def _chunk(waiting: deque[PreparedRecord], most: int) -> list[PreparedRecord]:
    """Take the next records that go into one call."""
    chunk: list[PreparedRecord] = []
    size = 0
    while waiting and len(chunk) < most:
        size += len(json.dumps(waiting[0].record, ensure_ascii=False).encode()) + _OVERHEAD
        if chunk and size > _MAX_BYTES:
            break
        chunk.append(waiting.popleft())
    return chunk


def _split(part: Sequence[PreparedRecord]) -> list[Sequence[PreparedRecord]]:
    """Return both halves, at random: those that are tried first are not the same each time."""
    half = len(part) // 2
    return random.sample((part[:half], part[half:]), 2)


def _missing(repo: Repo, part: Sequence[PreparedRecord]) -> Iterator[Write]:
    """Look which records are not in the repo as they should be; yield the writes that do it."""
    by_collection: dict[str, list[PreparedRecord]] = {}
    for item in part:
        by_collection.setdefault(item.key.collection, []).append(item)
    for collection, items in by_collection.items():
        keys = sorted(item.key.rkey for item in items)
        listed = repo.records_between(collection, keys[0], keys[-1])
        there = {record.rkey: record.cid for record in listed}
        for item in items:
            if there.get(item.key.rkey) != item.cid:
                yield _write_of(item, exists=item.key.rkey in there)
