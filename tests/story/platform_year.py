"""A platform after a year: documents of every shape, files at every key, and old records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.bulk import KINDS
from tests.contract.certificates import make_certificate
from tests.contract.items import sweep
from tests.contract.web_server import Site, serving
from tests.environments import SHORT_RETRIES
from tests.older_programs import OlderProgram
from tests.pictures import photo
from tests.platform_shapes import (
    HIDINGS,
    SITE,
    Shape,
    Shapes,
    old_record,
)
from tests.world import JsonRecord, World, Worlds
from worker.core.records import RecordKey
from worker.database.mongo import RawDocument
from worker.media import media_type

START = datetime(2025, 1, 5, 10, 20, 30, 456000, tzinfo=UTC)
STEP = timedelta(hours=61)
GUESTS = "art-guest"
# What older programs left on documents, of records that are not in their repos.
GONE = (
    {"rkey": "3kgone2222222"},
    {"rkey": "3kgone2222223", "uri": "at://did:plc:other/computer.aesthetic.mood/3kgone2222223"},
    {"rkey": "3kgone2222224"},
)


@dataclass(frozen=True)
class Year:
    """A world with a year's documents by what they show, and where their files are.

    `old` are the URIs and CIDs of the records that older programs wrote, by the same names.
    """

    world: World
    media: Path
    shapes: dict[str, Shape]
    old: Mapping[str, tuple[str, str]]
    carol: str

    def insert(self, shape: Shape) -> None:
        """Upload the files of a document, and insert it."""
        shape.store(self.media)
        kind = media_type(shape.type_name)
        self.world.services.storage.store.collection(kind).insert_one(dict(shape.document))

    def add(self, name: str, shape: Shape) -> None:
        """Insert one more document."""
        self.insert(shape)
        self.shapes[name] = shape

    def upload(self, name: str, files: Mapping[str, bytes]) -> None:
        """Upload other files for a document."""
        self.shapes[name] = dataclasses.replace(self.shapes[name], files=files)
        self.shapes[name].store(self.media)

    def sync(self, name: str) -> str | None:
        """Sync a document as its message does; return how it ended."""
        shape = self.shapes[name]
        return self.world.sync(shape.type_name, shape.id).status

    def swept(self) -> set[str]:
        """Sweep over all documents; return the documents that are found."""
        return {self.name_of(ref.id) for ref in sweep(self.world.services, window=1000)}

    def sweep(self) -> None:
        """Sync what two sweeps find: the first one marks the items of changed accounts."""
        for _ in range(2):
            for name in self.swept():
                self.sync(name)

    def count(self, type_name: str, names: Iterable[str]) -> int:
        """Count the documents of a type among those named."""
        return sum(self.shapes[name].type_name == type_name for name in names)

    def name_of(self, item: object) -> str:
        """Return the name of the document with an id."""
        return next(name for name, shape in self.shapes.items() if str(shape.id) == str(item))

    def state(self, name: str) -> dict[str, object]:
        """Return the state of a document."""
        shape = self.shapes[name]
        return self.world.platform.state(shape.type_name, shape.id)

    def outcome(self, name: str) -> tuple[object, object]:
        """Return the status of a document, and the reason or the code of its error."""
        state = self.state(name)
        error = state.get("error")
        code = error["code"] if isinstance(error, dict) else None
        return state.get("status"), state.get("reason") or code

    def outcomes(self) -> dict[str, tuple[object, object]]:
        """Return the outcomes of all documents."""
        return {name: self.outcome(name) for name in self.shapes}

    def edit(self, name: str, **changes: object) -> None:
        """Change a document as another program does; None removes a field."""
        shape = self.shapes[name]
        self.shapes[name] = shape.having(**changes)
        collection = self.world.services.storage.store.collection(media_type(shape.type_name))
        kept = {field: value for field, value in changes.items() if value is not None}
        gone = {field: "" for field, value in changes.items() if value is None}
        update = {"$set": kept, "$unset": gone}
        collection.update_one(
            {"_id": shape.id}, {how: what for how, what in update.items() if what}
        )

    def uri(self, name: str) -> str:
        """Return the URI of a document's record."""
        return str(self.state(name)["uri"])

    def record(self, name: str) -> JsonRecord:
        """Return the record that a document's state names, read from the PDS."""
        return self.records()[self.uri(name)]

    def records(self) -> dict[str, JsonRecord]:
        """Return all records of the media types in all repos, by URI."""
        found: dict[str, JsonRecord] = {}
        for did in self.world.dids.values():
            client = self.world.services.pds.client_of(did)
            snapshot = client.get_repo(did)
            for kind in KINDS:
                for rkey, record in snapshot.records(kind.nsid).items():
                    found[RecordKey(did, kind.nsid, rkey).uri] = dict(record.value)
        return found

    def repos_of(self, name: str) -> list[str]:
        """Return the repos that have a record of a document."""
        item = str(self.shapes[name].id)
        uris = [uri for uri, record in self.records().items() if record.get("ref") == item]
        return [uri.split("/")[2] for uri in uris]

    def is_new(self, name: str) -> bool:
        """Return whether a document is published, and never was by an older program."""
        return "cid" in self.state(name) and name not in self.old


@contextmanager
def s3_server(folder: Path, certificates: Path) -> Iterator[Site]:
    """Serve a folder of buckets over https; this process trusts the server until the end.

    A missing file is answered with 403, as by a bucket without the permission to list it.
    """
    ours, _ = make_certificate(certificates)
    with serving(folder, ours) as site, pytest.MonkeyPatch.context() as env:
        env.setenv("SSL_CERT_FILE", str(certificates / "localhost.pem"))
        site.server.missing = 403
        yield site


@contextmanager
def open_year(worlds: Worlds, media: Path, store_url: str) -> Iterator[Year]:
    """Open a platform after a year, whose files are in the folder `media` behind a store."""
    environ = {
        "MEDIA_STORE_URL": store_url,
        "MEDIA_STORE_ALLOWED_NETWORKS": "127.0.0.0/8",
        "MEDIA_PROFILE": "aesthetic-computer",
    }
    with worlds.open(**SHORT_RETRIES, **environ) as world:
        carol = f"auth0|carol-{world.ada[-8:]}"
        before, old = _publish_before(world, _published_before(world))
        year = Year(world, media, {**_saved(world, carol), **before}, old, carol)
        for shape in year.shapes.values():
            year.insert(shape)
        yield year


def _saved(world: World, carol: str) -> dict[str, Shape]:
    """Return what was never published."""
    ada, bob = world.ada, world.bob
    new = Shapes(START, STEP)
    in_both = new.painting(ada)
    path = next(iter(in_both.files))
    both = {**in_both.files, path.replace("/painting/", "/"): photo("PNG")}
    shapes = {
        "painting": new.painting(ada),
        "painting in the user's folder": new.painting_in_user_folder(ada),
        "painting at a path": new.painting_with_path(ada),
        "painting at two keys": dataclasses.replace(in_both, files=both),
        "painting with a recording": new.painting_with_recording(ada),
        "recording beside its painting": new.painting(ada).recorded(),
        "recording in the user's folder": new.painting_in_user_folder(bob).recorded(),
        "recording at a path": new.painting_with_path(bob).recorded(),
        "recording named by its path": new.recording_with_path(bob),
        "guest's painting": new.painting(None),
        "guest's painting with a recording": new.painting_with_recording(None),
        "recording beside a guest's painting": new.painting(None).recorded(),
        "old painting": new.old_painting(bob),
        "draft": new.draft(ada),
        "abandoned draft": new.draft(ada),
        "sealed draft": new.sealed(new.draft(bob)),
        "lost painting": dataclasses.replace(new.painting(bob), files={}),
        "painting at another user's path": dataclasses.replace(
            new.painting(bob).having(slug=path.removesuffix(".png")), files={}
        ),
        "painting marked as public": new.painting(ada).having(visibility="public", nuked=False),
        "painting without an account": new.painting(carol),
        "mood": new.mood(ada, "feeling quiet 🐄"),
        "mood whose record is gone": new.mood(ada, "still here").having(atproto=GONE[0]),
        "mood published in another account": new.mood(bob, "moved").having(atproto=GONE[1]),
        "deleted mood whose record is gone": new.mood(bob, "sorry").having(
            deleted=True, atproto=GONE[2]
        ),
        "deleted mood": new.mood(bob, "regrets").having(deleted=True),
        "too long mood": new.mood(bob, "ü" * 2501),
        "guest's mood": new.mood(None, "anonymous"),
        "mood without an account": new.mood(carol, "no account yet"),
        "stored piece": new.stored_piece(ada),
        "guest's stored piece": new.stored_piece(None),
        "piece at a path": new.piece_at_path(bob),
        "guest's piece at a path": new.piece_at_path(None),
        "uploaded piece": new.uploaded_piece(ada),
        "uploaded piece in the user's folder": new.uploaded_piece_in_user_folder(ada),
        "uploaded lisp": new.uploaded_piece(ada, "lisp"),
        "uploaded lisp in the user's folder": new.uploaded_piece_in_user_folder(bob, "lisp"),
        "uploaded lua": new.uploaded_piece(bob, "lua"),
        "guest's uploaded piece": new.uploaded_piece(None),
        "guest's uploaded lua": new.uploaded_piece(None, "lua"),
        "sniffed piece": _sniffed(new.uploaded_piece(ada)),
        "kidlisp": new.kidlisp(ada),
        "guest's kidlisp": new.kidlisp(None),
        "minted kidlisp": new.minted_kidlisp(bob),
    }
    hidden = {f"{why} painting": new.painting(ada).having(**hide) for why, hide in HIDINGS.items()}
    return {**shapes, **hidden}


def _sniffed(piece: Shape) -> Shape:
    """Return a piece whose program begins as a PostScript file does."""
    return dataclasses.replace(piece, files=dict.fromkeys(piece.files, b"%!PS // not really\n"))


def _published_before(world: World) -> dict[str, Shape]:
    """Return what older programs have published, before their record is on the document."""
    ada, bob = world.ada, world.bob
    new = Shapes(START + timedelta(minutes=7), STEP)
    return {
        "published painting": new.painting(ada),
        "published painting with a recording": new.painting_with_recording(ada),
        "published guest's painting": new.painting(None),
        "painting published without its thumbnail": new.painting(bob),
        "painting published with a wrong link": new.painting(bob),
        "painting published with a GIF": new.painting(ada),
        "published mood": new.mood(ada, "fine"),
        "published mood without an rkey": new.mood(ada, "where am I"),
        "mood on bluesky": new.mood(bob, "blue").having(
            bluesky={"uri": "at://did:plc:x/app.bsky.feed.post/3l", "cid": "b", "rkey": "3l"}
        ),
        "early mood": new.mood(bob, "the first"),
        "early mood without an rkey": new.mood(bob, "the second"),
        "mood edited since": new.mood(ada, "second thoughts"),
        "mood deleted since": new.mood(ada, "gone").having(deleted=True),
        "published piece": new.uploaded_piece(ada),
        "published kidlisp": new.kidlisp(ada),
        "kidlisp published with its link": new.kidlisp(bob),
    }


UNCHANGED = (
    "published painting",
    "published painting with a recording",
    "published guest's painting",
    "published mood",
    "published mood without an rkey",
    "mood on bluesky",
    "early mood",
    "early mood without an rkey",
    "published piece",
    "published kidlisp",
    "kidlisp published with its link",
)
WITHOUT_RKEY = ("published mood without an rkey", "early mood without an rkey")


def _publish_before(
    world: World, shapes: Mapping[str, Shape]
) -> tuple[dict[str, Shape], dict[str, tuple[str, str]]]:
    """Write the records of older programs; return the documents with what they left there."""
    subjects = (world.ada, world.bob, GUESTS)
    programs = {subject: OlderProgram.logged_in(world, subject) for subject in subjects}
    left, old = {}, {}
    for number, (name, shape) in enumerate(shapes.items()):
        program = programs[shape.user or GUESTS]
        record = _old_record(name, shape, program, number)
        uri, _ = old[name] = program.publish(media_type(shape.type_name).nsid, record)
        atproto = {"rkey": uri.rpartition("/")[2], **({"uri": uri} if number % 2 else {})}
        left[name] = shape if name in WITHOUT_RKEY else shape.having(atproto=atproto)
    return left, old


def _old_record(name: str, shape: Shape, program: OlderProgram, number: int) -> RawDocument:
    """Return the record that an older program wrote, with a thumbnail of its own."""
    record = old_record(shape)
    if shape.type_name == "painting" and name != "painting published without its thumbnail":
        kind = "GIF" if "GIF" in name else "JPEG"
        image = photo(kind, (64 + number, 48))
        record["thumbnail"] = program.upload(image, f"image/{kind.lower()}")
    if name.startswith("early mood"):
        record["mongoId"] = record.pop("ref")
    different = {
        "painting published with a wrong link": {"acUrl": f"{SITE}/painting"},
        "mood edited since": {"mood": "first thoughts"},
        "kidlisp published with its link": {"acUrl": f"{SITE}/${shape.document.get('code')}"},
    }
    return {**record, **different.get(name, {})}
