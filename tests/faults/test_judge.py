"""The judge sees what is wrong: each kind of damage is planted once, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from tests.bulk import MOOD, put_foreign, repo, start_over
from tests.faults.expected import PdsReader
from tests.faults.judge import Classification, Judge
from tests.faults.repair import repair_truncated_blobs
from tests.faults.stage import cast_of
from tests.pictures import pixel_art
from tests.world import World, Worlds
from worker.dev.demo.uploads import Person, UploadedItem, Uploads


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """A platform whose items are published as they are saved."""
    with worlds.open_with_redis() as opened:
        yield opened


@pytest.fixture(scope="module")
def ada(world: World) -> Person:
    """A user with an account."""
    return cast_of(world).users[0]


@pytest.fixture(scope="module")
def judge(world: World) -> Iterator[Judge]:
    """A judge of that platform."""
    with (
        PdsReader(world.environ["PDS_URL"]) as reader,
        redis.Redis.from_url(world.environ["REDIS_URL"]) as queue,
    ):
        yield Judge(world.platform, reader, queue, cast_of(world).people)


@pytest.fixture
def items(world: World, judge: Judge, ada: Person) -> list[UploadedItem]:
    """A mood, a painting and a nuked mood, all as they should be."""
    start_over(world)
    judge.queue.flushdb()
    uploads = Uploads(world.platform, lambda name, item: bool(world.sync(name, item)))
    saved = [
        uploads.mood("as it should be", ada),
        uploads.painting("judged", pixel_art(), ada),
        uploads.change(uploads.mood("nuked", ada), deleted=True).expect("removed", "deleted"),
    ]
    assert judge.verdict(saved) == Classification()
    return saved


def lose(world: World, items: list[UploadedItem]) -> None:
    """Delete the record of the mood."""
    owned = repo(world, world.ada)
    rkey = str(world.platform.state("mood", items[0].id)["rkey"])
    owned.delete(owned.key(MOOD.nsid, rkey))


def double(world: World, items: list[UploadedItem]) -> None:
    """Write a second record of the mood."""
    put_foreign(world, world.ada, "mood", "3ztwin2222222", ref=str(items[0].id))


def bring_back(world: World, items: list[UploadedItem]) -> None:
    """Write a record of the mood that is nuked."""
    put_foreign(world, world.ada, "mood", "3zback2222222", ref=str(items[2].id))


def write_for_nobody(world: World, _items: list[UploadedItem]) -> None:
    """Write a record that names no document."""
    put_foreign(world, world.bob, "mood", "3znone2222222", ref="f" * 24)


def edit_unnoticed(world: World, items: list[UploadedItem]) -> None:
    """Let the painting's record be older than its document, of which the state knows nothing."""
    world.platform.edit("painting", items[1].id, code="other")
    document = world.platform.document("painting", items[1].id)
    items[1] = replace(items[1], document=document)


def hold(world: World, items: list[UploadedItem]) -> None:
    """Leave a lease on the mood."""
    world.platform.edit("mood", items[0].id, **{"atproto.lease": {"token": "t"}})


def leave_message(world: World, _items: list[UploadedItem]) -> None:
    """Leave a message that nobody takes."""
    with redis.Redis.from_url(world.environ["REDIS_URL"]) as queue:
        queue.lpush("live", "message")


def replace_file(_world: World, items: list[UploadedItem]) -> None:
    """Replace the painting's file, so that its record refers to the thumbnail of another one."""
    (file,) = (item.file for item in items if item.file)
    file.write_bytes(pixel_art((40, 8)))


@pytest.mark.parametrize(
    ("damage", "counts"),
    [
        (lose, [1, 0, 0, 0, 0]),
        (double, [0, 1, 0, 0, 0]),
        (bring_back, [0, 0, 1, 0, 0]),
        (write_for_nobody, [0, 0, 1, 0, 0]),
        (edit_unnoticed, [0, 0, 0, 1, 0]),
        (replace_file, [0, 0, 0, 1, 0]),
        (hold, [0, 0, 0, 0, 1]),
        (leave_message, [0, 0, 0, 0, 1]),
    ],
)
def test_damage_is_counted_as_what_it_is(
    world: World,
    judge: Judge,
    items: list[UploadedItem],
    damage: Callable[[World, list[UploadedItem]], None],
    counts: list[int],
) -> None:
    """Whatever the engine believes: the repos are read, and held against the documents."""
    damage(world, items)
    assert judge.verdict(items).counts == counts


def test_truncated_blobs_are_repaired_if_nothing_else_is_wrong(
    world: World, judge: Judge, items: list[UploadedItem], ada: Person, pds_blobs: Path
) -> None:
    """A PDS may keep a part of a blob when it is killed; it does not lose records."""
    (blob,) = (pds_blobs / str(ada.did)).iterdir()
    blob.write_bytes(blob.read_bytes()[:20])
    assert judge.verdict(items).counts == [0, 0, 0, 1, 0]
    assert repair_truncated_blobs(world.environ) == 1
    assert judge.verdict(items) == Classification()
    lose(world, items)
    assert repair_truncated_blobs(world.environ) == 0
