"""`media-atproto watch` as processes of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from bson import ObjectId

from tests.scene import Scene
from tests.terminal import Terminal, started
from tests.waiting import wait_for
from tests.world import World
from worker.operations.watch import checkpoint
from worker.operations.watch.checkpoint import Checkpoint


@contextmanager
def watching(environ: Mapping[str, str], folder: Path) -> Iterator[Terminal]:
    """Run a watcher until the block ends."""
    with started(["watch"], environ, Path(mkdtemp(dir=folder))) as watcher:
        yield watcher


@contextmanager
def at_work(scene: Scene) -> Iterator[Terminal]:
    """Run a watcher of a scene, which follows the stream, until the block ends."""
    with watching(scene.environ, scene.folder) as watcher:
        watcher.await_said("watching ")
        yield watcher


def where(world: World) -> Checkpoint:
    """Return how far the watch of a world has come."""
    found = checkpoint.read_checkpoint(world.services.storage.database)
    assert found is not None
    return found


def await_count(world: World, enqueued: int) -> None:
    """Wait until so many messages have been sent in all, then see that it is no more."""
    wait_for(lambda: where(world).enqueued >= enqueued, what=f"{enqueued} messages to be sent")
    sent = where(world).enqueued
    assert sent == enqueued, f"{sent} messages were sent, not {enqueued}"


def publish(scene: Scene, text: str) -> ObjectId:
    """Save a mood of ada without a message, and wait until it is published."""
    mood = scene.world.platform.save_mood(text, scene.world.ada)
    scene.wait_for_status("mood", mood, "synced")
    return mood


def await_text(scene: Scene, mood: ObjectId, text: str) -> None:
    """Wait until a mood's only record has a text."""

    def texts() -> list[object]:
        return [record["value"]["text"] for record in scene.world.records("mood", mood)]  # type: ignore[index]

    wait_for(lambda: texts() == [text], what=f"{text!r} to be published")
