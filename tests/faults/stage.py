"""The stage of all faults: services and a fleet that run on, and a stream for each fault."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import pytest
import redis
from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.bulk import start_over
from tests.contract.proxy import Proxy, open_proxy
from tests.faults.fleet import Fleet, Manning, open_fleet
from tests.faults.judge import Judge
from tests.faults.stream import Cast, Load, Stream
from tests.terminal import run
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.app import app
from worker.demo import expected
from worker.demo.platform import Platform
from worker.demo.reader import Reader
from worker.demo.uploads import Enqueue, Item, Person, Uploads
from worker.errors import MediaError
from worker.mongo import RawDocument
from worker.stack import Stack
from worker.stack.environment import unsettled

# Minutes and hours become seconds. A run still ends before its lease, and the lease before its
# message is delivered again.
TIMES = {
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_CEILING_SECONDS": "2",
    "MAX_ATTEMPTS": "1000",
    "SWEEP_INTERVAL_SECONDS": "1",
    "SWEEP_GRACE_SECONDS": "1",
    "SWEEP_REQUEUE_SECONDS": "5",
    "LEASE_SECONDS": "30",
    "VISIBILITY_TIMEOUT_SECONDS": "30",
}
_PATIENCE = 120.0
# A save waits for a MongoDB that is away, longer than a strike waits for a sign.
_PLATFORM_PATIENCE_MS = 240_000
_FEW_SETTLED, _MANY_IN_FLIGHT = 10, 20

# What may go wrong while a fault is performed, and is reported for this fault alone. All else is a
# defect of the suite.
FAILURES = (
    AssertionError,
    MediaError,
    OSError,
    PyMongoError,
    httpx.HTTPError,
    psutil.Error,
    redis.RedisError,
    subprocess.SubprocessError,
)


@dataclass
class Stage:
    """What faults strike at: services, fleet and stream, and what can be seen of them."""

    stack: Stack
    world: World
    proxy: Proxy
    platform: Platform
    queue: redis.Redis
    judge: Judge
    cast: Cast
    folder: Path
    environ: dict[str, str]
    enqueue: Enqueue
    _fleet: Fleet | None = None
    _stream: Stream | None = None
    _undo: ExitStack = field(default_factory=ExitStack)

    @property
    def fleet(self) -> Fleet:
        """Return the fleet that runs now."""
        assert self._fleet
        return self._fleet

    @property
    def stream(self) -> Stream:
        """Return the stream of the fault that is on."""
        assert self._stream
        return self._stream

    @property
    def items(self) -> list[Item]:
        """Return all items of the fault that is on, as they were left so far."""
        return list(self.stream.items.values())

    def man(self, *, proxied: bool, skews: tuple[float, float]) -> None:
        """Have a fleet that is run like this: the present one, or else a new one."""
        manning = Manning(self.proxy.url if proxied else self.stack.pds.url, skews)
        if self._fleet and self._fleet.manning == manning and not self._fleet.deserters():
            return
        self.dismiss()
        folder = self.folder / f"fleet-{len(list(self.folder.iterdir()))}"
        self._fleet = self._undo.enter_context(open_fleet(manning, self.environ, folder))

    def dismiss(self) -> None:
        """Stop the fleet, if there is one."""
        self._undo.close()
        self._fleet = None

    @contextmanager
    def streaming(self, load: Load, *, loses: bool) -> Iterator[Stream]:
        """Save items during the block, then heal and save the rest; `loses` every save's message.

        Nothing is saved and nothing published at the start.
        """
        start_over(self.world)
        enqueue = _lose if loses else self.enqueue
        self._stream = stream = Stream(Uploads(self.platform, enqueue), self.cast, load)
        stream.start()
        try:
            yield stream
        finally:
            try:
                self.heal()
            finally:
                stream.finish()

    def pile_up(self) -> int:
        """Wait until the fleet is at work and much is waiting; return how many items are not right.

        The PDS is held still meanwhile, so that a fast fleet does not catch up with the stream.
        """
        self.wait(lambda: self._settled() >= _FEW_SETTLED, "the first items to be right")
        with self.pds_frozen():
            self.wait(lambda: self._in_flight() >= _MANY_IN_FLIGHT, "work to pile up")
            return self._in_flight()

    @contextmanager
    def pds_frozen(self) -> Iterator[None]:
        """Hold the PDS still until the block ends."""
        self.stack.pds.freeze()
        try:
            yield
        finally:
            self.stack.pds.thaw()

    def held(self) -> list[RawDocument]:
        """Return the leases that runs hold."""
        leases = (state.get("lease") for state in self._states())
        return [lease for lease in leases if isinstance(lease, dict)]

    def wait(self, condition: Callable[[], object], what: str, *, every: float = 0.1) -> None:
        """Wait for a sign that a fault has been felt; raises AssertionError."""
        wait_for(condition, within=_PATIENCE, what=what, every=every)

    def wait_for_code(self, start: str, count: int = 3) -> None:
        """Wait until so many documents have an error from now on whose code starts like this."""
        since = datetime.now(UTC)

        def felt() -> bool:
            recent = (error for error in self._errors() if cast("datetime", error["at"]) > since)
            return sum(str(error["code"]).startswith(start) for error in recent) >= count

        self.wait(felt, f"{count} errors {start}")

    def heal(self) -> None:
        """Bring everything back to strength, whatever a fault that failed has left behind."""
        for service in (self.stack.plc, self.stack.pds, self.stack.mongod, self.stack.valkey):
            service.thaw()
            service.start()
        self.proxy.be_honest()

    def audit(self) -> str:
        """Run the audit as an operator does; return its output unless it is clean."""
        code, output, error = run(["audit"], self.environ)
        return "" if code == 0 else f"exit code {code}\n{output}{error}"

    def clear(self) -> None:
        """Leave nothing of what a fault left undone to the next one."""
        self.dismiss()
        self.queue.flushall()
        self.world.services.database["atproto_removals"].delete_many({})

    def _in_flight(self) -> int:
        return len(self.judge.unsettled(self.items))

    def _settled(self) -> int:
        return len(items := self.items) - len(self.judge.unsettled(items))

    def _states(self) -> Iterator[RawDocument]:
        for name in expected.TYPES:
            yield from self.platform.states(name).values()

    def _errors(self) -> Iterator[RawDocument]:
        errors = (state.get("error") for state in self._states())
        return (error for error in errors if isinstance(error, dict))


def now() -> float:
    """Return the time that recoveries are measured by."""
    return time.monotonic()


@contextmanager
def open_stage(stack: Stack, folder: Path, **environ: str) -> Iterator[Stage]:
    """Open a stage on running services; `environ` adds to the settings of its fleet."""
    url = stack.environment["REDIS_URL"]
    with ExitStack() as undo:
        world = undo.enter_context(Worlds(stack).open(**{**TIMES, **environ}))
        undo.enter_context(pytest.MonkeyPatch.context()).setenv("REDIS_URL", url)
        app._after_fork()  # type: ignore[attr-defined] # Celery keeps to its first queue
        cast = cast_of(world)
        platform = undo.enter_context(_patient_platform(world))
        reader = undo.enter_context(Reader(stack.pds.url))
        queue = undo.enter_context(redis.Redis.from_url(url))
        stage = Stage(
            stack=stack,
            world=world,
            proxy=undo.enter_context(open_proxy(stack.pds.url)),
            platform=platform,
            queue=queue,
            judge=Judge(platform, reader, queue, cast.people),
            cast=cast,
            folder=folder,
            environ={**unsettled(os.environ), **world.environ},
            enqueue=_producer(),
        )
        undo.callback(stage.dismiss)
        yield stage


def cast_of(world: World) -> Cast:
    """Return the people of a world."""
    names = {row["_id"]: row["handle"] for row in world.services.database["@handles"].find()}
    users = [Person(user, str(names[user]), world.dids[user]) for user in (world.ada, world.bob)]
    guest = Person("art-guest", None, world.guest_did)
    return Cast(tuple(users), guest, Person("auth0|stranger", "stranger", None))


@contextmanager
def _patient_platform(world: World) -> Iterator[Platform]:
    environ = world.environ
    media = Path(unquote(urlsplit(environ["MEDIA_STORE_URL"]).path))
    client: MongoClient[RawDocument] = MongoClient(
        environ["MONGODB_CONNECTION_STRING"],
        tz_aware=True,
        timeoutMS=_PLATFORM_PATIENCE_MS,
        serverSelectionTimeoutMS=_PLATFORM_PATIENCE_MS,
    )
    with client:
        yield Platform(client[environ["MONGODB_NAME"]], environ["PDS_URL"], media)


def _producer() -> Enqueue:
    from tasks import enqueue  # reads the environment when it sends

    return enqueue


def _lose(_type: str, _id: ObjectId) -> bool:
    return True
