"""One backfill from its first message to its last result: enqueue, wait, look again.

The workers tell how far they are; in the end the documents are asked, and what is still not
right and due is enqueued once more. So lost messages and dead workers cost time, nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from uuid import uuid4

from worker.core.clock import after
from worker.core.redis_errors import RedisUnavailableError
from worker.operations.backfill.planner import BackfillPlanner, Batch, Scope
from worker.sync.batch.progress import BackfillProgress, ProgressTracker

_POLL_SECONDS = 0.25  # seconds between two looks at the progress
_DUE_SECONDS = 30.0  # seconds; what is due later than that is left to the sweep
_STALL_SECONDS = 240.0  # seconds without news; above the time that a batch can take
_MAX_EMPTY_POLLS = 4  # looks without news and without a message anywhere

Send = Callable[[Batch, str, str], None]
Show = Callable[[BackfillProgress], None]


@dataclass(frozen=True, slots=True)
class BackfillRun:
    """A backfill that was given a name.

    `send` enqueues a batch, given the backfill's name and the id that the message is to have;
    `messages` counts those that are on the queue or with a worker; `show` tells whoever waits.
    """

    name: str
    scope: Scope
    planner: BackfillPlanner
    progress: ProgressTracker
    send: Send
    messages: Callable[[], int]
    show: Show
    stalled: float = _STALL_SECONDS

    def enqueue(self) -> int:
        """Enqueue everything; return the number of items."""
        return self._enqueue(self.planner.batches(self.scope))

    def wait(self) -> BackfillProgress:
        """Wait until all is done that can be done now; return what the workers told.

        What is still wrong and due is enqueued again, for as long as that achieves anything.
        Nothing is waited for where no message is left, or nothing has been heard for `stalled`
        seconds.
        """
        left: int | None = None
        while True:
            tally = self._follow()
            self.progress.forget(self.name)
            if self.scope.limit is not None:
                return tally
            again = self._enqueue(self.planner.remaining(self.scope, after(_DUE_SECONDS)))
            if again == 0 or (left is not None and again >= left):
                return self._follow() if again else tally
            left = again

    def _enqueue(self, batches: Iterable[Batch]) -> int:
        count = 0
        told = time.monotonic()
        for batch in batches:
            message = uuid4().hex
            self.progress.expect(self.name, message)
            self.send(batch, self.name, message)
            count += len(batch.ids)
            if time.monotonic() > told + _POLL_SECONDS:
                told = time.monotonic()
                self.show(self.progress.read(self.name))
        return count

    def _follow(self) -> BackfillProgress:
        tally, heard, lost = self.progress.read(self.name), time.monotonic(), 0
        while tally.batches and lost < _MAX_EMPTY_POLLS and time.monotonic() < heard + self.stalled:
            self.show(tally)
            time.sleep(_POLL_SECONDS)
            # In this order: a message is there until it has been told of.
            lost = lost + 1 if self._is_idle() else 0
            news = self._poll(tally)
            if news != tally:
                tally, heard, lost = news, time.monotonic(), 0
        self.show(tally)
        return tally

    def _is_idle(self) -> bool:
        try:
            return self.messages() == 0
        except RedisUnavailableError:
            return False

    def _poll(self, known: BackfillProgress) -> BackfillProgress:
        try:
            return self.progress.read(self.name)
        except RedisUnavailableError:
            return known  # it comes back, or nothing is heard for too long
