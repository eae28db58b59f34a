"""Every place that a secret could get out to, read as whoever looks there would."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from bson import json_util
from redis import Redis
from redis.exceptions import RedisError

from tests.system.flower_api import FlowerApi
from worker.database.mongo import RawDocument
from worker.services import Services

_PAGES = ("/", "/workers", "/tasks", "/broker", "/metrics", "/healthcheck")
_APIS = ("/api/workers", "/api/tasks", "/api/task/types", "/api/queues/length")


@contextmanager
def eavesdropping(url: str) -> Iterator[list[str]]:
    """Listen to every command that Redis is given; the list grows until the block ends."""
    heard: list[str] = []
    with Redis.from_url(url, socket_timeout=None) as client, client.monitor() as monitor:

        def listen() -> None:
            with suppress(RedisError, OSError, ValueError):  # as the connection is closed
                for command in monitor.listen():
                    heard.append(str(command["command"]))  # noqa: PERF401 - one by one

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield heard
    listener.join()


def all_of_redis(client: Redis) -> str:
    """Return every key with its value, whatever its type."""
    readers: dict[bytes | str, Callable[[bytes], object]] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return repr([(key, readers[client.type(key)](key)) for key in client.scan_iter(count=1000)])


def all_of_mongodb(services: Services) -> str:
    """Return every document of the database."""
    documents: list[RawDocument] = []
    for name in services.storage.database.list_collection_names():
        documents += services.storage.database[name].find()
    return json_util.dumps(documents)


def all_of_flower(flower: FlowerApi) -> str:
    """Return every page and answer, those of each worker and each task that failed among them."""
    login = (flower.user, flower.password)
    with httpx.Client(base_url=flower.url, auth=login, timeout=30, trust_env=False) as client:
        tasks, workers = (client.get(path).json() for path in ("/api/tasks", "/api/workers"))
        failed = [task for task, known in tasks.items() if known["state"] != "SUCCESS"]
        own = [f"{path}/{task}" for task in failed for path in ("/task", "/api/task/info")]
        own += [f"/worker/{worker}" for worker in workers]
        answers = [client.get(path) for path in (*_PAGES, *_APIS, *own)]
    return "\n".join(f"{answer.url.path} {answer.status_code} {answer.text}" for answer in answers)


def all_command_lines() -> str:
    """Return the command line of every process, which is its title as well."""
    lines: list[list[str]] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            lines.append(process.cmdline())
    return json.dumps(lines)


def all_logs(folder: Path) -> str:
    """Return all that was written to the logs in a folder."""
    return "\n".join(log.read_text(errors="replace") for log in sorted(folder.glob("*.log")))
