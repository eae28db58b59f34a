"""Run the demo: start services and a worker, play the scenes, check the result."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pymongo import MongoClient

from worker.database.mongo import RawDocument
from worker.dev.demo.check import Result, check_items
from worker.dev.demo.platform import Platform
from worker.dev.demo.processes import Processes
from worker.dev.demo.scenes import People, Scenes
from worker.dev.demo.uploads import Enqueue, Person, Uploads
from worker.dev.stack import Stack
from worker.dev.stack.data_folder import DataFolder, write_private
from worker.dev.stack.environment import as_env_file, inherit, unset_variables

Progress = Callable[[str], None]
_CHECK_EVERY = 0.25
# Seconds instead of minutes and hours.
_FAST = {
    "SWEEP_INTERVAL_SECONDS": "1",
    "SWEEP_GRACE_SECONDS": "4",
    "SWEEP_REQUEUE_SECONDS": "10",
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_CEILING_SECONDS": "4",
    "MAX_ATTEMPTS": "1000",
}


@dataclass(frozen=True, slots=True)
class FinishedDemo:
    """The results of a demo whose services are still running.

    `pages` are the addresses of Flower and the status page, and their login. `env_file` is the
    environment for other commands; `check` raises when a process has died.
    """

    results: Sequence[Result]
    pages: Sequence[tuple[str, str]]
    env_file: Path
    check: Callable[[], None]

    def wait(self) -> None:
        """Wait for Ctrl-C. Raises StackError if a process dies before."""
        with suppress(KeyboardInterrupt):
            while True:
                self.check()
                time.sleep(_CHECK_EVERY)


@contextmanager
def play(folder: Path, progress: Progress, *, pages: bool) -> Iterator[FinishedDemo]:
    """Play the demo with all data in `folder`; stop everything when the block ends.

    With `pages`, Flower and the status page are started as well. Raises StackError when a
    process cannot start or dies.
    """
    with ExitStack() as resources:
        data = DataFolder(folder)
        resources.callback(data.release)
        stack = resources.enter_context(_start_stack(data.path / "stack", progress))
        settings = {**stack.environment, **_FAST}
        environment = {**inherit(os.environ), **settings}
        processes = resources.enter_context(Processes(data, environment))

        def check() -> None:
            stack.check()
            processes.check()

        processes.start_worker()
        addresses = processes.start_pages() if pages else []
        platform = resources.enter_context(_open_platform(settings))
        people = _sign_up(platform, progress)
        uploads = Uploads(platform, _producer(environment))
        items = Scenes(uploads, people, stack.pds, check, progress).play()
        progress("Reading records and blobs back from the PDS")
        results = check_items(platform, settings["PDS_URL"], items)
        (data.path / "pds.pid").write_text(f"{stack.pds.pid}\n")
        env_file = data.path / "env"
        write_private(env_file, as_env_file(settings))
        yield FinishedDemo(results, addresses, env_file, check)


def _start_stack(folder: Path, progress: Progress) -> Stack:
    progress("Starting MongoDB, Valkey and a PDS")
    environ = unset_variables(os.environ)
    # A new database, because the folder may be that of an earlier run.
    environ["MONGODB_NAME"] = f"demo-{secrets.token_hex(4)}"
    return Stack.start(folder, environ, progress=progress)


@contextmanager
def _open_platform(settings: Mapping[str, str]) -> Iterator[Platform]:
    media = Path(unquote(urlsplit(settings["MEDIA_STORE_URL"]).path))
    client: MongoClient[RawDocument]
    with MongoClient(settings["MONGODB_CONNECTION_STRING"], tz_aware=True) as client:
        yield Platform(client[settings["MONGODB_NAME"]], settings["PDS_URL"], media)


def _sign_up(platform: Platform, progress: Progress) -> People:
    """Create the accounts of two users and of the guests; a third user has none."""
    mark = secrets.token_hex(3)  # the handles of an earlier run are taken

    def user(name: str) -> Person:
        did = platform.sign_up(f"auth0|{name}", f"{name}-{mark}", screen_name=name)
        return Person(f"auth0|{name}", name, did)

    ada, bob = user("ada"), user("bob")
    guest = Person("art-guest", None, platform.sign_up("art-guest", f"guests-{mark}"))
    progress(f"Created the accounts ada-{mark}.test, bob-{mark}.test, guests-{mark}.test")
    return People(ada, bob, guest, Person("auth0|stranger", "stranger", None))


def _producer(environment: Mapping[str, str]) -> Enqueue:
    """Return `tasks.enqueue`, which reads the environment of this process."""
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]  # Celery would prefer them to the demo's own queue
    os.environ.update(environment)
    import tasks

    return tasks.enqueue
