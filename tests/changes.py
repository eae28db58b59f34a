"""Changes that are made to an item while a run, a batch or a wipe is at work on it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from bson import ObjectId

from tests import pictures
from tests.world import World

Change = Callable[[World, str, ObjectId], None]

_PUBLISHED_FIELD = {"painting": "code", "mood": "mood"}


class WorkerKilledError(BaseException):
    """Simulate a killed worker: no handler catches this, and no cleanup runs."""


def kill_worker() -> None:
    """Kill the worker that runs this."""
    raise WorkerKilledError


def nothing(_world: World, _type_name: str, _item: ObjectId) -> None:
    """Change nothing: the same message is only delivered twice."""


def edit(world: World, type_name: str, item: ObjectId) -> None:
    """Change a published field."""
    world.platform.edit(type_name, item, **{_PUBLISHED_FIELD[type_name]: uuid4().hex[:8]})


def new_image(world: World, type_name: str, item: ObjectId) -> None:
    """Make a painting refer to another image."""
    world.platform.store("other.png", pictures.photo("PNG", (33, 21)), world.ada)
    world.platform.edit(type_name, item, slug="other")


def nuke(world: World, type_name: str, item: ObjectId) -> None:
    """Take the item down."""
    world.platform.edit(type_name, item, nuked=True)


def give_away(world: World, type_name: str, item: ObjectId) -> None:
    """Make another user the owner of a painting."""
    world.platform.store("given.png", pictures.pixel_art(), world.bob)
    world.platform.edit(type_name, item, user=world.bob, slug="given")


def delete(world: World, type_name: str, item: ObjectId) -> None:
    """Delete the document."""
    world.platform.delete(type_name, item)


CHANGES: tuple[Change, ...] = (nothing, edit, new_image, nuke, give_away, delete)


def assert_published(world: World, painting: ObjectId) -> None:
    """Assert that the record at a painting's key is what its document says, or is gone.

    Records at other keys are not looked for: `tests.bulk.assert_agreement` lists all repos.
    """
    document = world.platform.document("painting", painting)
    state = world.platform.state("painting", painting)
    assert "lease" not in state
    if not document or document.get("nuked"):
        assert not state.keys() & {"uri", "cid"}
        return
    did = world.dids[str(document["user"])]
    record = world.record("painting", painting)
    assert (state["status"], state["repo"]) == ("synced", did)
    assert (record["slug"], record["code"]) == (document["slug"], document["code"])
    assert world.blob(did, record["thumbnail"])
