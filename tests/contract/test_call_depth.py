"""One save is a short chain of calls, which a reader and a traceback can follow."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

import worker
from tests import pictures
from tests.world import World
from worker.core.documents import Status

MAX_FRAMES = 16
PACKAGE = str(Path(worker.__file__).parent)


def own_frames() -> list[str]:
    """Return the names of our functions on the stack, the outermost first."""
    stack = traceback.extract_stack()
    return [frame.name for frame in stack if frame.filename.startswith(PACKAGE)]


def test_a_save_takes_few_frames_to_its_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from `Engine.sync` to the HTTP call, both included; libraries do not count."""
    stacks: list[list[str]] = []
    call = httpx.Client.request

    def record_stack(client: httpx.Client, method: str, url: str, **options: Any) -> Any:
        if url.endswith("putRecord"):
            stacks.append(own_frames())
        return call(client, method, url, **options)

    monkeypatch.setattr(httpx.Client, "request", record_stack)
    world.platform.store("deep.png", pictures.pixel_art(), world.ada)
    item = world.platform.save_painting("deep", world.ada)
    outcome = world.services.sync.engine.sync("painting", str(item), holder=uuid4().hex)
    assert outcome.status is Status.SYNCED
    [frames] = stacks
    assert frames[0] == "sync"
    assert len(frames) <= MAX_FRAMES, frames
