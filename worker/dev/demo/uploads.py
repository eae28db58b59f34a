"""Save items as a platform's upload functions do: store the file, save the document, enqueue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from bson import ObjectId

from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform

Enqueue = Callable[[str, ObjectId], bool]


@dataclass(frozen=True, slots=True)
class Person:
    """A user or the guests; `did` is None without an account, `screen_name` for guests."""

    subject: str
    screen_name: str | None
    did: str | None

    @property
    def user(self) -> str | None:
        """Return the value of `user` in a document: None for guests."""
        return self.subject if self.screen_name else None


@dataclass(frozen=True, slots=True)
class UploadedItem:
    """A saved document, and its expected state.

    `document` is the document as saved; `file` the source of its blob, if any; `why` the error
    code of a `partial` item or the reason of an unpublished one; `cid_before` the CID of the
    record that an edit has to replace; `scene` the scene of the demo.
    """

    type: str
    id: ObjectId
    owner: Person
    document: Mapping[str, object]
    file: Path | None = None
    status: str = "synced"
    why: str | None = None
    cid_before: str | None = None
    scene: str = ""

    @property
    def is_published(self) -> bool:
        """Return whether a record of the item is expected."""
        return self.status in {"synced", "partial"}

    def expect(self, status: str, why: str) -> Self:
        """Return a copy of the item with this expected state."""
        return replace(self, status=status, why=why)

    def is_settled(self, state: RawDocument) -> bool:
        """Return whether a state is the expected one."""
        cid = state.get("cid")
        return state.get("status") == self.status and (cid is None or cid != self.cid_before)


@dataclass(frozen=True, slots=True)
class Uploads:
    """The upload functions of a platform."""

    platform: Platform
    enqueue: Enqueue

    def painting(
        self, slug: str, image: bytes, owner: Person, *, folder: str = "painting"
    ) -> UploadedItem:
        """Upload a painting and its image; older images are not in a `folder`."""
        file = self.platform.store(f"{slug}.png", image, owner.user, folder)
        return self._save("painting", self.platform.save_painting(slug, owner.user), owner, file)

    def mood(self, text: str, owner: Person) -> UploadedItem:
        return self._save("mood", self.platform.save_mood(text, owner.user), owner)

    def piece(self, slug: str, source: str, owner: Person) -> UploadedItem:
        """Upload a piece and its source."""
        file = self.platform.store(f"{slug}.mjs", source.encode(), owner.user, "piece")
        return self._save("piece", self.platform.save_piece(slug, owner.user), owner, file)

    def program(self, source: str, owner: Person) -> UploadedItem:
        return self._save("kidlisp", self.platform.save_kidlisp(source, owner.user), owner)

    def change(self, item: UploadedItem, **changes: object) -> UploadedItem:
        """Edit a document; return the item, whose record has to be replaced."""
        before = str(self.platform.state(item.type, item.id).get("cid"))
        self.platform.edit(item.type, item.id, **changes)
        changed = self._save(item.type, item.id, item.owner, item.file)
        return replace(changed, cid_before=before)

    def _save(
        self, type_name: str, item: ObjectId, owner: Person, file: Path | None = None
    ) -> UploadedItem:
        document = self.platform.document(type_name, item)
        self.enqueue(type_name, item)
        return UploadedItem(type_name, item, owner, document, file)
