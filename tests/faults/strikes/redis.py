"""A Redis that goes, with its data or without, or does not answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

import psutil

from tests.faults.stage import Stage
from tests.faults.strikes.workers import everyone_at_work
from worker.queue.names import LIVE


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
    """Make it a replica of a host that is away, as after a failover, until workers feel it."""
    stage.queue.replicaof("127.0.0.1", "1")
    try:
        _wait_for_refusals(stage)
        _wait_for_workers(stage, "Redis is read-only")
    finally:
        stage.queue.replicaof("NO", "ONE")


def fill(stage: Stage) -> None:
    """Let its memory be full until saves are refused and a worker has felt it."""
    with everyone_at_work(stage):
        stage.wait(lambda: stage.queue.llen(LIVE), "messages to be queued")
        stage.queue.config_set("maxmemory", 1)
    try:
        _wait_for_refusals(stage)
        _wait_for_workers(stage, "Redis is out of memory")
    finally:
        stage.queue.config_set("maxmemory", 0)


def _wait_for_workers(stage: Stage, text: str) -> None:
    workers = stage.fleet.workers
    stage.wait(lambda: all(text in worker.text for worker in workers), f"workers to log: {text}")


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
