"""A Redis that goes, with its data or without, or does not answer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import psutil

from tests.faults.stage import Stage
from tests.faults.strikes.workers import everyone_at_work
from worker.queue.names import LIVE

_ROUNDS = 3  # attempts of each worker to connect again


def restart(stage: Stage) -> None:
    """Stop it, and start it with its data when saves have been refused."""
    stage.stack.valkey.stop()
    _wait_for_refusals(stage)
    stage.stack.valkey.start()


def freeze(stage: Stage) -> None:
    """Freeze it until saves are refused and each worker has given up a connection to it."""
    before = _connections(stage)
    assert all(before.values()), "a worker has no connection to Redis"
    stage.stack.valkey.freeze()
    _wait_for_refusals(stage)

    def given_up() -> bool:
        after = _connections(stage)
        return all(before[worker] - after[worker] for worker in before)

    stage.wait(given_up, "the workers to give up their connections")
    stage.stack.valkey.thaw()


def flush(stage: Stage) -> None:
    """FLUSHALL: queue, messages in hand, sessions and locks are gone, Redis goes on."""
    with everyone_at_work(stage):
        stage.wait(lambda: stage.queue.llen(LIVE), "messages to be queued")
        stage.queue.flushall()


def lose_everything(stage: Stage) -> None:
    """Kill -9 it, delete its files, and start it when saves have been refused."""
    settings = cast("dict[str, str]", stage.queue.config_get("dir"))
    with everyone_at_work(stage):
        stage.wait(lambda: stage.queue.llen(LIVE), "messages to be queued")
        stage.stack.valkey.kill()
    for entry in Path(settings["dir"]).iterdir():
        shutil.rmtree(entry)
    _wait_for_refusals(stage)
    stage.stack.valkey.start()


def make_read_only(stage: Stage) -> None:
    """Make it a replica of a host that is away, as after a failover."""
    with _repaired(stage, lambda: stage.queue.replicaof("NO", "ONE")):
        start = partial(stage.queue.replicaof, "127.0.0.1", "1")
        _reject(stage, "Redis is read-only", start)


def fill(stage: Stage) -> None:
    """Let its memory be full."""
    with _repaired(stage, lambda: stage.queue.config_set("maxmemory", 0)):
        _reject(stage, "Redis is out of memory", partial(stage.queue.config_set, "maxmemory", 1))


def _reject(stage: Stage, text: str, start: Callable[[], object]) -> None:
    """Have it reject commands until each worker has tried several times to connect again.

    All processes are at work then, and messages wait. As the PDS dies too, they need retries, which
    are refused. No process is replaced.
    """
    sign = f"the queue cannot be used: {text}"
    workers, processes = stage.fleet.workers, _process_ids(stage)
    lengths = [len(worker.text) for worker in workers]

    def felt() -> bool:
        news = [worker.text[length:] for worker, length in zip(workers, lengths, strict=True)]
        return all(new.count(sign) >= _ROUNDS and "reject requeue=True" in new for new in news)

    with everyone_at_work(stage):
        stage.wait(lambda: stage.queue.llen(LIVE), "messages to be queued")
        start()
        stage.stack.pds.kill()
    _wait_for_refusals(stage)
    stage.wait(felt, f"retries to be refused, and workers to wait: {text}")
    assert _process_ids(stage) == processes, "a process was replaced"


@contextmanager
def _repaired(stage: Stage, repair: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    finally:
        repair()
        stage.stack.pds.start()


def _process_ids(stage: Stage) -> set[int]:
    return {child.pid for child in stage.fleet.children()}


def _wait_for_refusals(stage: Stage) -> None:
    before = stage.stream.refused
    stage.wait(lambda: stage.stream.refused >= before + 3, "saves to be refused by the queue")


def _connections(stage: Stage) -> dict[int, set[int]]:
    """Return the local ports of each worker's connections to Redis, by the worker's process id."""
    port = stage.stack.valkey.port
    workers = [psutil.Process(worker.popen.pid) for worker in stage.fleet.workers]
    return {
        worker.pid: {
            connection.laddr.port
            for connection in worker.net_connections("tcp")
            if connection.raddr and connection.raddr.port == port
        }
        for worker in workers
    }
