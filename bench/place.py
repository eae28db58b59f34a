"""Where everything is measured: services of the run's own, and authors with accounts."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis

from bench.processes import Processes
from worker.core.settings import Settings
from worker.dev.demo.platform import Platform
from worker.dev.stack import Stack
from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.environment import inherit, unset_variables
from worker.services import Services, build

BULK_NICENESS = 10  # as in the Procfile; a quick run uses 0, because a busy machine starves it


@dataclass(frozen=True, slots=True)
class Author:
    """Someone who uploads: the platform's user, their account, and an access token for it."""

    subject: str
    handle: str
    did: str
    password: str = field(repr=False)
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Running services, the platform that saves items, and processes that publish them.

    The worker for batches runs with `bulk_niceness`.
    """

    stack: Stack
    services: Services
    platform: Platform
    processes: Processes
    authors: tuple[Author, ...]
    queue: redis.Redis
    bulk_niceness: int

    @property
    def pds_url(self) -> str:
        """The address of the PDS."""
        return self.services.settings.pds.url

    def servers(self) -> Mapping[str, psutil.Process]:
        """Return the processes of the services, by name."""
        running = (self.stack.pds, self.stack.mongod, self.stack.valkey)
        return {service.name: psutil.Process(service.pid) for service in running}

    def recruit(self, name: str, number: int) -> tuple[Author, ...]:
        """Sign up so many more authors, who are called after a name that nobody has used."""
        return _recruit(self.platform, self.services, name, number)


@contextmanager
def open_place(
    authors: int,
    *,
    pds_environment: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    bulk_niceness: int = BULK_NICENESS,
) -> Iterator[Place]:
    """Start services and sign up authors; everything is gone at the end.

    `pds_environment` is added to the PDS's environment, `settings` to that of the workers.
    Services that the environment names are left alone: this makes accounts, and stops servers.
    """
    with tempfile.TemporaryDirectory(prefix="media-atproto-bench-") as name:
        data = DataFolder(Path(name))
        try:
            with Stack.start(
                data.path / "stack", unset_variables(os.environ), pds_environment=pds_environment
            ) as stack:
                environment = inherit(os.environ) | stack.environment
                environment |= settings or {}
                with Processes(data, environment) as processes:
                    yield from _opened(stack, processes, environment, authors, bulk_niceness)
        finally:
            data.release()


def _opened(
    stack: Stack,
    processes: Processes,
    environment: Mapping[str, str],
    authors: int,
    bulk_niceness: int,
) -> Iterator[Place]:
    services = build(Settings.load(environment))
    services.ensure_indexes()
    media = Path(environment["MEDIA_STORE_URL"].removeprefix("file://"))
    platform = Platform(services.database, environment["PDS_URL"], media)
    queue = redis.Redis.from_url(environment["REDIS_URL"])
    try:
        known = _recruit(platform, services, "author", authors)
        yield Place(stack, services, platform, processes, known, queue, bulk_niceness)
    finally:
        queue.close()
        services.close()
        for service in (stack.pds, stack.mongod, stack.valkey):
            service.kill()  # nothing of theirs is kept


def _recruit(platform: Platform, services: Services, name: str, number: int) -> tuple[Author, ...]:
    with ThreadPoolExecutor(4) as pool:
        names = (f"{name}-{n}" for n in range(number))
        return tuple(pool.map(lambda own: _sign_up(platform, services, own), names))


def _sign_up(platform: Platform, services: Services, name: str) -> Author:
    """Make an account, and the session that every worker will find in Redis."""
    subject, password = f"auth0|{name}", secrets.token_urlsafe(18)
    did = platform.sign_up(subject, name, password=password)
    account = services.accounts.find(subject)
    if account is None:
        raise LookupError(f"{subject} was signed up and has no account")
    token = services.pds_hosts.for_did(did).sessions.get(account).access.reveal()
    return Author(subject, account.handle, did, password, token)
