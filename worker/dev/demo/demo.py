"""The demo as a whole: services, a worker, the story, the verification; everything real."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from worker.database.mongo import RawDocument
from worker.dev.demo.display import Display
from worker.dev.demo.expected import PdsReader
from worker.dev.demo.platform import Platform
from worker.dev.demo.processes import Flower, Processes, clean_environment
from worker.dev.demo.scenes import People, Scenes
from worker.dev.demo.uploads import Enqueue, Person, UploadedItem, Uploads
from worker.dev.demo.verification import Report, Verification
from worker.dev.stack import Stack, StackError
from worker.dev.stack.data_folder import DataFolder, write_private
from worker.dev.stack.environment import as_env_file, unset_variables

_CONCURRENCY = 2
_CHECK_EVERY = 0.25
_FLOWER_LAG = 10.0
# Minutes and hours become seconds, so that one can watch.
_FAST = {
    "SWEEP_INTERVAL_SECONDS": "1",
    "SWEEP_GRACE_SECONDS": "4",
    "SWEEP_REQUEUE_SECONDS": "10",
    "RETRY_BASE_SECONDS": "0.5",
    "RETRY_CEILING_SECONDS": "4",
    "MAX_ATTEMPTS": "1000",
}


@dataclass(frozen=True, slots=True)
class DemoRun:
    """A demo whose services still run: its report, and where everything is.

    `env_file` names the services to other commands, `example` an item to try them on; `page` is
    the address of the status page, whose login is Flower's; `check` raises when a process dies.
    """

    report: Report
    example: str
    folder: Path
    env_file: Path
    environment: Mapping[str, str] = field(repr=False)
    flower: Flower | None
    page: str | None
    check: Callable[[], None]

    def wait(self) -> None:
        """Return on Ctrl-C; raises StackError if a process dies before."""
        try:
            while True:
                self.check()
                time.sleep(_CHECK_EVERY)
        except KeyboardInterrupt:
            return


@contextmanager
def play(folder: Path, display: Display, *, flower: bool) -> Iterator[DemoRun]:
    """Play the demo, all its data in a folder, and stop everything at the end.

    Services that the environment names are left alone: the demo makes accounts and documents.
    Raises StackError when a process cannot start or dies.
    """
    with ExitStack() as undo:
        data = DataFolder(folder)
        undo.callback(data.release)
        stack = undo.enter_context(_start_stack(data.path / "stack", display))
        environment = {**clean_environment(os.environ), **stack.environment, **_FAST}
        processes = undo.enter_context(Processes(data, environment))
        check = partial(_check, stack, processes)
        undo.enter_context(_explain(check))
        log = processes.start_worker(_CONCURRENCY)
        watcher = processes.start_flower() if flower else None
        platform = undo.enter_context(_open_platform(environment))
        cast = _sign_up(platform, display)
        processes.await_worker()
        if watcher:
            processes.await_flower(watcher)
        display.say(f"the worker is ready; its log: {log}")
        uploads = Uploads(platform, _producer(environment))
        items = Scenes(platform, uploads, cast, stack.pds, display, check).play()
        display.scene("Every record and blob is read back from the PDS")
        with PdsReader(environment["PDS_URL"]) as reader:
            report = Verification(platform, reader, cast.people).run(items)
        if watcher:
            report = replace(report, strays=(*report.strays, *_not_in_flower(watcher, items)))
        env_file = data.path / "env"
        write_private(env_file, as_env_file({**stack.environment, **_FAST}))
        (data.path / "pds.pid").write_text(f"{stack.pds.pid}\n")
        page = processes.start_page(watcher) if watcher else None
        example = next(
            f"{item.type} {item.id}" for item in items if item.file and item.is_published
        )
        yield DemoRun(report, example, data.path, env_file, environment, watcher, page, check)


def _check(stack: Stack, processes: Processes) -> None:
    stack.check()
    processes.check()


@contextmanager
def _open_platform(environment: Mapping[str, str]) -> Iterator[Platform]:
    url, name = environment["MONGODB_CONNECTION_STRING"], environment["MONGODB_NAME"]
    media = Path(unquote(urlsplit(environment["MEDIA_STORE_URL"]).path))
    client: MongoClient[RawDocument]
    with MongoClient(url, tz_aware=True) as client:
        yield Platform(client[name], environment["PDS_URL"], media)


def _not_in_flower(flower: Flower, items: Sequence[UploadedItem]) -> Iterator[str]:
    """Yield a complaint for every item of which Flower has not seen a task, in a few seconds."""
    deadline = time.monotonic() + _FLOWER_LAG
    while missing := _not_listed(flower, items):
        if time.monotonic() > deadline:
            break
        time.sleep(_CHECK_EVERY)
    for item in missing:
        yield f"Flower shows no task over {item.type} {item.id}"


def _not_listed(flower: Flower, items: Sequence[UploadedItem]) -> list[UploadedItem]:
    seen = " ".join(str(task.get("args")) for task in flower.tasks().values())
    return [item for item in items if str(item.id) not in seen]


@contextmanager
def _explain(check: Callable[[], None]) -> Iterator[None]:
    """Turn the errors of clients into what is behind them: a service that has died, mostly."""
    try:
        yield
    except (httpx.HTTPError, PyMongoError) as error:
        check()
        told = f"a service did not do as it was asked: {type(error).__name__}: {error}"
        raise StackError(f"{told}\nRun it with --data DIR to find all logs there.") from error


def _start_stack(folder: Path, display: Display) -> Stack:
    display.scene("MongoDB, Valkey and a PDS start")
    environ = unset_variables(os.environ)
    # A database and handles of its own, should the folder be from an earlier run.
    environ["MONGODB_NAME"] = f"demo-{secrets.token_hex(4)}"
    return Stack.start(folder, environ, progress=display.say)


def _sign_up(platform: Platform, display: Display) -> People:
    mark = secrets.token_hex(3)

    def person(name: str) -> Person:
        did = platform.sign_up(f"auth0|{name}", f"{name}-{mark}", screen_name=name)
        return Person(f"auth0|{name}", name, did)

    ada, bob = person("ada"), person("bob")
    guest = Person("art-guest", None, platform.sign_up("art-guest", f"guests-{mark}"))
    display.say(f"accounts: ada-{mark}.test, bob-{mark}.test, guests-{mark}.test")
    return People(ada, bob, guest, Person("auth0|stranger", "stranger", None))


def _producer(environment: Mapping[str, str]) -> Enqueue:
    """Return the `enqueue` that upload functions call; it reads this process's environment."""
    for name in [name for name in os.environ if name.startswith("CELERY_")]:
        del os.environ[name]  # Celery would have them win over the demo's own queue
    os.environ.update(environment)
    import tasks

    return tasks.enqueue
