"""Incidents of Redis: it rejects commands or closes connections, until they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bson import ObjectId
from redis import Redis

from tasks import enqueue
from tests.fleet import Process, frozen
from tests.scene import Scene
from tests.waiting import wait_for
from worker.dev.stack import Stack
from worker.queue.names import LIVE

_PATIENCE = 180.0  # seconds; workers connect again up to 30 s apart
_REJECTED = "the queue cannot be used"
_LOST = "the queue cannot be reached"


@dataclass(frozen=True)
class Incident:
    """How Redis is broken and repaired, and the text that workers log meanwhile."""

    start: Callable[[Redis], object]
    end: Callable[[Redis], object]
    sign: str


def put_text(name: str) -> Callable[[Redis], object]:
    """Return what makes a key a string, whatever it was."""
    return lambda client: client.set(name, "text")


def remove(name: str) -> Callable[[Redis], object]:
    """Return what deletes a key."""
    return lambda client: client.delete(name)


def configure(**options: object) -> Callable[[Redis], object]:
    """Return what sets options of the server."""
    return lambda client: [
        client.config_set(name.replace("_", "-"), value)  # type: ignore[arg-type]
        for name, value in options.items()
    ]


def reset_connections(client: Redis) -> None:
    """Close all connections but this one."""
    client.client_kill_filter(_type="normal", skipme=True)


def refuse_connections(**options: object) -> Callable[[Redis], object]:
    """Return what sets options, and closes all connections but this one."""

    def start(client: Redis) -> None:
        configure(**options)(client)
        reset_connections(client)

    return start


def _data_file(client: Redis) -> Path:
    options: dict[str, str] = client.config_get("dir", "dbfilename")  # type: ignore[assignment]
    return Path(options["dir"]) / options["dbfilename"]


def fail_to_save(client: Redis) -> None:
    """Have a folder in the place of the file that Redis saves, so that it takes no writes."""
    file = _data_file(client)
    file.unlink(missing_ok=True)
    (file / "full").mkdir(parents=True)
    configure(save="3600 1", stop_writes_on_bgsave_error="yes")(client)
    client.bgsave()
    _wait_for_save(client, "err")


def save_again(client: Redis) -> None:
    """Remove that folder."""
    file = _data_file(client)
    (file / "full").rmdir()
    file.rmdir()
    client.bgsave()
    _wait_for_save(client, "ok")
    configure(save="")(client)


def _wait_for_save(client: Redis, status: str) -> None:
    def is_over() -> bool:
        state: dict[str, object] = client.info("persistence")
        return state["rdb_last_bgsave_status"] == status and not state["rdb_bgsave_in_progress"]

    wait_for(is_over, within=_PATIENCE, what=f"a save of Redis that is {status}")


INCIDENTS = {
    "read-only": Incident(
        lambda client: client.replicaof("127.0.0.1", 1),
        lambda client: client.replicaof("NO", "ONE"),
        f"{_REJECTED}: Redis is read-only",
    ),
    "out of memory": Incident(
        configure(maxmemory=1), configure(maxmemory=0), f"{_REJECTED}: Redis is out of memory"
    ),
    "disk full": Incident(fail_to_save, save_again, f"{_REJECTED}: Redis cannot save its data"),
    "list of wrong type": Incident(put_text(LIVE), remove(LIVE), _REJECTED),
    "unacked of wrong type": Incident(
        put_text("unacked"), remove("unacked"), "in flight is not saved"
    ),
    "password changed": Incident(
        refuse_connections(requirepass="new"), configure(requirepass=""), f"{_LOST}: Redis does not"
    ),
    "too many clients": Incident(
        refuse_connections(maxclients=1), configure(maxclients=10_000), f"{_LOST}: Redis did not"
    ),
    "connections reset": Incident(reset_connections, reset_connections, "item synced"),
}


@contextmanager
def during(incident: Incident, url: str) -> Iterator[None]:
    """Have Redis broken until the block ends."""
    with Redis.from_url(url) as client, ExitStack() as undo:
        undo.callback(incident.end, client)
        incident.start(client)
        yield


def wait_for_sign(process: Process, text: str, count: int = 1) -> None:
    """Wait until a program has logged a text."""
    wait_for(lambda: process.text.count(text) >= count, within=_PATIENCE, what=text)


def break_at_work(
    scene: Scene, stack: Stack, incident: Incident, workers: Process
) -> list[ObjectId]:
    """Break Redis while a worker is busy and messages wait, until it logs that; return all moods.

    One of them is saved meanwhile.
    """
    platform, ada = scene.world.platform, scene.world.ada
    moods = [platform.save_mood(f"before {number}", ada) for number in range(8)]
    seen = workers.text.count(incident.sign)
    with ExitStack() as meanwhile:
        with frozen(stack.pds):
            for mood in moods:
                scene.enqueue("mood", mood)
            scene.wait_for_claim("mood", moods[0])
            meanwhile.enter_context(during(incident, scene.environ["REDIS_URL"]))
        moods.append(platform.save_mood("meanwhile", ada))
        enqueue("mood", moods[-1])
        wait_for_sign(workers, incident.sign, seen + 1)
    return moods
