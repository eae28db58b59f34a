"""Follow the changes of documents and enqueue them.

A resume token is saved once everything before it is on the queue, so the next watcher continues
without a gap, however the last one ended. Several may run at the same time: duplicate messages
are harmless. After a lost position all edited documents are made due, and a sweep enqueues them.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

from pymongo.change_stream import DatabaseChangeStream
from pymongo.database import Database

from worker.core.clock import now
from worker.core.errors import TransientError
from worker.database.backlog import Backlog
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES
from worker.operations.watch.change_stream import (
    Change,
    PositionLostError,
    StreamReset,
    next_event,
    open_stream,
    parse_event,
    pipeline,
)
from worker.operations.watch.checkpoint import (
    Checkpoint,
    CheckpointStore,
    CheckpointUpdate,
    Token,
    read_checkpoint,
)
from worker.operations.watch.sender import ChangeBatch, Sender

_MIN_PAUSE, _MAX_PAUSE = 0.1, 3.0  # seconds between two attempts
_MAX_QUIET = 3.0  # seconds after which the token is saved even without a change
_WINDOW = 1000  # documents compared per query
_BY_COLLECTION = {kind.collection: kind for kind in MEDIA_TYPES.values()}
Stream = DatabaseChangeStream[RawDocument]

log = logging.getLogger(__name__)


def mark_all_changed(backlog: Backlog, between: Callable[[], None]) -> int:
    """Make every item due that was edited since its last run; return how many.

    Calls `between` after each query. New items need no mark, because sweeps find them by id. Can
    be repeated. Raises StoreUnavailableError.
    """
    count = 0
    for kind in MEDIA_TYPES.values():
        after, is_more = None, True
        while is_more:
            changed, after = backlog.find_changed_after(kind, after, _WINDOW)
            backlog.mark(kind, [owned.ref for owned in changed], now())
            count, is_more = count + len(changed), after is not None
            between()
    return count


@dataclass(slots=True)
class RetryLogger:
    """Waits between attempts; logs the first failure, and the recovery."""

    _code: str | None = None
    _pause: float = _MIN_PAUSE

    def wait(self, code: str, message: str) -> None:
        """Wait before the next attempt, longer each time."""
        if code != self._code:
            log.warning("%s; trying again", message)
            self._code = code
        time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, _MAX_PAUSE)

    def reset(self) -> None:
        """Log the recovery, if there was a failure."""
        if self._code:
            log.info("recovered from %s", self._code)
        self._code, self._pause = None, _MIN_PAUSE


@dataclass(slots=True)
class Watcher:
    """Follows one database. `warn` reports a lost position to the operator.

    `at_work` is called every few seconds while MongoDB is available.
    """

    database: Database[RawDocument]
    checkpoints: CheckpointStore
    backlog: Backlog
    sender: Sender
    warn: Callable[[str], None]
    at_work: Callable[[], None]
    _retries: RetryLogger = field(default_factory=RetryLogger)
    _saved: float = 0.0

    def run(self) -> NoReturn:
        """Follow the change stream, and retry while a service is unavailable.

        Never returns; raises NoReplicaSetError. Safe to interrupt: a token is saved only after the
        changes up to it are queued.
        """
        while True:
            try:
                self._follow(read_checkpoint(self.database) or Checkpoint())
            except TransientError as error:
                self._retries.wait(error.code, error.message)

    def _follow(self, checkpoint: Checkpoint) -> None:
        """Follow the stream from a checkpoint; return to continue from the saved one."""
        stages = pipeline(MEDIA_TYPES.values())
        try:
            with open_stream(self.database, stages, checkpoint.token) as stream:
                if checkpoint.token is None and not self._start(stream.resume_token):
                    return
                log.info("watching %s", self.database.name)
                if checkpoint.must_sweep:
                    self._catch_up(checkpoint.lost)
                self._read(stream)
        except PositionLostError as error:
            why = _reason(error.message)
            if self.checkpoints.mark_lost(checkpoint.token, why):
                self._report_loss(why)
            else:  # another watcher has saved a later position
                self._retries.wait(error.code, error.message)

    def _start(self, token: Token | None) -> bool:
        """Save the first token; return False if another watcher has saved one.

        That token may be earlier, and this stream lacks the changes in between.
        """
        is_first = token is not None and self.checkpoints.start(token)
        if is_first:
            log.info("no saved position; starting from now")
        return is_first

    def _read(self, stream: Stream) -> None:
        """Enqueue changes until the stream reports a reset."""
        batch = ChangeBatch()
        while True:
            event, token = next_event(stream)
            self._retries.reset()
            change = parse_event(event, _BY_COLLECTION) if event else None
            if isinstance(change, StreamReset):
                why = _reason(change.what)
                self._send(batch.drain(), token, lost=why)
                self._report_loss(why)
                return
            if change:
                batch.add(change)
            if batch.is_due(quiet=event is None) or self._is_time_to_save():
                self._send(batch.drain(), token)

    def _is_time_to_save(self) -> bool:
        return time.monotonic() > self._saved + _MAX_QUIET

    def _send(self, changes: Sequence[Change], token: Token, lost: str | None = None) -> None:
        """Enqueue changes, retrying until all are accepted; then save the token."""
        sent = [self._send_until_accepted(partial(self.sender.offer, change)) for change in changes]
        known = sum(taken is True for taken in sent)
        last = max((change.at for change in changes), default=None)
        update = CheckpointUpdate(token, last, known, len(changes) - known, lost)
        self.checkpoints.save(update)
        self._saved = time.monotonic()
        self.at_work()

    def _send_until_accepted(self, offer: Callable[[], bool | None]) -> bool | None:
        """Offer a message until the queue accepts it; read no changes meanwhile."""
        code = "redis_unavailable"
        while (taken := offer()) is False:
            message = "the queue does not take messages: does REDIS_URL name a server that answers?"
            self._retries.wait(code, message)
            self.checkpoints.save_trouble(code)
            self.at_work()
        self._retries.reset()
        self.at_work()
        return taken

    def _report_loss(self, why: str) -> None:
        log.warning("%s; a sweep finds edited documents, an audit deleted ones", why)
        self.warn(why)

    def _catch_up(self, lost: Mapping[str, object] | None) -> None:
        """Request a sweep for the changes that may have been missed."""
        marked = mark_all_changed(self.backlog, self.at_work)
        self._send_until_accepted(self.sender.producer.sweep)
        self.checkpoints.mark_swept(lost)
        log.info("%d edited documents are due for the sweep", marked)


def _reason(what: str) -> str:
    return f"{what}: changes since then are unknown"
