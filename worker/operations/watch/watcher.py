"""Follow the changes of documents and enqueue them; one process of many does so at a time.

A resume token is saved once everything before it is on the queue. Whatever ends a watcher, the
next one continues without a gap; some documents are enqueued twice, which changes nothing. After
a lost position all documents that differ are marked as due, and a sweep enqueues them.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
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
    WatchLeaseLostError,
)
from worker.operations.watch.sender import ChangeBatch, Sender

_MIN_PAUSE = 0.1  # seconds between two tries
_MAX_PAUSE, _STANDBY = 0.3, 0.1  # parts of a lease: it is renewed after each pause
_BY_COLLECTION = {kind.collection: kind for kind in MEDIA_TYPES.values()}
Stream = DatabaseChangeStream[RawDocument]
_WINDOW = 1000  # documents that are compared together

log = logging.getLogger(__name__)


def mark_all_changed(backlog: Backlog, between: Callable[[], None]) -> int:
    """Make every item due that was edited since its last run; return how many.

    Calls `between` every so many documents. New items need no mark: sweeps find them by their
    ids. Safe to repeat. Raises StoreUnavailableError.
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
    """What is waited for now: said once, and once that it is over."""

    max_pause: float
    code: str | None = None
    _pause: float = _MIN_PAUSE

    def wait(self, code: str, message: str) -> None:
        """Wait before the next try, longer each time; say for what, the first time."""
        if code != self.code:
            log.warning("%s; trying again", message)
            self.code = code
        time.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause = min(2 * self._pause, self.max_pause)

    def reset(self) -> None:
        """Say that it goes on, if it did not."""
        if self.code:
            log.info("it goes on: %s is over", self.code)
        self.code, self._pause = None, _MIN_PAUSE


@dataclass(slots=True)
class Watcher:
    """Follows one database. `warn` tells whoever looks after it that a position was lost.

    `at_work` is called every few seconds for as long as MongoDB answers, also while it stands by.
    """

    database: Database[RawDocument]
    checkpoints: CheckpointStore
    backlog: Backlog
    sender: Sender
    warn: Callable[[str], None]
    at_work: Callable[[], None]
    _trouble: RetryLogger = field(init=False)
    _renewed: float = 0.0

    def __post_init__(self) -> None:
        self._trouble = RetryLogger(self.checkpoints.lease * _MAX_PAUSE)

    def run(self) -> NoReturn:
        """Watch, or stand by while another one does, for ever.

        Raises NoReplicaSetError; services that are away are waited for. Can be interrupted at
        any point: what is on no queue yet is before no token.
        """
        while True:
            try:
                self._follow(self._acquire())
            except WatchLeaseLostError as error:
                log.warning("%s", error.message)
            except TransientError as error:
                self._trouble.wait(error.code, error.message)

    def _acquire(self) -> Checkpoint:
        """Return the position, once the lease is this watcher's."""
        other = None
        while not (position := self.checkpoints.acquire()):
            holder = self.checkpoints.holder()
            if holder and holder != other:
                log.info("standing by: %s watches", holder)
                other = holder
            self.at_work()
            time.sleep(self.checkpoints.lease * _STANDBY)
        self._is_renewed()
        log.info("watching %s", self.database.name)
        return position

    def _follow(self, position: Checkpoint) -> None:
        """Follow the stream until the position is lost."""
        try:
            with open_stream(
                self.database, pipeline(MEDIA_TYPES.values()), position.token
            ) as stream:
                self._save_position(stream)
                if position.must_sweep:
                    self._catch_up()
                elif position.token is None:
                    log.info("there is no position yet: it begins now")
                self._read(stream)
        except PositionLostError as error:
            self._handle_lost_position(error)

    def _save_position(self, stream: Stream) -> None:
        if stream.resume_token:
            self._save(CheckpointUpdate(stream.resume_token))

    def _read(self, stream: Stream) -> NoReturn:
        batch = ChangeBatch()
        while True:
            event = next_event(stream)
            self._trouble.reset()
            reset = self._handle_event(event, batch) if event else None
            if reset or batch.is_due(quiet=event is None):
                self._send(batch, stream.resume_token)
            if reset:
                raise PositionLostError(reset.what)
            if not batch and self._is_time_to_renew():
                self._save_position(stream)

    def _handle_event(self, event: RawDocument, batch: ChangeBatch) -> StreamReset | None:
        change = parse_event(event, _BY_COLLECTION)
        if isinstance(change, StreamReset):
            return change
        batch.add(change)
        return None

    def _send(self, batch: ChangeBatch, token: Token | None) -> None:
        """Put a burst on the queue, however long that takes; then keep the token."""
        changes = batch.drain()
        if not changes:
            return
        sent = [self._send_until_accepted(partial(self.sender.offer, change)) for change in changes]
        known = sum(taken is True for taken in sent)
        self._save(CheckpointUpdate(token, _latest(changes), known, len(changes) - known))

    def _send_until_accepted(self, offer: Callable[[], bool | None]) -> bool | None:
        """Offer something to the queue until it is taken; nothing further is read meanwhile."""
        while (taken := offer()) is False:
            message = "the queue does not take messages: does REDIS_URL name a server that answers?"
            self._trouble.wait("redis_unavailable", message)
            self._renew()
        self._trouble.reset()
        self._renew_in_time()
        return taken

    def _handle_lost_position(self, error: PositionLostError) -> None:
        why = f"{error.message}: changes since then are unknown"
        log.warning("%s; what differs is swept up, what was deleted an audit finds", why)
        self.warn(why)
        self.checkpoints.mark_lost(why)

    def _catch_up(self) -> None:
        """Have everything swept up that a lost position may have hidden."""
        marked = mark_all_changed(self.backlog, self._renew_in_time)
        self._send_until_accepted(self.sender.producer.sweep)
        self.checkpoints.mark_swept()
        log.info("%d edited documents are due for the sweep", marked)

    def _is_time_to_renew(self) -> bool:
        return time.monotonic() > self._renewed + self.checkpoints.lease / 3

    def _renew_in_time(self) -> None:
        if self._is_time_to_renew():
            self._renew()

    def _renew(self) -> None:
        self.checkpoints.renew(self._trouble.code)
        self._is_renewed()

    def _save(self, step: CheckpointUpdate) -> None:
        self.checkpoints.save(step)
        self._is_renewed()

    def _is_renewed(self) -> None:
        self._renewed = time.monotonic()
        self.at_work()


def _latest(changes: list[Change]) -> datetime:
    return max(change.at for change in changes)
