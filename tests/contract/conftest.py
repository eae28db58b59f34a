"""What the contract tests share: clients of the real services, and users of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from tests.contract.proxy import open_proxy
from tests.contract.session_fleet import Fleet
from tests.contract.source_stores import opened
from tests.contract.web_server import Site, serving
from tests.fixtures import platform_of, sign_up
from worker.documents import Account
from worker.pds import Pds, Session
from worker.secrets import Vault
from worker.services import Services
from worker.sessions import Sessions
from worker.source import SourceStore
from worker.stack import Stack
from worker.store import Store


@pytest.fixture(scope="session")
def pds(stack: Stack) -> Iterator[Pds]:
    """Our client of the PDS."""
    with closing(Pds(stack.pds.url)) as client:
        yield client


@pytest.fixture(scope="session")
def session(pds: Pds, shared_user: Account) -> Session:
    """A session of the shared user; its refresh token can be used again and again."""
    return pds.create_session(shared_user.did, shared_user.password)


@pytest.fixture(scope="session")
def store(shared_services: Services) -> Store:
    """The store of the shared database."""
    return shared_services.store


@pytest.fixture
def here(shared_services: Services) -> Services:
    """The shared services, their database emptied."""
    database = shared_services.database
    for name in database.list_collection_names():
        database[name].delete_many({})
    return shared_services


@pytest.fixture
def fleet(
    stack: Stack, shared_services: Services, shared_user: Account, session: Session
) -> Iterator[Fleet]:
    """The sessions of workers whose calls are counted."""
    with ExitStack() as undo:
        proxy = undo.enter_context(open_proxy(stack.pds.url))
        pds = Pds(proxy.url)
        undo.callback(pds.close)

        def open_sessions(vault: Vault, parked: float) -> Sessions:
            redis = undo.enter_context(
                Redis.from_url(stack.environment["REDIS_URL"], socket_timeout=5)
            )
            return Sessions(redis, vault, pds, parked=parked)

        redis = undo.enter_context(Redis.from_url(stack.environment["REDIS_URL"]))
        vault = shared_services.vault
        fleet = Fleet(proxy, redis, vault, pds, shared_user, session, open_sessions)
        yield fleet
        for name in fleet.names():
            redis.delete(name)


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
