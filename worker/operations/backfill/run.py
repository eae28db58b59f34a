"""Run a backfill: enqueue its batches, wait for results, enqueue remaining items again.

The queue holds a bounded number of messages, whatever the size of the backfill: the run enqueues
more as workers process them. It saves no position, because the documents show which items remain.
The next run continues after an interruption, and may enqueue the last batches once more.

Workers report their progress. Documents that are still due at the end are enqueued once more, so
lost messages and killed workers only cost time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

from worker.core.clock import after
from worker.core.redis_errors import RedisUnavailableError
from worker.operations.backfill.planner import MAX_MESSAGES, BackfillPlanner, Batch, Scope, submit
from worker.queue.depth import QueueLengths, Queues
from worker.services import Services
from worker.sync.batch.progress import BackfillProgress, ProgressTracker

_POLL_SECONDS = 0.25
_DUE_SECONDS = 30.0  # items due later are left to the sweep
_STALL_SECONDS = 240.0  # without progress; longer than a batch can take
_CHECKED_EVERY = 100  # batches, after which the messages are counted
_MAX_EMPTY_POLLS = 4  # without progress, and without messages queued or in flight

Send = Callable[[Batch, str, str], bool]
Show = Callable[[BackfillProgress], None]


@dataclass(frozen=True, slots=True)
class BackfillRun:
    """A backfill; workers report its progress under its name.

    `send` enqueues a batch, given the name and a message id, and returns whether the queue
    accepted it; `lengths` counts the messages of all queues; `show` displays progress.
    """

    name: str
    scope: Scope
    planner: BackfillPlanner
    progress: ProgressTracker
    send: Send
    lengths: Callable[[], QueueLengths]
    show: Show
    stalled: float = _STALL_SECONDS

    @classmethod
    def of(cls, services: Services, scope: Scope, show: Show = lambda _progress: None) -> Self:
        """Return a new backfill that uses the queue of these services."""
        return cls(
            name=secrets.token_hex(6),
            scope=scope,
            planner=BackfillPlanner.of(services),
            progress=ProgressTracker(services.storage.redis),
            send=submit,
            # Kept open, because a new connection for each poll takes more CPU time than the poll.
            lengths=Queues(services.settings.redis_url).lengths,
            show=show,
        )

    def enqueue(self) -> int:
        """Enqueue all batches; return the number of items.

        Waits while the queue holds `MAX_MESSAGES`. Raises RedisUnavailableError.
        """
        return self._enqueue(self.planner.batches(self.scope))

    def wait(self) -> BackfillProgress:
        """Wait for the workers; return the progress that they reported.

        Items that are still due are enqueued again, as long as their number decreases. Waiting
        ends when no message is left, or no worker has reported for `stalled` seconds.
        """
        previous: int | None = None
        while True:
            tally = self._follow()
            self.progress.forget(self.name)
            if self.scope.limit is not None:
                return tally
            again = self._enqueue(self.planner.remaining(self.scope, after(_DUE_SECONDS)))
            if again == 0 or (previous is not None and again >= previous):
                return self._follow() if again else tally
            previous = again

    def _enqueue(self, batches: Iterable[Batch]) -> int:
        count = 0
        shown_at = time.monotonic()
        for number, batch in enumerate(batches):
            if number % _CHECKED_EVERY == 0:
                self._wait_for_workers()
            self._send(batch)
            count += len(batch.ids)
            if time.monotonic() > shown_at + _POLL_SECONDS:
                shown_at = time.monotonic()
                self.show(self.progress.read(self.name))
        return count

    def _send(self, batch: Batch) -> None:
        message = uuid4().hex
        self.progress.expect(self.name, message)
        if not self.send(batch, self.name, message):
            raise RedisUnavailableError(
                "the queue did not accept a batch: restore Redis and run this again"
            )

    def _wait_for_workers(self) -> None:
        """Wait until the queue holds fewer than `MAX_MESSAGES`, those of other runs included.

        Messages in flight are not counted: each worker limits its own, and retries of saves at an
        unavailable PDS must not delay a backfill.
        """
        while self.lengths().bulk >= MAX_MESSAGES:
            self.planner.keep_alive()
            self.show(self.progress.read(self.name))
            time.sleep(_POLL_SECONDS)

    def _follow(self) -> BackfillProgress:
        tally, changed_at, idle = self.progress.read(self.name), time.monotonic(), 0
        while (
            tally.batches
            and idle < _MAX_EMPTY_POLLS
            and time.monotonic() < changed_at + self.stalled
        ):
            self.show(tally)
            time.sleep(_POLL_SECONDS)
            # In this order: a message exists until its results are reported.
            idle = idle + 1 if self._is_idle() else 0
            current = self._poll(tally)
            if current != tally:
                tally, changed_at, idle = current, time.monotonic(), 0
        self.show(tally)
        return tally

    def _is_idle(self) -> bool:
        try:
            lengths = self.lengths()
        except RedisUnavailableError:
            return False
        return lengths.bulk + lengths.in_flight == 0

    def _poll(self, known: BackfillProgress) -> BackfillProgress:
        try:
            return self.progress.read(self.name)
        except RedisUnavailableError:
            return known  # until Redis is available again, or the wait stalls
