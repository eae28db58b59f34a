"""The verification finds and names each kind of damage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.faults.expected import PdsReader
from tests.faults.verification import Report, Verification
from tests.pictures import photo, pixel_art
from tests.system.pds_account import PASSWORD, PdsAccount
from tests.world import World, Worlds
from worker.dev.demo.uploads import Person, UploadedItem, Uploads

MOOD = "computer.aesthetic.mood"


@dataclass(frozen=True, slots=True)
class Rig:
    """A person with a painting, a piece and a mood, all published, and means to spoil them."""

    world: World
    person: Person
    items: list[UploadedItem]
    blobs: Path

    def verify(self, items: list[UploadedItem] | None = None) -> Report:
        """Verify the person's items and repo."""
        with PdsReader(self.world.environ["PDS_URL"]) as reader:
            verification = Verification(self.world.platform, reader, [self.person])
            return verification.run(items or self.items)

    def item(self, type_name: str) -> UploadedItem:
        """Return the item of a type."""
        return next(item for item in self.items if item.type == type_name)

    def file(self, type_name: str) -> Path:
        """Return the uploaded file of the item of a type."""
        file = self.item(type_name).file
        assert file
        return file

    def rkey(self, type_name: str) -> str:
        """Return the rkey of the item of a type."""
        return str(self.world.platform.state(type_name, self.item(type_name).id)["rkey"])

    def call(self, method: str, **body: object) -> None:
        """Call the PDS as the person, by other means than the worker's."""
        account = PdsAccount.login(self.world.environ["PDS_URL"], str(self.person.did))
        account.call(method, {"repo": self.person.did, **body})

    def put(self, collection: str, rkey: str, **record: object) -> None:
        """Write a record."""
        value = {"$type": collection, **record}
        self.call("com.atproto.repo.putRecord", collection=collection, rkey=rkey, record=value)

    def blob_file(self, type_name: str) -> Path:
        """Return the file in which the PDS keeps the blob of the item of a type."""
        state = self.world.platform.state(type_name, self.item(type_name).id)
        (blob,) = state["blobs"].values()  # type: ignore[attr-defined]
        return self.blobs / str(self.person.did) / str(blob["cid"])


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """A platform of this module's own."""
    with worlds.open() as opened:
        yield opened


@pytest.fixture
def rig(world: World, pds_blobs: Path) -> Rig:
    """A fresh person, with items that nothing is wrong with."""
    name = f"eve-{uuid4().hex[:8]}"
    did = world.platform.sign_up(f"auth0|{name}", name, password=PASSWORD)
    person = Person(f"auth0|{name}", name, did)

    def sync_at_once(type_name: str, item: ObjectId) -> bool:
        return world.sync(type_name, item).error is None

    uploads = Uploads(world.platform, sync_at_once)
    items = [
        uploads.painting("beast", pixel_art(), person),
        uploads.piece("tiny", "export {};\n", person),
        uploads.mood("calm", person),
    ]
    return Rig(world, person, items, pds_blobs)


def test_nothing_is_found_where_nothing_is_wrong(rig: Rig) -> None:
    """Three records and two blobs are read."""
    assert rig.verify() == Report(((), (), ()), ())


def delete_record(rig: Rig) -> None:
    """Delete the mood's record."""
    rig.call("com.atproto.repo.deleteRecord", collection=MOOD, rkey=rig.rkey("mood"))


def alter_record(rig: Rig) -> None:
    """Change the text of the mood's record."""
    params = {"repo": rig.person.did or "", "collection": MOOD, "rkey": rig.rkey("mood")}
    answer = rig.world.http.get("/xrpc/com.atproto.repo.getRecord", params=params)
    value = answer.raise_for_status().json()["value"]
    rig.put(MOOD, rig.rkey("mood"), **{**value, "text": "wild"})


def change_state(rig: Rig) -> None:
    """Make the mood's state say something else."""
    changes = {"atproto.status": "failed", "atproto.cid": "bafyother"}
    rig.world.platform.edit("mood", rig.item("mood").id, **changes)


SPOILS: dict[str, tuple[Callable[[Rig], object], list[str]]] = {
    "record deleted": (delete_record, ["the PDS has no record of it"]),
    "record altered": (
        alter_record,
        [
            "text is 'wild', and should be 'calm'",
            "its state says bafy.*, the PDS bafy",
        ],
    ),
    "record written without its thumbnail": (
        lambda rig: rig.put("computer.aesthetic.painting", rig.rkey("painting"), slug="beast"),
        [
            "the record has no thumbnail",
            "imageUrl is None, and should be 'https://",
        ],
    ),
    "record without a document": (
        lambda rig: rig.put(MOOD, "3aaaaaaaaaaaa", text="stray"),
        ["at://.*/3aaaaaaaaaaaa belongs to no item"],
    ),
    "record in another collection": (
        lambda rig: rig.put("com.example.note", "3aaaaaaaaaaaa", text="stray"),
        ["the record bafy.* in the export of did:.* belongs to no item"],
    ),
    "blob damaged": (
        lambda rig: rig.blob_file("piece").write_bytes(b"export 0; // other\n"),
        [
            "the bytes of the blob bafk.* are those of bafk",
            "the blob bafk.*: it is not the program that was uploaded",
        ],
    ),
    "blob cut, as by a crash of the PDS": (
        lambda rig: rig.blob_file("piece").write_bytes(b"export"),
        ["the PDS does not have the blob bafk.*, or not the whole of it"],
    ),
    "blob lost": (
        lambda rig: rig.blob_file("painting").unlink(),
        ["the PDS does not have the blob bafk"],
    ),
    "image replaced": (
        lambda rig: rig.file("painting").write_bytes(photo()),
        ["the blob bafk.*: it does not look like beast.png"],
    ),
    "program edited": (
        lambda rig: rig.file("piece").write_text("export const other = 1;\n"),
        ["the blob bafk.*: it is not the program that was uploaded"],
    ),
    "document edited": (
        lambda rig: rig.world.platform.edit("mood", rig.item("mood").id, mood="edited"),
        ["its document's mood was changed to 'edited'"],
    ),
    "state changed": (
        change_state,
        [
            "its status is failed, and should be synced",
            "its state says bafyother",
        ],
    ),
}


@pytest.mark.parametrize(("spoil", "told"), SPOILS.values(), ids=SPOILS)
def test_what_is_wrong_is_named(rig: Rig, spoil: Callable[[Rig], object], told: list[str]) -> None:
    """Whatever was done behind the worker's back, with the item that it was done to."""
    spoil(rig)
    faults = rig.verify().complaints
    for pattern in told:
        assert any(re.match(pattern, fault) for fault in faults), faults


def test_scene_without_its_effect_is_named(rig: Rig) -> None:
    """An edit that was not published, a nuke that removed nothing, a file that was not missed."""
    mood, painting, piece = rig.item("mood"), rig.item("painting"), rig.item("piece")
    cid = str(rig.world.platform.state("mood", mood.id)["cid"])
    report = rig.verify(
        [
            replace(mood, cid_before=cid),
            replace(piece, status="removed", why="nuked"),
            replace(painting, status="partial", why="source_missing"),
        ]
    )
    faults = "\n".join(report.complaints)
    for told in (
        "the record was not written anew",
        "its status is synced, and should be removed",
        "its state still names the record at://",
        "the reason is None, and should be source_missing",
        "belongs to no item",
    ):
        assert told in faults
