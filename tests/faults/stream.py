"""A stream of saves, edits, nukes and un-nukes of all types, as users make them meanwhile."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from threading import Event
from typing import Any
from uuid import uuid4

from bson import ObjectId

from worker.dev.demo.pictures import creature, png
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import Person, UploadedItem, Uploads

_LONG_AGO = datetime(2021, 3, 1, tzinfo=UTC)
_GONE = {"mood": "deleted"}  # of the others, `nuked`


@dataclass(frozen=True, slots=True)
class Load:
    """How much is saved: `burst` at once, then `steady` at a pace, then slowly until the end."""

    burst: int = 100
    steady: int = 100
    per_second: float = 25
    slowly_per_second: float = 2


@dataclass(frozen=True, slots=True)
class Cast:
    """Who saves: users with an account, a guest, and one whose account is missing."""

    users: tuple[Person, ...]
    guest: Person
    stranger: Person

    @property
    def people(self) -> tuple[Person, ...]:
        """Return all who have a repo."""
        return (*self.users, self.guest)


def save_old_mood(platform: Platform, owner: Person) -> UploadedItem:
    """Save a mood of years ago, too old for the sweep, without a message."""
    item = ObjectId(int(_LONG_AGO.timestamp()).to_bytes(4) + secrets.token_bytes(8))
    document = {"_id": item, "mood": f"long ago {item}", "when": _LONG_AGO, "user": owner.subject}
    platform.database["moods"].insert_one(document)
    return UploadedItem("mood", item, owner, document)


class Stream:
    """Saves items in a thread; `items` has each as it was left, and what must become of it.

    It goes on until `finish`, so that a fault never lacks work. `ended` is when the last item was
    saved, by the monotonic clock; `refused` how many messages the queue refused.
    """

    def __init__(self, uploads: Uploads, cast: Cast, load: Load) -> None:
        self.items: dict[ObjectId, UploadedItem] = {}
        self._enqueue = uploads.enqueue
        self._uploads = replace(uploads, enqueue=self._send)
        self.refused = 0
        self._cast = cast
        self._load = load
        self._dice = random.Random(uuid4().int)
        self._finishing = Event()
        self.ended = 0.0
        self._saving: Future[None] = Future()

    def start(self) -> None:
        """Begin to save."""
        executor = ThreadPoolExecutor(1, "stream")
        self._saving = executor.submit(self._run)
        executor.shutdown(wait=False)

    def keep(self, item: UploadedItem) -> None:
        """Count an item among those of the stream."""
        self.items[item.id] = item

    def finish(self) -> BaseException | None:
        """Save the rest of the load; return the error that ended the stream early."""
        self._finishing.set()
        return self._saving.exception()

    def _send(self, type_name: str, item: ObjectId) -> bool:
        """Enqueue an item; count messages that the queue refused."""
        accepted = self._enqueue(type_name, item)
        self.refused += not accepted
        return accepted

    def _run(self) -> None:
        load = self._load
        least = load.burst + load.steady
        try:
            for number in range(load.burst):
                self.keep(self._act(number))
            for number in range(load.burst, least):
                time.sleep(1 / load.per_second)
                self.keep(self._act(number))
            for number in count(least):
                if self._finishing.wait(1 / load.slowly_per_second):
                    break
                self.keep(self._act(number))
        finally:
            self.ended = time.monotonic()

    def _act(self, number: int) -> UploadedItem:
        """Save something new, or do something to what was saved before."""
        if number < self._load.burst // 4 or self._dice.random() < 0.6:
            return self._save(number)
        item = self._dice.choice([item for item in self.items.values() if item.status != "skipped"])
        if item.status == "removed":
            return self._edit(item, {_flag(item): False})
        if self._dice.random() < 0.35:
            flag = _flag(item)
            return self._uploads.change(item, **{flag: True}).expect("removed", flag)
        return self._edit(item, {})

    def _save(self, number: int) -> UploadedItem:
        owner = self._dice.choice(self._cast.people)
        ways: tuple[Callable[[], UploadedItem], ...] = (
            partial(self._mood, owner),
            partial(self._uploads.program, f"(wipe {uuid4().hex})", owner),
            partial(self._uploads.piece, f"s{uuid4().hex[:10]}", f"// {uuid4().hex}\n", owner),
            partial(self._uploads.painting, f"p{uuid4().hex[:10]}", _picture(), owner),
        )
        return ways[number % len(ways)]()

    def _mood(self, owner: Person) -> UploadedItem:
        text = f"calm {uuid4().hex}"
        if self._dice.random() < 0.1:
            return self._uploads.mood(text, self._cast.stranger).expect("skipped", "no_account")
        mood = self._uploads.mood(text, owner)
        guests = owner is self._cast.guest
        return mood.expect("skipped", "guests_not_published") if guests else mood

    def _edit(self, item: UploadedItem, changes: dict[str, Any]) -> UploadedItem:
        """Give an item another content, so that its record has to be another one."""
        text = uuid4().hex
        fields = {"mood": {"mood": f"other {text}"}, "kidlisp": {"source": f"(ink {text})"}}
        changes = {**changes, **fields.get(item.type, {"code": text[:8]})}
        return self._uploads.change(item, **changes)


def as_it_may_be(item: UploadedItem, status: object) -> UploadedItem:
    """Return an item with the status that it may have as well: nuked before it was published."""
    never_up = item.status == "removed" and status == "skipped"
    return replace(item, status="skipped") if never_up else item


def _flag(item: UploadedItem) -> str:
    return _GONE.get(item.type, "nuked")


def _picture() -> bytes:
    return png(creature(uuid4().int % 10**9))
