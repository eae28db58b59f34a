"""Documents and files as the platform's own programs write them.

The shapes are those of Aesthetic Computer; the values are invented.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

from bson import ObjectId

from tests.pictures import pixel_art
from worker.core.clock import rfc3339
from worker.database.mongo import RawDocument

USER_BUCKET = "user-aesthetic-computer"
GUEST_BUCKET = "art-aesthetic-computer"
SITE = "https://aesthetic.computer"
# What hides an item, as the platform's feed has it, and the reason that we give.
HIDINGS: Mapping[str, RawDocument] = {
    "nuked": {"nuked": True},
    "deleted": {"deleted": True},
    "private": {"private": True},
    "draft": {"draft": True},
    "hidden": {"hidden": True},
    "not_public": {"visibility": "unlisted"},
}


_EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


@dataclass(frozen=True, slots=True)
class Shape:
    """A document of one type, and its files by their keys in its bucket, the right one first."""

    type_name: str
    document: RawDocument
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> ObjectId:
        """Return the `_id` of the document."""
        item = self.document["_id"]
        assert isinstance(item, ObjectId)
        return item

    @property
    def user(self) -> str | None:
        """Return the owner's subject, None for a guest."""
        user = self.document.get("user")
        return None if user is None else str(user)

    @property
    def bucket(self) -> str:
        """Return the bucket of the files: old documents do not name it."""
        return GUEST_BUCKET if self.user is None else USER_BUCKET

    def text(self, name: str) -> str:
        """Return a text field of the document."""
        return str(self.document[name])

    def having(self, **fields: object) -> Shape:
        """Return the document with other fields; None removes one."""
        document = {**self.document, **fields}
        kept = {name: value for name, value in document.items() if value is not None}
        return replace(self, document=kept)

    def recorded(self) -> Shape:
        """Return the document with a recording beside its image."""
        stem = next(iter(self.files)).removesuffix(".png")
        return replace(self, files={**self.files, f"{stem}.zip": _EMPTY_ZIP})

    def store(self, folder: Path) -> None:
        """Write the files into a folder of buckets."""
        for key, data in self.files.items():
            path = folder / self.bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


class Shapes:
    """Builds one document after the other, at times of their own."""

    def __init__(self, start: datetime, step: timedelta) -> None:
        self._numbers = count()
        self._start, self._step = start, step

    def painting(self, user: str | None) -> Shape:
        """A painting as it is saved today: a bare timestamp as its slug, a folder for images."""
        slug, document = self._painting(user)
        folder = "" if user is None else f"{user}/painting/"
        return Shape("painting", document, {f"{folder}{slug}.png": self._image()})

    def painting_in_user_folder(self, user: str) -> Shape:
        """A painting of the time before users' files were in folders by type."""
        slug, document = self._painting(user)
        return Shape("painting", document, {f"{user}/{slug}.png": self._image()})

    def painting_with_path(self, user: str) -> Shape:
        """A painting whose slug is the path of its file already."""
        stamp, document = self._painting(user)
        slug = f"{user}/painting/{stamp}"
        return Shape("painting", {**document, "slug": slug}, {f"{slug}.png": self._image()})

    def painting_with_recording(self, user: str | None) -> Shape:
        """A painting whose slug names its image and its recording: `imageSlug:recordingSlug`."""
        image = self.painting(user)
        stem = image.text("slug")
        recorded = f"{stem}1"
        key = next(iter(image.files)).replace(f"{stem}.png", f"{recorded}.zip")
        files = {**image.files, key: _EMPTY_ZIP}
        return replace(image.having(slug=f"{stem}:{recorded}"), files=files)

    def recording_with_path(self, user: str) -> Shape:
        """A painting whose slug names an image and a recording, each by its path."""
        image, recorded = self.painting_with_path(user), self.painting_with_path(user).text("slug")
        files = {**image.files, f"{recorded}.zip": _EMPTY_ZIP}
        return replace(image.having(slug=f"{image.text('slug')}:{recorded}"), files=files)

    def old_painting(self, user: str) -> Shape:
        """A painting of the first months: no code until a script fills it in."""
        return self.painting_in_user_folder(user).having(code=None, bucket=None)

    def draft(self, user: str) -> Shape:
        """A painting that is being worked at: inserted at once, and perhaps never finished."""
        document = self._document(user, code=self._code())
        return Shape(
            "painting",
            {
                **document,
                "slug": f"wip/{document['_id']}",
                "bucket": USER_BUCKET,
                "status": "wip",
                "wip": {"layers": 1, "frames": 12},
                "updatedAt": document["when"],
            },
        )

    def sealed(self, draft: Shape) -> Shape:
        """A draft that its user has finished: it has a slug and an image now."""
        done = self.painting(draft.user)
        kept = draft.having(slug=done.text("slug"), status="done", wip=None)
        return replace(kept.having(completedAt=done.document["when"]), files=done.files)

    def mood(self, user: str | None, text: str) -> Shape:
        """A mood."""
        return Shape("mood", self._document(user, mood=text))

    def stored_piece(self, user: str | None) -> Shape:
        """A piece of the piece store: its program is in the document, its slug is a path."""
        code = self._code()
        document = self._document(user, code=code)
        moment = document["when"]
        assert isinstance(moment, datetime)
        prefix = "" if user is None else f"{user}/"
        source = f"// {code}\nexport function paint({{ wipe }}) {{ wipe('blue') }}\n"
        document |= {
            "slug": f"{prefix}{moment:%Y/%m/%d}/{code}",
            "source": source,
            "hash": sha256(source.encode()).hexdigest(),
            "lastAccessed": moment,
            "hits": 1,
            "bucket": GUEST_BUCKET if user is None else USER_BUCKET,
            "anonymous": user is None,
            "trustLevel": "anonymous" if user is None else "user",
        }
        return Shape("piece", document)

    def piece_at_path(self, user: str | None) -> Shape:
        """A piece with a path as its slug, whose program is in the store alone."""
        piece = self.stored_piece(user)
        files = {f"{piece.text('slug')}.mjs": piece.text("source").encode()}
        return replace(piece.having(source=None), files=files)

    def uploaded_piece(self, user: str | None, kind: str = "mjs") -> Shape:
        """A piece that was uploaded as a file."""
        slug, document = self._piece(user)
        folder = "" if user is None else f"{user}/piece/"
        return Shape("piece", document, {f"{folder}{slug}.{kind}": self._program(kind)})

    def uploaded_piece_in_user_folder(self, user: str, kind: str = "mjs") -> Shape:
        """A piece of the time before users' files were in folders by type."""
        slug, document = self._piece(user)
        return Shape("piece", document, {f"{user}/{slug}.{kind}": self._program(kind)})

    def kidlisp(self, user: str | None) -> Shape:
        """A KidLisp program."""
        code = self._code()
        source = f"(wipe blue)\n(ink 🐄) ; {code}"
        digest = sha256(source.encode()).hexdigest()
        document = self._document(user, code=code, source=source, hash=digest, hits=3)
        return Shape("kidlisp", {**document, "lastAccessed": document["when"]})

    def minted_kidlisp(self, user: str) -> Shape:
        """A KidLisp program that was minted as a token."""
        kept = {"at": "2025-11-01T00:00:00.000Z", "tokenId": 7, "network": "mainnet"}
        return self.kidlisp(user).having(kept=kept, tezos={"minted": True, "tokenId": 7})

    def _painting(self, user: str | None) -> tuple[str, RawDocument]:
        bucket = GUEST_BUCKET if user is None else USER_BUCKET
        document = self._document(user, code=self._code(), bucket=bucket)
        slug = _stamp(document["when"])
        return slug, {**document, "slug": slug}

    def _piece(self, user: str | None) -> tuple[str, RawDocument]:
        slug = f"bounce-{self._code()}"
        bucket = GUEST_BUCKET if user is None else USER_BUCKET
        return slug, self._document(user, code=self._code(), slug=slug, bucket=bucket)

    def _document(self, user: str | None, **fields: object) -> RawDocument:
        moment = self._start + next(self._numbers) * self._step
        owner = {} if user is None else {"user": user}
        return {"_id": _object_id(moment), **fields, "when": moment, **owner}

    def _code(self) -> str:
        return f"c{next(self._numbers)}"

    def _image(self) -> bytes:
        """PNG of a size of its own, so that no two images have the same thumbnail."""
        return pixel_art((8 + next(self._numbers), 8))

    def _program(self, kind: str) -> bytes:
        comment = {"mjs": "//", "lisp": ";", "lua": "--"}[kind]
        return f"{comment} program {next(self._numbers)}, ünï\n".encode()


def old_record(shape: Shape) -> RawDocument:
    """Return the record that an older program of the platform wrote of a document.

    Without the fields that came later, and without its thumbnail.
    """
    document = shape.document
    moment = document["when"]
    assert isinstance(moment, datetime)
    names = {"mood": ("mood",), "kidlisp": ("source", "code"), "piece": ("slug",)}
    fields = {name: document[name] for name in names.get(shape.type_name, ("slug", "code"))}
    if shape.type_name == "painting":
        address = f"{SITE}/media/paintings/{document['code']}"
        fields["imageUrl"] = address
        if any(key.endswith(".zip") for key in shape.files):
            fields["recordingUrl"] = f"{address}.zip"
    return {**fields, "when": rfc3339(moment), "ref": str(shape.id)}


def _stamp(moment: object) -> str:
    assert isinstance(moment, datetime)
    parts = (*moment.timetuple()[:6], moment.microsecond // 1000)
    return ".".join(str(part) for part in parts)


def _object_id(moment: datetime) -> ObjectId:
    """Return an id as it is made at a time, unlike `ObjectId.from_datetime`, which is no id."""
    return ObjectId(int(moment.timestamp()).to_bytes(4, "big") + secrets.token_bytes(8))
