"""What the contract tests share: clients of the real services, and users of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from tests.contract.auditing import Ground, open_ground
from tests.contract.explaining import Watched, open_watched
from tests.contract.proxy import Proxy, open_proxy
from tests.contract.session_fleet import Fleet, open_fleet
from tests.contract.source_stores import opened
from tests.contract.web_server import Site, serving
from tests.environments import SHORT_RETRIES, new_settings
from tests.fixtures import platform_of, sign_up
from tests.redis_databases import redis_database
from tests.watching import Watch
from tests.world import World, Worlds
from worker.core.documents import Account
from worker.database.store import DocumentStore
from worker.dev.stack import Stack
from worker.files.store import SourceStore
from worker.pds.client import PdsClient, Session
from worker.services import Services


@pytest.fixture
def queue_url(stack: Stack) -> Iterator[str]:
    """Return the address of an empty Redis database."""
    with redis_database(stack.environment["REDIS_URL"]) as url:
        yield url


@pytest.fixture(scope="module")
def watched(stack: Stack) -> Iterator[Watched]:
    """Return a database in which every collection that is queried has documents."""
    with open_watched(new_settings(stack)) as opened:
        yield opened


@pytest.fixture(scope="session")
def pds(stack: Stack) -> Iterator[PdsClient]:
    """Our client of the PDS."""
    with closing(PdsClient(stack.environment["PDS_URL"])) as client:
        yield client


@pytest.fixture(scope="session")
def session(pds: PdsClient, shared_user: Account) -> Session:
    """A session of the shared user; its refresh token can be used again and again."""
    return pds.create_session(shared_user.did, shared_user.password)


@pytest.fixture(scope="session")
def store(shared_services: Services) -> DocumentStore:
    """The store of the shared database."""
    return shared_services.storage.store


@pytest.fixture
def here(shared_services: Services) -> Services:
    """The shared services, their database emptied."""
    database = shared_services.storage.database
    for name in database.list_collection_names():
        database[name].delete_many({})
    return shared_services


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    """Return a world of the module's own."""
    return module_world


@pytest.fixture(scope="module")
def redis_world(worlds: Worlds) -> Iterator[World]:
    """Return a world of the module's own, with a Redis database of its own."""
    with worlds.open_with_redis() as opened:
        yield opened


@pytest.fixture
def empty_redis(redis_world: World) -> Iterator[Redis]:
    """Return a client of the empty Redis database of `redis_world`."""
    with Redis.from_url(redis_world.environ["REDIS_URL"]) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def watch(world: World) -> Watch:
    """Return what watches the calls of batches in the world."""
    return Watch(world.services)


@pytest.fixture
def ground(here: Services, pds_blobs: Path) -> Ground:
    """Return a platform with a user who has published a few things."""
    return open_ground(here, pds_blobs)


@pytest.fixture(scope="module")
def proxied(worlds: Worlds) -> Iterator[tuple[World, Proxy]]:
    """Return a world of the module's own whose PDS is behind a proxy."""
    with (
        open_proxy(worlds.stack.environment["PDS_URL"]) as proxy,
        worlds.open(PDS_URL=proxy.url, **SHORT_RETRIES) as opened,
    ):
        yield opened, proxy


@pytest.fixture
def proxy(proxied: tuple[World, Proxy]) -> Iterator[Proxy]:
    """Return the proxy of `proxied`, which passes everything on and has counted nothing."""
    proxied[1].be_honest()
    proxied[1].forget_calls()
    yield proxied[1]
    proxied[1].be_honest()


@pytest.fixture
def fleet(
    stack: Stack, shared_services: Services, shared_user: Account, session: Session
) -> Iterator[Fleet]:
    """The sessions of workers whose calls are counted."""
    with open_fleet(stack, shared_services.pds.vault, shared_user, session) as opened:
        yield opened


@pytest.fixture
def own_fleet(own_stack: Stack, own_world: World) -> Iterator[Fleet]:
    """The same on services that the test may stop."""
    account = own_world.services.storage.accounts.find(own_world.ada)
    assert account
    with closing(PdsClient(own_stack.pds.url)) as pds:
        session = pds.create_session(account.did, account.password)
    with open_fleet(own_stack, own_world.services.pds.vault, account, session) as opened:
        yield opened


@pytest.fixture
def passing(fleet: Fleet, shared_services: Services) -> Fleet:
    """The same for a user who will not stay in good standing."""
    account = sign_up(platform_of(shared_services))
    session = fleet.pds.create_session(account.did, account.password)
    fleet.proxy.forget_calls()
    return replace(fleet, account=account, session=session)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for files."""
    path = tmp_path / "media with space"
    path.mkdir()
    return path


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    """A web server over the folder."""
    with serving(folder) as running:
        yield running


@pytest.fixture
def web(site: Site) -> Iterator[SourceStore]:
    """A store that is the web server."""
    with opened(site.url) as opened_store:
        yield opened_store


@pytest.fixture
def local(folder: Path) -> Iterator[SourceStore]:
    """A store that is the folder."""
    with opened(folder.as_uri()) as opened_store:
        yield opened_store
