"""Everything that could let a secret out, done to real processes that log all they can.

Nothing here waits for what a healthy run does; each mishap is waited for by its trace.
"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from kombu import Connection

from tests import pictures
from tests.canaries import Net
from tests.contract.proxy import Proxy, Reply
from tests.fleet import Process
from tests.guarded_services import Guarded
from tests.sentry_server import SentryServer
from tests.system.flower_api import FlowerApi
from tests.waiting import wait_for
from tests.world import World
from worker.app import app
from worker.queue.names import LIVE

PATIENCE = 90.0


@dataclass(frozen=True)
class Stage:
    """A platform behind passwords and TLS, a worker of it at DEBUG, and what it meets."""

    world: World
    valkey: Guarded
    mongod: Guarded
    environ: dict[str, str]
    folder: Path
    proxy: Proxy
    sentry: SentryServer
    worker: Process
    flower: FlowerApi
    heard: list[str]
    misfits: Mapping[str, Process]
    net: Net

    def send(self, *arguments: object, task: str = "sync_media") -> None:
        """Send a message."""
        with Connection(self.environ["REDIS_URL"]) as connection:
            app.send_task(task, args=arguments, connection=connection, queue=LIVE)

    def save_mood(self, text: str, user: str) -> str:
        """Save a mood and enqueue it."""
        mood = self.world.platform.save_mood(text, user)
        self.send("mood", str(mood))
        return str(mood)

    def wait_for_log(self, *words: str) -> None:
        """Wait until the worker has logged a line with all these words."""

        def logged() -> bool:
            lines = self.worker.text.splitlines()
            return any(all(word in line for word in words) for line in lines)

        wait_for(logged, within=PATIENCE, what=f"{words} in the worker's log")


def quoting(error: str) -> Callable[[str], str]:
    """Return a way to answer with a request in every spelling, in an error of this name."""

    def answer(request: str) -> str:
        plain = base64.b64encode(request.encode()).decode()
        return json.dumps({"error": error, "message": f"{request} {plain}", "request": request})

    return answer


def meet_a_gateway_that_quotes(stage: Stage) -> None:
    """Each call's secrets come back, in each kind of answer."""
    world, proxy = stage.world, stage.proxy
    denied = Reply(400, quoting=quoting("Denied"))
    proxy.answer(denied, "putRecord")
    stage.wait_for_log(stage.save_mood("refused", world.ada), "Denied")
    proxy.answer(Reply(200, quoting=quoting("Odd")), "uploadBlob")
    world.platform.store("quoted.png", pictures.pixel_art(), world.ada)
    painting = str(world.platform.save_painting("quoted", world.ada))
    stage.send("painting", painting)
    stage.wait_for_log(painting, "cannot be read")
    proxy.answer(Reply(502, quoting=str, content_type="text/html"), "createSession")
    stage.wait_for_log(stage.save_mood("a page", world.bob), "answered 502")


def meet_an_expired_session(stage: Stage) -> None:
    """The access token, the refresh token and the password are refused, one after the other."""
    stage.proxy.answer(Reply(400, quoting=quoting("ExpiredToken")), "putRecord")
    stage.proxy.answer(Reply(400, quoting=quoting("InvalidToken")), "refreshSession")
    stage.proxy.answer(Reply(401, quoting=quoting("AuthenticationRequired")), "createSession")
    stage.wait_for_log(stage.save_mood("expired", stage.world.ada), "password is refused")


def meet_a_pds_that_is_down(stage: Stage) -> None:
    """The connection ends in the middle of an answer."""
    stage.proxy.be_honest()
    stage.proxy.answer(Reply(200, b"{", cut=True))
    stage.send("kidlisp", item := str(stage.world.platform.save_kidlisp("(line)", None)))
    stage.wait_for_log(item, "no answer from the PDS")
    stage.proxy.be_honest()


def meet_bugs_and_limits(stage: Stage) -> None:
    """An unexpected error with the password in a local variable, and both time limits."""
    stage.save_mood("one bug", stage.world.ada)
    stage.wait_for_log("ZeroDivisionError")
    mood = stage.world.platform.save_mood("no end", stage.world.ada)
    with Connection(stage.environ["REDIS_URL"]) as connection:
        # The task's own limits are above what a test should wait for.
        app.send_task(
            "sync_media",
            args=("mood", str(mood)),
            connection=connection,
            queue=LIVE,
            soft_time_limit=2,
            time_limit=3,
        )


def meet_poison(stage: Stage) -> None:
    """Messages of the wrong shape."""
    stage.send("hologram", "1")
    stage.send("mood", {"$gt": ""})
    stage.send(1, 2, 3, 4)
    stage.send("x", task="task_of_the_future")
    stage.wait_for_log("task task_of_the_future")


class Grenade:
    """Something whose unpickling makes a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self._file,)


def send_pickle(stage: Stage, file: Path) -> None:
    """Send a message as a worker that takes pickles would."""
    body = pickle.dumps((["mood", Grenade(file)], {}, {}))
    headers = {"task": "sync_media", "id": uuid4().hex, "retries": 0}
    with Connection(stage.environ["REDIS_URL"]) as connection:
        connection.Producer().publish(
            body,
            routing_key=LIVE,
            exchange=LIVE,
            headers=headers,
            content_type="application/x-python-serialize",
            content_encoding="binary",
        )


def unpickled(file: Path) -> Path:
    """Return the file that unpickling makes."""
    pickle.loads(pickle.dumps(Grenade(file)))
    return file
