"""Services for all tests, and how tests are spread over the processes of pytest-xdist.

One set of services serves all processes: the controller starts it and hands each process the
addresses. It must not be stopped. Tests that stop, kill or freeze a service use `own_stack` or
`own_worlds`; they run in one process, with a set of their own.
"""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.environments import SHORT_RETRIES
from tests.redis_databases import redis_database
from tests.scene import Scene, open_scene
from tests.webpage import WebPage, serving
from tests.world import World, Worlds
from worker.dev.stack import Stack
from worker.dev.stack.environment import unset_variables

pytest_plugins = ["tests.fixtures"]

_SHARED = pytest.StashKey[dict[str, Any]]()
_TARGETS = "tests/system/test_targets.py"  # each of its tests takes long and stands alone
_SLOWEST_FIRST = ("system", "acceptance", "story", "contract", "properties", "faults")

# What a shell runs in the background ignores Ctrl-C, and so would all programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """Runs the tests of a module in one process, and those with `own_stack` in one too.

    Fixtures of a module are then set up once. pytest-xdist 3.8 does not see the marker
    `xdist_group` with pytest 9, so the processes write the names of the tests to a file.
    """

    @cached_property
    def _own_stack(self) -> frozenset[str]:
        return frozenset(_list_of_own_stack(_shared(self.config)).read_text().splitlines())

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if nodeid in self._own_stack:
            return "own stack"
        return nodeid if module == _TARGETS else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Return the scheduler, which takes tests in the order of their collection."""
    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first: what has a stack of its own, then folder by folder."""
    items.sort(key=_order)
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
        names = [item.nodeid for item in items if _stops_services(item)]
        _list_of_own_stack(_shared(config)).write_text("\n".join(names))


def _order(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    place = _SLOWEST_FIRST.index(folder) if folder in _SLOWEST_FIRST else len(_SLOWEST_FIRST)
    if _stops_services(item):
        return -2
    return -1 if item.nodeid.startswith(_TARGETS) else place


def _stops_services(item: pytest.Item) -> bool:
    return "own_stack" in getattr(item, "fixturenames", ())


def _list_of_own_stack(shared: dict[str, Any]) -> Path:
    return Path(shared["folder"]) / "own-stack"


def pytest_configure_node(node: Any) -> None:
    """Hand the shared services to a process of pytest-xdist."""
    node.workerinput["shared"] = _shared(node.config)


def _shared(config: pytest.Config) -> dict[str, Any]:
    """Return the addresses of the shared services, started at the first call in the controller."""
    if hasattr(config, "workerinput"):
        return dict(config.workerinput["shared"])
    if _SHARED not in config.stash:
        folder = tempfile.TemporaryDirectory(prefix="media-atproto-tests-")
        config.add_cleanup(folder.cleanup)
        stack = Stack.start(Path(folder.name), unset_variables(os.environ))
        config.add_cleanup(stack.stop)
        environment = dict(stack.environment)
        del environment["MEDIA_STORE_URL"]  # a folder for each process
        admin = ("admin", stack.pds_admin_password)
        shared = {"environment": environment, "admin": admin, "folder": folder.name}
        config.stash[_SHARED] = shared
    return config.stash[_SHARED]


@pytest.fixture(scope="session")
def bare_environ() -> dict[str, str]:
    """Return the environment without the project's own variables.

    Tests write, drop and kill: they must never reach services that a shell happens to name.
    """
    return unset_variables(os.environ)


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bare_environ: dict[str, str],
) -> Iterator[Stack]:
    """Return the shared services: MongoDB, a Redis database of this process, PLC and PDS."""
    named = {**bare_environ, **_shared(request.config)["environment"]}
    folder = tmp_path_factory.mktemp("stack")
    with (
        redis_database(named["REDIS_URL"]) as url,
        Stack.start(folder, {**named, "REDIS_URL": url}, progress=_no_progress) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def pds_admin(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Return name and password of the administrator of the shared PDS."""
    name, password = _shared(request.config)["admin"]
    return name, password


@pytest.fixture(scope="session")
def pds_blobs(request: pytest.FixtureRequest) -> Path:
    """Return the folder in which the shared PDS keeps blobs, one folder per account in it."""
    return Path(_shared(request.config)["folder"]) / "pds" / "blobs"


@pytest.fixture(scope="session")
def own_stack(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[Stack]:
    """Return services that a test may stop, kill and freeze, if it starts them again."""
    with Stack.start(tmp_path_factory.mktemp("stack"), bare_environ) as running:
        yield running


@pytest.fixture(scope="session")
def worlds(stack: Stack) -> Worlds:
    """Return what opens worlds on the shared services."""
    return Worlds(stack)


@pytest.fixture(scope="session")
def own_worlds(own_stack: Stack) -> Worlds:
    """Return what opens worlds on services that a test may stop."""
    return Worlds(own_stack)


@pytest.fixture(scope="module")
def module_world(worlds: Worlds) -> Iterator[World]:
    """Return a world of the module's own, with short pauses between retries."""
    with worlds.open(**SHORT_RETRIES) as opened:
        yield opened


@pytest.fixture
def new_world(worlds: Worlds, module_world: World) -> Iterator[World]:
    """Return the module's world without documents, whose users have empty repos."""
    with worlds.renewed(module_world) as renewed:
        yield renewed


@pytest.fixture
def own_world(own_worlds: Worlds) -> Iterator[World]:
    """Return a world whose services the test may stop, with short pauses between retries."""
    with own_worlds.open(**SHORT_RETRIES) as opened:
        yield opened


@pytest.fixture(scope="module")
def scene(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a platform with a queue of the module's own; it has no worker yet."""
    with open_scene(worlds, tmp_path_factory.mktemp("scene")) as opened:
        yield opened


@pytest.fixture(scope="module")
def site(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebPage]:
    """Return the status page of the module's scene."""
    with serving(scene.environ, tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture
def own_scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a platform whose services the test may stop; it has no worker yet."""
    with open_scene(own_worlds, tmp_path_factory.mktemp("own")) as scene:
        yield scene


def _no_progress(_line: str) -> None:
    """Print nothing: every process would say the same."""
