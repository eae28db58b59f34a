"""The records of a batch in the making: from drafts to records that are ready to be written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.cid import cid_of_record
from worker.core.errors import MediaError, WaitError
from worker.media import Draft
from worker.pds.repo import Repo
from worker.sync.attachments import Material, PartMaker
from worker.sync.batch.throttle import Pace
from worker.sync.batch.workshop import Workshop
from worker.sync.batch.writer import Prepared
from worker.sync.publisher import Publisher
from worker.sync.run import Run

T = TypeVar("T")
Drafted = tuple[Run, Draft]
Made = Prepared | MediaError | None
_Ready = Mapping[str, Material] | MediaError | None


@dataclass(slots=True)
class RecordMaker:
    """Makes the records of one repo.

    For a record that cannot be made there is the error, or None where nobody expected it.
    """

    publisher: Publisher
    workshop: Workshop
    pace: Pace
    repo: Repo
    _told_to_wait: WaitError | None = None

    def plain(self, drafted: Sequence[Drafted]) -> Iterator[tuple[Run, Made]]:
        """Make records that need no files, one after the other."""
        parts = self.publisher.parts
        for run, draft in drafted:
            yield run, self._make(parts, run, draft, self._prepare(parts, (run, draft)))

    def with_files(self, drafted: Sequence[Drafted]) -> Iterator[tuple[Run, Made]]:
        """Make records that need files: those of some are made, then uploaded in one go.

        A PDS that is asked now and then needs half as much again for each upload. Meanwhile the
        files of the next ones are being made.
        """
        at_once = self.pace.uploads()
        drafts = [draft for _, draft in drafted]
        with (
            _threads(at_once) as makers,
            _threads(at_once) as senders,
            self.workshop.open(drafts, makers) as parts,
        ):
            ahead: deque[tuple[Sequence[Drafted], Iterator[_Ready]]] = deque()
            for start in range(0, len(drafted), at_once):
                some = drafted[start : start + at_once]
                ahead.append((some, makers.map(partial(self._prepare, parts), some)))
                if start:
                    yield from self._sent(senders, parts, *ahead.popleft())
            while ahead:
                yield from self._sent(senders, parts, *ahead.popleft())

    def _sent(
        self,
        senders: Executor,
        parts: PartMaker,
        drafted: Sequence[Drafted],
        making: Iterator[_Ready],
    ) -> Iterator[tuple[Run, Made]]:
        """Make the records of some, all at once, as soon as their files are made."""
        ready = list(making)
        made = senders.map(
            lambda each, own: self._make(parts, each[0], each[1], own), drafted, ready
        )
        yield from zip((run for run, _ in drafted), made, strict=True)

    def _prepare(self, parts: PartMaker, drafted: Drafted) -> _Ready:
        """Make a record's files, unless the PDS has asked to wait: they would not be sent."""
        return self._told_to_wait or guarded(partial(parts.prepare, *drafted))

    def _make(self, parts: PartMaker, run: Run, draft: Draft, ready: _Ready) -> Made:
        """Make a run's record of what is ready.

        Once the PDS has asked to wait, for one of them, the others send nothing.
        """
        if ready is None or isinstance(ready, MediaError):
            return ready
        if self._told_to_wait:
            return self._told_to_wait
        result = guarded(partial(self._complete, parts, run, draft, ready))
        if isinstance(result, WaitError):
            self._told_to_wait = result
        return result

    def _complete(
        self, parts: PartMaker, run: Run, draft: Draft, ready: Mapping[str, Material]
    ) -> Prepared:
        made = parts.make(run, draft, self.repo, ready)
        record = made.complete(draft)
        self.publisher.lexicons.validate(draft.nsid, record)
        key = self.repo.key(draft.nsid, run.state.rkey or "")
        return Prepared(run, key, record, cid_of_record(record), made)


def guarded(call: Callable[[], T]) -> T | MediaError | None:
    """Return what a call returns, the expected error that it raises, or None for any other.

    Nobody knows what that means for the neighbours: it is met again where there are none.
    """
    try:
        return call()
    except SoftTimeLimitExceeded:
        raise
    except MediaError as error:
        return error
    except Exception:  # noqa: BLE001
        return None


@contextmanager
def _threads(number: int) -> Iterator[Executor]:
    """Have threads that begin nothing more once the block has ended."""
    with ThreadPoolExecutor(number) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)
