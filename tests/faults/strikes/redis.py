"""A Redis that goes, with its data or without, or does not answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

from tests.faults.stage import Stage


def restart(stage: Stage) -> None:
    """Stop it, and start it with its data when saves have been refused."""
    stage.stack.valkey.stop()
    _wait_for_refusals(stage)
    stage.stack.valkey.start()


def freeze(stage: Stage) -> None:
    """Freeze it until saves have been refused and workers have given up waiting for it."""
    before = stage.fleet.logged("TimeoutError") + stage.fleet.logged("Timeout reading")
    stage.stack.valkey.freeze()
    _wait_for_refusals(stage)
    stage.wait(
        lambda: stage.fleet.logged("TimeoutError") + stage.fleet.logged("Timeout reading") > before,
        "workers to time out",
    )
    stage.stack.valkey.thaw()


def flush(stage: Stage) -> None:
    """FLUSHALL: queue, messages in hand, sessions and locks are gone, Redis goes on."""
    assert stage.queue.llen("live"), "nothing was queued"
    stage.queue.flushall()


def lose_everything(stage: Stage) -> None:
    """Kill -9 it, delete its files, and start it when saves have been refused."""
    settings = cast("dict[str, str]", stage.queue.config_get("dir"))
    queued = stage.queue.llen("live")
    assert queued, "nothing was queued"
    stage.stack.valkey.kill()
    for entry in Path(settings["dir"]).iterdir():
        shutil.rmtree(entry)
    _wait_for_refusals(stage)
    stage.stack.valkey.start()


def _wait_for_refusals(stage: Stage) -> None:
    before = stage.stream.refused
    stage.wait(lambda: stage.stream.refused >= before + 3, "saves to be refused by the queue")
