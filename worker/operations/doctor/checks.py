"""The checks, in the order in which they are carried out.

Modules that need the media types are imported as a check runs: what is wrong with a type is a
finding, not the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from redis import Redis

from worker.core.settings import Settings
from worker.core.settings.reader import SettingsError
from worker.database.mongo import connect
from worker.operations.doctor.machine import Clock, evaluate_clock
from worker.operations.doctor.results import Check, CheckResult

if TYPE_CHECKING:
    from pymongo.database import Database

    from worker.database.mongo import RawDocument
    from worker.services import Services

TYPES = "types"
_TIMEOUT = 5.0  # seconds


def type_checks() -> Iterator[Check]:
    """Yield the checks that need no environment."""

    # Imported as they run: to load the types is what may fail.
    def types() -> list[CheckResult]:
        from worker.operations.doctor.media import check_types

        return check_types()

    def lexicons() -> list[CheckResult]:
        from worker.operations.doctor.media import check_lexicons

        return check_lexicons()

    yield Check(TYPES, TYPES, types, vital=True)
    yield Check(TYPES, "lexicons", lexicons, frozenset({TYPES}))


def service_checks(
    settings: Settings, accounts: int, clock: Clock, resources: ExitStack
) -> Iterator[Check]:
    """Yield the checks of services and credentials; what they open, `resources` closes."""
    yield from _of_mongodb(settings, clock, resources)
    yield from _of_redis(settings, clock)
    yield from _of_pds(settings, clock)
    yield Check("media store", "answer", lambda: _media_store(settings))
    yield from _of_accounts(settings, accounts, resources)


def _of_mongodb(settings: Settings, clock: Clock, resources: ExitStack) -> Iterator[Check]:
    from worker.operations.doctor import mongodb

    @cache
    def database() -> Database[RawDocument]:
        opened = connect(settings)
        resources.callback(opened.client.close)
        return opened

    def server() -> Iterator[CheckResult]:
        facts = mongodb.fetch(database(), clock)
        yield from mongodb.evaluate(facts)
        yield evaluate_clock("mongodb", facts.ahead)

    def indexes() -> list[CheckResult]:
        from worker.operations.doctor.maintenance import check_indexes

        return check_indexes(database())

    def sweep() -> list[CheckResult]:
        from worker.operations.doctor.maintenance import check_overdue

        return check_overdue(database())

    def watch() -> list[CheckResult]:
        from worker.operations.doctor.maintenance import check_watch

        return check_watch(database())

    needs = frozenset({"mongodb", TYPES})
    yield Check("mongodb", "answer", server, vital=True)
    yield Check("mongodb", "indexes", indexes, needs)
    yield Check("workers", "sweep", sweep, needs)
    yield Check("workers", "watch", watch, needs)


def _of_redis(settings: Settings, clock: Clock) -> Iterator[Check]:
    from worker.operations.doctor import redis

    def server() -> Iterator[CheckResult]:
        url, timeout = settings.redis_url.reveal(), _TIMEOUT
        try:
            client = Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
        except ValueError:
            raise SettingsError(["REDIS_URL is not understood by the client"]) from None
        with client:
            facts = redis.fetch(client, clock)
        yield from redis.evaluate(facts)
        yield evaluate_clock("redis", facts.ahead)

    yield Check("redis", "answer", server, vital=True)


def _of_pds(settings: Settings, clock: Clock) -> Iterator[Check]:
    from worker.operations.doctor import pds

    url, directory = settings.pds.url, settings.pds.directory
    facts = cache(lambda: pds.fetch(url, clock))

    def server() -> Iterator[CheckResult]:
        yield from pds.evaluate(facts(), settings.pds.rates.of(urlsplit(url).netloc))
        if (ahead := facts().ahead) is not None:
            yield evaluate_clock("pds", ahead)

    def blobs() -> list[CheckResult]:
        from worker.media.lexicons import type_lexicons

        return [pds.evaluate_uploads(facts().upload_limit, pds.max_blob_size(type_lexicons()))]

    yield Check("pds", "answer", server, vital=True)
    yield Check("pds", "blob limit", blobs, frozenset({"pds", TYPES}))
    yield Check("directory", "answer", lambda: pds.check_directory(directory))


def _media_store(settings: Settings) -> list[CheckResult]:
    from worker.files.opening import open_sources, store_location
    from worker.operations.doctor.media import check_folder, check_store

    if settings.media.store_url.startswith("file:"):
        return check_folder(store_location(settings).root)
    with closing(open_sources(settings, deadline=_TIMEOUT)) as store:
        return check_store(store, settings.media.guest_bucket)


def _of_accounts(settings: Settings, most: int, resources: ExitStack) -> Iterator[Check]:
    from worker.operations.doctor import accounts

    @cache
    def services() -> Services:
        from worker.services import build

        return resources.enter_context(closing(build(settings)))

    def passwords() -> list[CheckResult]:
        return accounts.check_passwords(services().accounts, services().vault)

    def guests() -> list[CheckResult]:
        known = services().accounts
        return accounts.check_guests(known, settings.guest_subject, services().repo)

    def users() -> list[CheckResult]:
        known, database = services().accounts, services().database
        return accounts.check_users(database, known, most, services().repo)

    needs = frozenset({"mongodb", "redis", "pds", TYPES})
    yield Check("accounts", "passwords", passwords, frozenset({"mongodb", TYPES}))
    yield Check("accounts", "guests", guests, needs)
    if most:
        yield Check("accounts", "users", users, needs)
