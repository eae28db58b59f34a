"""What benchmarks run on: services, accounts and workers that exist for one run only."""

from __future__ import annotations

import json
import os
import platform
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from pathlib import Path

import redis

from bench.processes import Process, Processes
from bench.report import Report
from worker.app import app
from worker.core.settings import Settings
from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.dev.stack import Service, Stack
from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.environment import inherit, unset_variables
from worker.dev.stack.pds import MANIFEST
from worker.dev.stack.supervisor import Reaper
from worker.media import media_type
from worker.queue.depth import Queues
from worker.services import Services, build

_PACKAGES = ("celery", "kombu", "redis", "pymongo", "atproto", "httpx", "pillow")
_BULK_NICENESS = 10  # as in the Procfile


@dataclass(frozen=True, slots=True)
class Author:
    """A user with an account on the PDS, and an access token for it."""

    subject: str
    handle: str
    did: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Harness:
    """Running services, and the means to create accounts, store files and run workers."""

    stack: Stack
    services: Services
    processes: Processes
    platform: Platform
    redis: redis.Redis
    queues: Queues
    bulk_niceness: int
    numbers: Iterator[int]

    @property
    def pds_url(self) -> str:
        """The address of the PDS."""
        return self.services.settings.pds.url

    @property
    def servers(self) -> tuple[Service, ...]:
        """The services that use CPU time for an item."""
        return self.stack.pds, self.stack.mongod, self.stack.valkey

    def live_worker(self) -> AbstractContextManager[Process]:
        """Run the Procfile's worker for saves."""
        return self.processes.worker("--queues", "live,sweep")

    def bulk_worker(self, *options: str) -> AbstractContextManager[Process]:
        """Run the Procfile's worker for batches, with additional options."""
        return self.processes.worker("--queues", "bulk", *options, niceness=self.bulk_niceness)

    def create_authors(self, number: int) -> list[Author]:
        """Create users with accounts."""
        names = [f"author-{next(self.numbers)}" for _ in range(number)]
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(self._create_author, names))

    def states(self, type_name: str, match: Mapping[str, object]) -> list[RawDocument]:
        """Return the `atproto` of all documents of a type that match."""
        collection = self.services.storage.database[media_type(type_name).collection]
        return [raw.get("atproto") or {} for raw in collection.find(match, {"atproto": 1})]  # type: ignore[misc]

    def waiting_messages(self) -> int:
        """Return the number of messages in all queues."""
        lengths = self.queues.lengths()
        return lengths.live + lengths.sweep + lengths.bulk

    def _create_author(self, name: str) -> Author:
        """Create an account and its session, which all workers share."""
        subject, password = f"auth0|{name}", secrets.token_urlsafe(18)
        did = self.platform.sign_up(subject, name, password=password)
        account = self.services.storage.accounts.find(subject)
        if account is None:
            raise LookupError(f"{subject} has no account")
        token = self.services.pds.hosts.for_did(did).sessions.get(account).access.reveal()
        return Author(subject, account.handle, did, password, token)


@contextmanager
def open_harness(
    report: Report,
    *,
    quick: bool,
    pds_environment: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Iterator[Harness]:
    """Start services until the block ends, and describe them in the report.

    `pds_environment` is added to the environment of the PDS, `settings` to that of the workers, and
    `versions` to the versions in the report.
    Services that the environment names are not used: a benchmark creates accounts and stops
    servers. This process becomes a producer for the services. In a quick run all workers have the
    same priority, because a busy machine starves a nice one.
    """
    with ExitStack() as undo:
        folder = Path(
            undo.enter_context(tempfile.TemporaryDirectory(prefix="media-atproto-bench-"))
        )
        data = DataFolder(folder)
        undo.callback(data.release)
        environ = unset_variables(os.environ)
        stack = undo.enter_context(
            Stack.start(folder / "stack", environ, pds_environment=pds_environment)
        )
        reaper = Reaper(data.lock)
        undo.callback(reaper.release)
        environment = {**inherit(os.environ), **stack.environment, **(settings or {})}
        os.environ.update(stack.environment)
        processes = Processes(folder, environment, reaper)
        harness = undo.enter_context(_connected(stack, processes, 0 if quick else _BULK_NICENESS))
        report.describe({**_machine(harness), **(versions or {})})
        yield harness


@contextmanager
def _connected(stack: Stack, processes: Processes, niceness: int) -> Iterator[Harness]:
    environment = processes.environment
    services = build(Settings.load(environment))
    services.ensure_indexes()
    media = Path(environment["MEDIA_STORE_URL"].removeprefix("file://"))
    platform = Platform(services.storage.database, environment["PDS_URL"], media)
    with ExitStack() as undo:
        for service in (stack.pds, stack.mongod, stack.valkey):
            undo.callback(service.kill)  # faster than asking it to end
        undo.callback(services.close)
        undo.callback(app.close)
        client = undo.enter_context(closing(redis.Redis.from_url(environment["REDIS_URL"])))
        queues = undo.enter_context(closing(Queues(services.settings.redis_url)))
        yield Harness(stack, services, processes, platform, client, queues, niceness, count())


def _machine(harness: Harness) -> Mapping[str, str]:
    """Return cores, load and versions, by name."""
    packages = json.loads((MANIFEST / "package.json").read_text())["dependencies"]
    valkey = harness.redis.info("server")
    return {
        "cores": str(os.cpu_count()),
        "load before (1, 5, 15 min)": " ".join(f"{value:.1f}" for value in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        "@atproto/pds": packages["@atproto/pds"],
        "mongod": harness.services.storage.database.client.server_info()["version"],
        "valkey": str(valkey.get("valkey_version", valkey["redis_version"])),
    }
