"""Saving items as a platform's upload functions do: store the file, save, enqueue.

Each item carries what must be true of it at the end; the verification reads it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bson import ObjectId

from worker.database.mongo import RawDocument
from worker.dev.demo.pictures import Picture, recording
from worker.dev.demo.platform import Platform

Enqueue = Callable[[str, ObjectId], bool]


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who uploads; `did` is None without an account, `subject` "art-guest" for guests."""

    subject: str
    screen_name: str | None
    did: str | None

    @property
    def user(self) -> str | None:
        """Return what an upload puts into `user`: nothing for a guest."""
        return self.subject if self.screen_name else None


@dataclass(frozen=True, slots=True)
class UploadedItem:
    """A saved document, and what is expected of it.

    `document` is what was saved; `file` what its blob is to be made of (None: it has none);
    `recording` whether its recording is there; `why` the code of the error of a `partial` item
    or the reason of one that is not published. `cid_before` is the record's, when it is to be
    replaced.
    """

    type: str
    id: ObjectId
    owner: Person
    scene: str
    document: Mapping[str, object]
    file: Path | None = None
    recording: bool = False
    status: str = "synced"
    why: str | None = None
    cid_before: str | None = None

    @property
    def is_published(self) -> bool:
        """Tell whether there is to be a record of it."""
        return self.status in {"synced", "partial"}

    def is_settled(self, state: RawDocument) -> bool:
        """Tell whether a state is the one that is expected."""
        cid = state.get("cid")
        return state.get("status") == self.status and (cid is None or cid != self.cid_before)


class Uploads:
    """The upload functions; `scene` names the part of the demo that items are saved in."""

    def __init__(self, platform: Platform, enqueue: Enqueue) -> None:
        self._platform = platform
        self._enqueue = enqueue
        self.scene = ""
        self.refused = 0

    def painting(self, picture: Picture, owner: Person, *, recorded: str = "") -> UploadedItem:
        """Upload a painting; `recorded` names its recording, which is uploaded as well."""
        file = self._platform.store(f"{picture.slug}.png", picture.make(), owner.user)
        slug = picture.slug
        if recorded:
            self._platform.store(f"{recorded}.zip", recording(len(slug)), owner.user)
            slug = slug if recorded == slug else f"{slug}:{recorded}"
        item = self._platform.save_painting(slug, owner.user)
        return self._save("painting", item, owner, file=file, recording=bool(recorded))

    def broken_painting(self, slug: str, owner: Person) -> UploadedItem:
        """Save a painting whose image never arrived."""
        item = self._platform.save_painting(slug, owner.user)
        return self._save("painting", item, owner, status="partial", why="source_missing")

    def mood(
        self, text: str, owner: Person, *, skipped: str | None = None, enqueued: bool = True
    ) -> UploadedItem:
        """Save a mood; `skipped` is the reason why it is not to be published."""
        item = self._platform.save_mood(text, owner.user)
        status = "skipped" if skipped else "synced"
        return self._save("mood", item, owner, status=status, why=skipped, enqueued=enqueued)

    def piece(self, slug: str, source: str, owner: Person) -> UploadedItem:
        """Upload a piece and its source."""
        file = self._platform.store(f"{slug}.mjs", source.encode(), owner.user)
        return self._save("piece", self._platform.save_piece(slug, owner.user), owner, file=file)

    def program(self, source: str, owner: Person) -> UploadedItem:
        """Save a KidLisp program."""
        return self._save("kidlisp", self._platform.save_kidlisp(source, owner.user), owner)

    def change(
        self, item: UploadedItem, *, status: str, why: str | None = None, **changes: object
    ) -> UploadedItem:
        """Change fields of a document, and enqueue it again."""
        before = str(self._platform.state(item.type, item.id).get("cid"))
        self._platform.edit(item.type, item.id, **changes)
        changed = self._save(item.type, item.id, item.owner, status=status, why=why)
        return replace(changed, file=item.file, recording=item.recording, cid_before=before)

    def _save(
        self,
        type_name: str,
        item: ObjectId,
        owner: Person,
        *,
        file: Path | None = None,
        recording: bool = False,
        status: str = "synced",
        why: str | None = None,
        enqueued: bool = True,
    ) -> UploadedItem:
        document = self._platform.document(type_name, item)
        if enqueued and not self._enqueue(type_name, item):
            self.refused += 1
        return UploadedItem(
            type_name, item, owner, self.scene, document, file, recording, status, why
        )
