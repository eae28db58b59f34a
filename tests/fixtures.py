"""Fixtures for tests of the engine: settings, services, a platform and its users.

Each set of services has a MongoDB database of its own; the PDS and Redis are shared by the whole
run, so users get names that nobody has had before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from tests.environments import new_settings
from worker.core.documents import Account
from worker.core.secrets import Secret
from worker.core.settings import Settings
from worker.dev.demo.platform import Platform
from worker.dev.stack import Stack
from worker.services import Services, build

Opener = Callable[[Settings], Services]


def sign_up(platform: Platform, *, password: str | None = None) -> Account:
    """Create a user with an account on the PDS, named as nobody before."""
    name = f"u{uuid4().hex[:12]}"
    subject, secret = f"auth0|{name}", password or f"password-of-{name}"
    did = platform.sign_up(subject, name, password=secret)
    return Account(subject, did, f"{name}.test", Secret(secret), screen_name=name)


@pytest.fixture
def settings(stack: Stack) -> Settings:
    """Return settings with short times and the name of a database that nobody has used."""
    return new_settings(stack)


@pytest.fixture
def open_services() -> Iterator[Opener]:
    """Return a function that builds services, closed and their database dropped after the test."""
    with ExitStack() as undo:

        def open_with(settings: Settings) -> Services:
            services = build(settings)
            undo.callback(_dispose, services)
            return services

        yield open_with


@pytest.fixture
def services(settings: Settings, open_services: Opener) -> Services:
    """Return services on a database of the test's own, its indexes made."""
    opened = open_services(settings)
    opened.ensure_indexes()
    return opened


@pytest.fixture
def platform(services: Services) -> Platform:
    """Return the upload side of `services`: whoever signs up and saves documents."""
    return platform_of(services)


@pytest.fixture
def user(platform: Platform) -> Account:
    """Return a user of `platform` with an account on the PDS."""
    return sign_up(platform)


@pytest.fixture(scope="session")
def shared_services(stack: Stack) -> Iterator[Services]:
    """Return services on one database, for tests that do not mind what is in it."""
    opened = build(new_settings(stack))
    opened.ensure_indexes()
    try:
        yield opened
    finally:
        _dispose(opened)


@pytest.fixture(scope="session")
def shared_user(shared_services: Services) -> Account:
    """Return a user with an account on the PDS, for tests that leave both as they are."""
    return sign_up(platform_of(shared_services))


def platform_of(services: Services) -> Platform:
    """Return the upload side of services whose media are in a local folder."""
    settings = services.settings
    media = Path(settings.media.store_url.removeprefix("file://"))
    return Platform(services.storage.database, settings.pds.url, media, settings.guest_subject)


def _dispose(services: Services) -> None:
    services.storage.database.client.drop_database(services.storage.database.name)
    services.close()


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    """Return a client of Redis."""
    with Redis.from_url(stack.environment["REDIS_URL"]) as client:
        yield client
