"""The check at the end of the demo fails for each kind of damage, and names the item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.bulk import new_user, put_foreign, repo
from tests.pictures import pixel_art
from tests.world import World, Worlds
from worker.cli.demo import report
from worker.dev.demo.check import Result, check_items
from worker.dev.demo.uploads import Person, UploadedItem, Uploads


@dataclass(frozen=True, slots=True)
class Rig:
    """A user with a mood, a painting and a nuked mood, and the PDS's folder of blobs."""

    world: World
    user: Person
    items: list[UploadedItem]
    blobs: Path

    def check(self) -> list[Result]:
        """Check all items."""
        return check_items(self.world.platform, self.world.environ["PDS_URL"], self.items)


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """A platform of this module's own."""
    with worlds.open() as opened:
        yield opened


@pytest.fixture
def rig(world: World, pds_blobs: Path) -> Rig:
    """Items of a new user, all as expected."""
    subject = new_user(world)
    user = Person(subject, "eve", world.dids[subject])
    uploads = Uploads(world.platform, lambda name, item: world.sync(name, item).error is None)
    items = [
        uploads.mood("calm", user),
        uploads.painting("beast", pixel_art(), user),
        uploads.change(uploads.mood("nuked", user), deleted=True).expect("removed", "deleted"),
    ]
    return Rig(world, user, items, pds_blobs)


def delete_record(rig: Rig) -> None:
    """Delete the record of the mood."""
    owned = repo(rig.world, rig.user.subject)
    rkey = str(rig.world.platform.state("mood", rig.items[0].id)["rkey"])
    owned.delete(owned.key("computer.aesthetic.mood", rkey))


def write_second_record(rig: Rig) -> None:
    """Write a second record that names the mood."""
    put_foreign(rig.world, rig.user.subject, "mood", "3ztwin2222222", ref=str(rig.items[0].id))


def restore_removed(rig: Rig) -> None:
    """Write a record that names the removed mood."""
    put_foreign(rig.world, rig.user.subject, "mood", "3zback2222222", ref=str(rig.items[2].id))


def edit_document(rig: Rig) -> None:
    """Expect another text in the record of the mood."""
    rig.items[0] = replace(rig.items[0], document={**rig.items[0].document, "mood": "wild"})


def expect_new_record(rig: Rig) -> None:
    """Expect that the record of the mood was replaced."""
    cid = str(rig.world.platform.state("mood", rig.items[0].id)["cid"])
    rig.items[0] = replace(rig.items[0], cid_before=cid)


def fail_item(rig: Rig) -> None:
    """Set the state of the mood to failed."""
    rig.world.platform.edit("mood", rig.items[0].id, **{"atproto.status": "failed"})


def lose_blob(rig: Rig) -> None:
    """Delete the file of the thumbnail on the PDS."""
    (file,) = (rig.blobs / str(rig.user.did)).iterdir()
    file.unlink()


def test_items_as_expected_have_no_faults(rig: Rig) -> None:
    """The exit code is 0."""
    results = rig.check()
    assert [result.status for result in results] == ["synced", "synced", "removed"]
    assert [result.faults for result in results] == [[], [], []]
    assert report(results) == 0


@pytest.mark.parametrize(
    ("damage", "number", "fault"),
    [
        (delete_record, 0, "has the records [] instead of at://did:plc:"),
        (write_second_record, 0, "has the records ['at://did:plc:"),
        (edit_document, 0, "has the mood 'calm' instead of 'wild'"),
        (expect_new_record, 0, "has a record from before its edit"),
        (fail_item, 0, "is failed (None) instead of synced (None)"),
        (lose_blob, 1, "has an unreadable blob bafkrei"),
        (restore_removed, 2, "still has the record at://did:plc:"),
    ],
)
def test_damage_is_a_fault_of_its_item(
    rig: Rig,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Rig], None],
    number: int,
    fault: str,
) -> None:
    """It is printed, and the exit code is 1."""
    damage(rig)
    results = rig.check()
    assert [len(result.faults) for result in results] == [int(n == number) for n in range(3)]
    assert results[number].faults[0].startswith(fault)
    assert report(results) == 1
    printed = capsys.readouterr().out
    assert f"{rig.items[number].id} {fault}" in printed
    assert printed.endswith("1 of 3 items are not as expected.\n")
