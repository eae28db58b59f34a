"""The stage of all faults: services and a fleet that run on, and a stream for each fault."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient

from tasks import enqueue
from tests.bulk import start_over
from tests.contract.proxy import Proxy, open_proxy
from tests.faults import expected
from tests.faults.expected import PdsReader
from tests.faults.fleet import Fleet, Manning, open_fleet
from tests.faults.judge import Judge
from tests.faults.stream import Cast, Load, Stream
from tests.fleet import frozen
from tests.scene import TIMES, open_scene
from tests.terminal import has_no_findings, run
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import Person, UploadedItem, Uploads
from worker.dev.stack import Stack
from worker.dev.stack.environment import unset_variables

# Minutes and hours become seconds. A run still ends before its lease, and the lease before its
# message is delivered again.
_TIMES = {
    **TIMES,
    "MAX_ATTEMPTS": "1000",
    "LEASE_SECONDS": "30",
    "VISIBILITY_TIMEOUT_SECONDS": "30",
}
_PATIENCE = 120.0
# A save waits for a MongoDB that is away, longer than a strike waits for a sign.
_PLATFORM_PATIENCE_MS = 240_000
_FEW_SETTLED, _MANY_IN_FLIGHT = 10, 20


@dataclass
class Stage:
    """What faults strike at: services, fleet and stream, and what can be seen of them."""

    stack: Stack
    world: World
    proxy: Proxy
    directory: Proxy
    platform: Platform
    queue: redis.Redis
    judge: Judge
    cast: Cast
    folder: Path
    environ: dict[str, str]
    fleet: Fleet = field(init=False)
    stream: Stream = field(init=False)
    _manning: Manning | None = None
    _undo: ExitStack = field(default_factory=ExitStack)

    @property
    def items(self) -> list[UploadedItem]:
        """Return all items of the fault that is on, as they were left so far."""
        return list(self.stream.items.values())

    def man(
        self, *, proxied: bool, resolved: bool, skews: tuple[float, float], mongodb: str
    ) -> None:
        """Have a fleet that is run like this: the present one, or else a new one."""
        pds_url = self.proxy.url if proxied else self.stack.pds.url
        directory_url = self.directory.url if resolved else "off"
        manning = Manning(pds_url, directory_url, skews, mongodb)
        if self._manning == manning and not self.fleet.deserters():
            return
        self.dismiss()
        folder = self.folder / f"fleet-{len(list(self.folder.iterdir()))}"
        self.fleet = self._undo.enter_context(open_fleet(manning, self.environ, folder))
        self._manning = manning

    def dismiss(self) -> None:
        """Stop the fleet, if there is one."""
        self._manning = None
        self._undo.close()

    @contextmanager
    def streaming(self, load: Load, *, loses: bool) -> Iterator[Stream]:
        """Save items during the block, then heal and save the rest; `loses` every save's message.

        Nothing is saved and nothing published at the start.
        """
        start_over(self.world)
        uploads = Uploads(self.platform, (lambda *_: True) if loses else enqueue)
        self.stream = Stream(uploads, self.cast, load)
        self.stream.start()
        try:
            yield self.stream
        finally:
            try:
                self.heal()
            finally:
                self.stream.finish()

    def pile_up(self) -> int:
        """Wait until the fleet is at work and much is waiting; return how many items are not right.

        The PDS is held still meanwhile, so that a fast fleet does not catch up with the stream.
        """
        self.wait(
            lambda: len(self.items) - self._in_flight() >= _FEW_SETTLED,
            "the first items to be right",
        )
        with frozen(self.stack.pds):
            self.wait(lambda: self._in_flight() >= _MANY_IN_FLIGHT, "work to pile up")
            return self._in_flight()

    def held(self) -> list[dict[str, Any]]:
        """Return the leases that runs hold."""
        return [lease for state in self._states() if (lease := state.get("lease"))]

    def wait(self, condition: Callable[[], object], what: str, *, every: float = 0.1) -> None:
        """Wait for a sign that a fault has been felt; raises AssertionError."""
        wait_for(condition, within=_PATIENCE, what=what, every=every)

    def wait_for_code(self, start: str, count: int = 3) -> None:
        """Wait until so many documents have an error from now on whose code starts like this."""
        since = datetime.now(UTC)

        def felt() -> bool:
            errors = [error for state in self._states() if (error := state.get("error"))]
            recent = [error for error in errors if error["at"] > since]
            return sum(str(error["code"]).startswith(start) for error in recent) >= count

        self.wait(felt, f"{count} errors {start}")

    def heal(self) -> None:
        """Bring everything back to strength, whatever a fault that failed has left behind."""
        for service in (self.stack.plc, self.stack.pds, self.stack.mongod, self.stack.valkey):
            service.thaw()
            service.start()
        self.proxy.be_honest()
        self.directory.be_honest()

    def audit(self) -> str:
        """Run the audit as an operator does; return its output if there are findings."""
        code, output, error = run(["audit", "--json"], self.environ)
        return "" if has_no_findings(output) else f"exit code {code}\n{output}{error}"

    def clear(self) -> None:
        """Leave nothing of what a fault left undone to the next one."""
        self.dismiss()
        self.queue.flushall()
        self.world.services.storage.database["atproto_removals"].delete_many({})

    def _in_flight(self) -> int:
        return len(self.judge.unsettled(self.items))

    def _states(self) -> Iterator[dict[str, Any]]:
        for name in expected.TYPES:
            yield from self.platform.states(name).values()


@contextmanager
def open_stage(stack: Stack, folder: Path, **environ: str) -> Iterator[Stage]:
    """Open a stage on running services; `environ` adds to the settings of its fleet."""
    with ExitStack() as undo:
        scene = undo.enter_context(open_scene(Worlds(stack), folder, **{**_TIMES, **environ}))
        world = scene.world
        cast = cast_of(world)
        client: MongoClient[RawDocument] = MongoClient(
            world.environ["MONGODB_CONNECTION_STRING"],
            tz_aware=True,
            timeoutMS=_PLATFORM_PATIENCE_MS,
            serverSelectionTimeoutMS=_PLATFORM_PATIENCE_MS,
        )
        database = undo.enter_context(client)[world.environ["MONGODB_NAME"]]
        media = Path(world.environ["MEDIA_STORE_URL"].removeprefix("file://"))
        platform = Platform(database, stack.pds.url, media)
        reader = undo.enter_context(PdsReader(stack.pds.url))
        queue = undo.enter_context(redis.Redis.from_url(world.environ["REDIS_URL"]))
        stage = Stage(
            stack=stack,
            world=world,
            proxy=undo.enter_context(open_proxy(stack.pds.url)),
            directory=undo.enter_context(open_proxy(stack.environment["DID_RESOLVER"])),
            platform=platform,
            queue=queue,
            judge=Judge(platform, reader, queue, cast.people),
            cast=cast,
            folder=folder,
            environ={**unset_variables(os.environ), **world.environ},
        )
        undo.callback(stage.dismiss)
        yield stage


def cast_of(world: World) -> Cast:
    """Return the people of a world."""
    names = {
        row["_id"]: row["handle"] for row in world.services.storage.database["@handles"].find()
    }
    users = [Person(user, str(names[user]), world.dids[user]) for user in (world.ada, world.bob)]
    guest = Person("art-guest", None, world.guest_did)
    return Cast(tuple(users), guest, Person("auth0|stranger", "stranger", None))
