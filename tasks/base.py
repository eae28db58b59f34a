"""The base class of the tasks, with shared code for messages and results."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

from celery import Task
from celery.exceptions import Ignore, Reject
from celery.result import AsyncResult
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from worker.app import LostResult, app
from worker.core.clock import doubled
from worker.core.errors import ItemFailed, MediaError, PermanentError
from worker.queue.messages import signature_of
from worker.queue.names import BULK, LIVE, MAX_COUNTDOWN

if TYPE_CHECKING:
    from worker.services import Services
    from worker.sync.batch.engine import BatchRequest
    from worker.sync.batch.report import BatchReport
    from worker.sync.engine import Engine
    from worker.sync.outcome import Outcome

log = logging.getLogger(__name__)


class ItemWaits(Exception):  # noqa: N818 - a readable name in the log and in Flower
    """The reason of a retry: an item could not be published yet."""


class MediaTask(Task[Any, Any]):
    """Sends messages safely, selects the engine, and ends a task by its outcome."""

    max_retries = None  # the state in the document limits the retries
    throws = (ItemFailed,)  # logged without a traceback
    Request = "worker.queue.labels:LabelledRequest"

    @property
    def holder(self) -> str:
        """Return the holder of leases: the message id, with the retry count if not 0.

        If a lease has the same holder, an earlier delivery of this message died. If a lease has
        the same message id but another retry count, that run did not die.
        """
        message, retries = self.request.id or "here", self.request.retries
        return f"{retries}/{message}" if retries else message

    @property
    def is_retry(self) -> bool:
        """Return whether this message is a retry, sent by the task itself."""
        return self.request.retries > 0

    @property
    def queue_name(self) -> str | None:
        return (self.request.delivery_info or {}).get("routing_key")

    @property
    def max_wait(self) -> float:
        """Return the longest countdown of a retry in seconds, 0 if too many messages have one.

        A message with a countdown is in the memory of a worker. Without one, it is queued again.
        """
        return MAX_COUNTDOWN if self.services().sync.retry_limit.has_capacity() else 0.0

    def retry_in(self, seconds: float, reason: Exception, args: Any = None) -> NoReturn:
        """Send this message again, with other `args` if given, to be processed in some seconds.

        If Redis does not accept the new message, this one stays in Redis and is delivered again.
        """
        self.services().sync.retry_limit.add(seconds)
        try:
            raise self.retry(args, countdown=seconds, exc=reason)
        except Reject as rejected:
            raise Reject(str(reason), requeue=True) from rejected

    def services(self) -> Services:
        """Return the services of this process; the first call builds them."""
        # Imported here, because producers import the tasks and must not load the engine.
        from worker.services import services

        return services(is_worker=app.is_worker)

    def select_engine(self) -> Engine:
        """Return the live engine for messages of the live queue, else the bulk engine."""
        sync = self.services().sync
        return sync.engine if self.queue_name == LIVE else sync.bulk_engine

    def keep_queues_fair(self) -> None:
        """Rebalance the queue of this message, if it is the live or the bulk queue."""
        queue = self.queue_name
        if queue in {LIVE, BULK}:
            self.services().sync.balancer.rebalance(queue, app.task_functions())

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Add the task to log lines, and the task and its arguments to Sentry reports."""
        if app.is_worker:
            from worker.telemetry import logs, sentry

            logs.bind_task(self.name, task_id)
            named = dict(zip(signature_of(self.run).parameters, args, strict=False))
            sentry.set_context(self.name, named | kwargs, self.request.retries + 1)

    # The stub lists all options as parameters.
    def apply_async(  # type: ignore[override]
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult[Any]:
        """Send a message. In producers, errors are logged and a LostResult is returned.

        With the option `quiet`, they are not logged.
        """
        quiet = options.pop("quiet", False)
        # Without `declare`, Celery would also read and write keys that nothing here needs.
        options = {"declare": (), **options}
        try:
            return super().apply_async(args, kwargs, **options)
        except Exception as error:
            # Every exception: a producer has just saved its document and must not fail, whether
            # Redis, the environment or an argument is at fault. It is logged without its text,
            # which could contain the password of Redis.
            if app.is_worker:
                raise
            if not quiet:
                text = "%s%r was not enqueued; the sweep will find it (%s)"
                log.warning(text, self.name, args, type(error).__name__)
            return LostResult(options.get("task_id") or "lost", app=self.app)

    def conclude(self, outcome: Outcome) -> str:
        """Return a result, or raise Retry, Ignore or ItemFailed, by the outcome."""
        if outcome.again:
            self.retry_in(1, ItemWaits(f"{outcome.item}: changed again"))
        if outcome.is_given_up:
            raise ItemFailed(f"{outcome.item}: {outcome.detail}")
        wait = outcome.seconds_to_retry
        if wait is not None and wait <= self.max_wait:
            self.retry_in(max(wait, 0.0), ItemWaits(f"{outcome.item}: {outcome.detail}"))
        return self._finish(f"{outcome.status or '-'} {outcome.detail}", waits=wait is not None)

    def conclude_batch(self, report: BatchReport, request: BatchRequest, max_wait: float) -> str:
        """Return a result, retry the items due within `max_wait`, or raise ItemFailed."""
        batch = f"{request.kind.name}s of {request.subject}"
        log.info("batch of %s: %s", batch, report.summary)
        ids, wait = report.due_within(max_wait)
        if ids:
            args = (request.kind.name, request.subject, ids, request.backfill)
            self.retry_in(wait, ItemWaits(f"{batch}: {report.summary}"), args)
        if report.given_up:
            raise ItemFailed(f"{batch}: {report.given_up}")
        return self._finish(report.summary, waits=report.waits)

    def _finish(self, detail: str, *, waits: bool) -> str:
        """Return the detail as the result, or raise Ignore if an item waits for a sweep.

        A waiting item is reported to Flower with a retry event instead of a success event. The
        message is acknowledged.
        """
        if waits and app.is_worker and self._report_retry(detail):
            raise Ignore(detail)
        return detail

    def _report_retry(self, reason: str) -> bool:
        try:
            self.send_event("task-retried", retry=False, exception=repr(ItemWaits(reason)))
        except (OperationalError, RedisError, OSError) as error:
            log.debug("retry not reported to Flower (%s)", type(error).__name__)
            return False
        return True

    def postpone(self, error: MediaError) -> NoReturn:
        """Retry after an error that cannot be saved on a document; raise a PermanentError.

        Such an error is rare: MongoDB or Redis is unavailable. The message is then the only place
        of the work, so it is retried until it succeeds.
        """
        if isinstance(error, PermanentError):
            raise error
        longest = max(self.max_wait, 1.0)
        self.retry_in(doubled(1.0, self.request.retries, longest), error)
