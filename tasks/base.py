"""What all tasks share: how a message is sent, and how an outcome ends a task."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Task
from celery.exceptions import Ignore
from celery.result import AsyncResult
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.app import LostResult, app
from worker.core.errors import ItemFailed, MediaError, PermanentError
from worker.queue.names import BULK, LIVE, MAX_COUNTDOWN

if TYPE_CHECKING:
    from worker.services import Services
    from worker.sync.batch.report import BatchReport
    from worker.sync.engine import Engine
    from worker.sync.outcome import Outcome

log = logging.getLogger(__name__)
_MAX_STORE_RETRIES = 8


class ItemWaits(Exception):  # noqa: N818 - reads as what happened, in the log and in Flower
    """An item could not be published yet and is tried again. The text says why."""


class MediaTask(Task[Any, Any]):
    """A task over one item, named by ids alone."""

    max_retries = None  # how often is decided on the document, not on the message
    throws = (ItemFailed,)  # the item log has said so, and why
    Request = "worker.queue.labels:LabelledRequest"

    @property
    def message_id(self) -> str:
        """Return the id of the message being served: the same when it is delivered again."""
        return self.request.id or "here"

    @property
    def holder(self) -> str:
        """Return the name to claim documents by: the message's, with which of its tries this is.

        Under the same name again, the run before died; one that asked for this one did not.
        """
        tries = self.request.retries
        return f"{tries}/{self.message_id}" if tries else self.message_id

    @property
    def is_retry(self) -> bool:
        """Tell whether this message is one that the task sent itself, to try an item again.

        A sweep may have tried it meanwhile: of two such chains of messages one has to end.
        """
        return self.request.retries > 0

    def arrived_on(self, queue: str) -> bool:
        """Tell whether the message came by this queue."""
        return (self.request.delivery_info or {}).get("routing_key") == queue

    def services(self) -> Services:
        """Return the services of this process, built at first use."""
        # Imported late: producers import the tasks, and must not load the engine.
        from worker.services import services

        return services(is_worker=app.is_worker)

    def select_engine(self) -> Engine:
        """Return the engine for this message: the live one for a save, else the bulk one."""
        services = self.services()
        return services.engine if self.arrived_on(LIVE) else services.bulk_engine

    def keep_queues_fair(self) -> None:
        """Throttle bulk work during live traffic, and rebalance the queue of this message.

        A long queue is rebalanced so that one account cannot starve the others.
        """
        services = self.services()
        if self.arrived_on(LIVE):
            services.throttle.note_live_traffic()
        for queue in (LIVE, BULK):
            if self.arrived_on(queue):
                services.balancer.rebalance(queue, app.task_functions)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Have whatever is reported while this message is served say what it is about."""
        if app.is_worker:
            from worker.telemetry import logs, sentry

            logs.bind_task(self.name, task_id)
            named = dict(zip(inspect.signature(self.run).parameters, args, strict=False))
            sentry.set_context(self.name, named | kwargs, self.request.retries + 1)

    # The stub spells out every option; Celery's own method takes them by name as well.
    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a message. In a producer this never raises: LostResult stands for a failure."""
        try:
            return super().apply_async(args, kwargs, **options)
        except Exception as error:
            if app.is_worker:
                raise
            # Whatever went wrong, the caller has just saved its document and must go on. The
            # error's text is not ours: it could quote the queue's address and its password.
            why = type(error).__name__
            log.warning("%s%r was not enqueued; the sweep will find it (%s)", self.name, args, why)
            return LostResult(options.get("task_id") or "lost", app=self.app)

    def conclude(self, outcome: Outcome) -> str:
        """End the task as the outcome has it: done, tried again soon, or failed."""
        if outcome.again:
            raise self.retry(countdown=1, exc=ItemWaits(f"{outcome.item}: changed again"))
        if outcome.is_given_up:
            raise ItemFailed(f"{outcome.item}: {outcome.detail}")
        wait = outcome.seconds_to_retry
        # When many wait already, the sweep does it: the time to try again is kept in MongoDB.
        if wait is not None and wait <= MAX_COUNTDOWN and self.services().in_flight.has_capacity():
            reason = ItemWaits(f"{outcome.item}: {outcome.detail}")
            raise self.retry(countdown=max(wait, 0.0), exc=reason)
        return self._finish(f"{outcome.status or '-'} {outcome.detail}", waits=wait is not None)

    def conclude_batch(
        self, report: BatchReport, target: tuple[str, str], backfill: str | None
    ) -> str:
        """End the task of a batch: what is due soon is tried again, what was given up is named."""
        type_name, subject = target
        log.info("batch of %ss of %s: %s", type_name, subject, report.summary)
        failed = report.given_up
        ids, wait = report.due_within(MAX_COUNTDOWN)
        if ids:
            waits = ItemWaits(f"{type_name}s of {subject}: {report.summary}")
            raise self.retry((type_name, subject, ids, backfill), countdown=wait, exc=waits)
        if failed:
            raise ItemFailed(f"{type_name}s of {subject}: {failed}")
        return self._finish(report.summary, waits=report.waits)

    def _finish(self, detail: str, *, waits: bool) -> str:
        """End the task without an error. If its item waits for a sweep, report it as a retry.

        Celery would report a success. The event of a retry is sent in its place, and the message
        is acknowledged like any other.
        """
        if waits and app.is_worker and self._report_retry(detail):
            raise Ignore(detail)
        return detail

    def _report_retry(self, reason: str) -> bool:
        try:
            self.send_event("task-retried", retry=False, exception=repr(ItemWaits(reason)))
        except (OperationalError, RedisError, OSError) as error:
            log.debug("the retry was not reported to Flower (%s)", type(error).__name__)
            return False
        return True

    def postpone(self, error: MediaError) -> NoReturn:
        """Try again shortly after an error that could not even be kept on the document."""
        if isinstance(error, PermanentError):
            raise error
        countdown = min(2.0**self.request.retries, MAX_COUNTDOWN)
        raise self.retry(countdown=countdown, exc=error, max_retries=_MAX_STORE_RETRIES)
