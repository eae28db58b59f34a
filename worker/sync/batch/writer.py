"""Write many records of one account with applyWrites, holding the repo's lock.

A PDS writes all records of a chunk or none. After no answer, a server error or a commit of another
program, the writer reads the records of the chunk and sends only the missing ones again. It splits
a rejected chunk in halves until the invalid record is alone; `Engine` then syncs that document. A
page of a gateway rejects a chunk too, because the content of one record may be the reason.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from worker.core.errors import MediaError, PermanentError, TransientError, WaitError
from worker.core.records import RecordKey, RemoteRecord, Write
from worker.pds.client import POINTS
from worker.pds.errors import BlobNotFoundError, GatewayError
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo
from worker.sync.batch.throttle import BulkThrottle
from worker.sync.ownership import RecordNotProvenError, check_owner, read_replaced
from worker.sync.publisher import PreparedRecord

_MAX_BYTES = 900_000  # of JSON in a call; a PDS takes 1,000,000
_OVERHEAD = 300  # bytes of a write without its record
_MAX_TRIES = 3
_MAX_REJECTED = 3
_LISTED_PER_KEY = 3  # records of a listing; a page of 100 takes as long as one or two reads


@dataclass(slots=True)
class WriteResult:
    """Records that were written, rejected individually, or failed with an error."""

    written: list[PreparedRecord] = field(default_factory=list)
    rejected: list[PreparedRecord] = field(default_factory=list)
    failed: list[tuple[PreparedRecord, MediaError]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes prepared records of one collection."""

    locks: RepoLocks
    throttle: BulkThrottle

    def write(self, repo: Repo, records: Sequence[PreparedRecord]) -> WriteResult:
        """Write records; return each record in one of the three lists of the result.

        Stops if the PDS does not answer, asks to wait, or gives no reason for rejecting three
        records before any is written. The remaining records are then in `failed`.
        """
        result = WriteResult()
        if not records:
            return result
        waiting = deque(records)
        try:
            with self.locks.hold(repo.did, repo.hold_waiting):
                while waiting:
                    with self.throttle.slot(repo.host, repo.hold_waiting) as most:
                        chunk = _chunk(waiting, _max_writes(repo, most))
                        _settle(repo, _own_records(repo, chunk, result), result)
        except MediaError as error:
            settled = {item.key for item in (*result.written, *result.rejected)}
            rest = (item for item in records if item.key not in settled)
            result.failed += [(item, error) for item in rest]
        return result


class _RefusedError(TransientError):
    """The PDS did not write a chunk, and gave no reason."""

    step, code = "write", "writes_refused"


_UNEXPLAINED = (_RefusedError, GatewayError)


def _own_records(
    repo: Repo, chunk: Sequence[PreparedRecord], result: WriteResult
) -> Sequence[PreparedRecord]:
    """Return the records that may be written; add the others to `rejected` of the result.

    Updates are checked here. If a record to create exists, its call fails; see `_missing`.
    """
    own = []
    for item in chunk:
        try:
            if item.run.state.cid:
                read_replaced(item.run, repo, item.key)
            own.append(item)
        except (RecordNotProvenError, GatewayError) as refusal:
            _reject([item], refusal, result)
    return own


def _reject(items: Sequence[PreparedRecord], refusal: MediaError, result: WriteResult) -> None:
    """Add records to `rejected`; raise `refusal` if all are rejected without a reason."""
    result.rejected += items
    is_hopeless = not result.written and len(result.rejected) >= _MAX_REJECTED
    if isinstance(refusal, _UNEXPLAINED) and is_hopeless:
        raise refusal


def _settle(repo: Repo, chunk: Sequence[PreparedRecord], result: WriteResult) -> None:
    """Write a chunk, halving rejected parts; add each record to `result`."""
    parts = deque([chunk] if chunk else [])
    while parts:
        part = parts.popleft()
        try:
            _send(repo, part)
        except (PermanentError, BlobNotFoundError, *_UNEXPLAINED) as refusal:
            if len(part) > 1:
                half = len(part) // 2
                # In random order, so that retries do not always start with the same half.
                parts.extendleft(random.sample((part[:half], part[half:]), 2))
                continue
            _reject(part, refusal, result)
        else:
            result.written += part


def _send(repo: Repo, part: Sequence[PreparedRecord]) -> None:
    """Send a chunk; after a TransientError, send only the missing records again."""
    writes = [_write_of(item, exists=item.run.state.cid is not None) for item in part]
    for _ in range(_MAX_TRIES):
        commit = repo.commit()
        for item in part:
            item.run.begin_write(item.key)
        try:
            repo.apply(writes, commit)
        except (BlobNotFoundError, WaitError):
            raise
        except TransientError as error:
            writes = list(_missing(repo, part))
            if not writes:
                return
            if isinstance(error, GatewayError):
                raise
        else:
            return
    raise _RefusedError(f"the PDS carries out no write of these {len(part)}")


def _write_of(item: PreparedRecord, *, exists: bool) -> Write:
    return Write("update" if exists else "create", item.key, item.record)


def _max_writes(repo: Repo, most: int) -> int:
    """Return how many of `most` creates the rate limit allows now, at least 1."""
    points = repo.remaining_points()
    return most if points is None else max(1, min(most, points // POINTS["create"]))


def _chunk(waiting: deque[PreparedRecord], most: int) -> list[PreparedRecord]:
    """Remove the next records that fit into one call from `waiting`; return them."""
    chunk: list[PreparedRecord] = []
    size = 0
    while waiting and len(chunk) < most:
        size += len(json.dumps(waiting[0].record, ensure_ascii=False).encode()) + _OVERHEAD
        if chunk and size > _MAX_BYTES:
            break
        chunk.append(waiting.popleft())
    return chunk


def _missing(repo: Repo, part: Sequence[PreparedRecord]) -> Iterator[Write]:
    """Read the repo; yield the writes of records that are missing or different there.

    Raises RecordNotProvenError if a record there belongs to another document.
    """
    existing = existing_records(repo, [item.key for item in part])
    for item in part:
        record = existing.get(item.key.rkey)
        if record is None or record.cid != item.cid:
            check_owner(item.run, item.key, record)
            yield _write_of(item, exists=record is not None)


def existing_records(repo: Repo, keys: Sequence[RecordKey]) -> Mapping[str, RemoteRecord]:
    """Return the existing records with some of `keys`, by record key.

    The keys may be close together or have any number of other records between them. Therefore only
    a part of the collection is listed, and keys beyond that part are read one by one.
    """
    ordered = sorted(keys, key=lambda key: key.rkey)
    first, last = ordered[0], ordered[-1]
    between = repo.records_between(first.collection, first.rkey, last.rkey)
    most = _LISTED_PER_KEY * len(keys)
    listed = {record.rkey: record for record in islice(between, most)}
    if len(listed) == most:
        end = max(listed)
        beyond = (repo.get(key) for key in ordered if key.rkey > end)
        listed |= {record.rkey: record for record in beyond if record}
    return listed
