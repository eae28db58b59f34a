"""The scenes of the demo: uploads, changes, and an outage of the PDS."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bson import ObjectId

from worker.database.mongo import RawDocument
from worker.dev.demo.pictures import NOT_AN_IMAGE, creature, png, rotated_photo
from worker.dev.demo.uploads import Person, UploadedItem, Uploads
from worker.dev.stack import Service

States = Mapping[object, RawDocument]
_TIMEOUT = 60.0
_POLL = 1.0
_ROUNDS, _ROUNDS_BEFORE = 14, 9
MOODS = (
    "drawing on the train",
    "☀️ finally 👩🏽‍🎨✨",
    "¿y si todo fuera píxeles?",
    "雨の日のドット絵",
    "line one\nline two\nline three",
    "<b>not bold</b> & \"quoted\" 'twice' \\o/",
    "مزاج جيد",
    "it works on my machine",
)
PIECES = (
    "export{}\n",
    'export const paint = ({ ink }) => ink("white").write("¡Hola!");\n',
    "export const paint = ({ wipe }) => wipe(new Date().getSeconds() * 4);\n",
)
PROGRAMS = (
    '(wipe "navy") (ink "gold") (circle 64 64 (wiggle 30))',
    "(line 0 0 width height)",
    '(def spin 0)\n(later tick\n  (now spin (+ spin 1)))\n(ink "pink")\n(box spin 10 20 20)',
    "; nothing but a comment",
    '(write "こんにちは" 4 4)',
    "(tap (wipe black))",
)


class Scene(StrEnum):
    """The scene that an item was saved or changed in."""

    UPLOAD = "upload"
    PHOTO = "large photo"
    LOST = "message lost"
    GUESTS_MOOD = "guest's mood"
    NO_ACCOUNT = "no account"
    EDITED = "edited"
    HIDDEN = "hidden"
    BROKEN = "broken image"
    OUTAGE = "PDS stopped"


@dataclass(frozen=True, slots=True)
class People:
    """Two users with accounts, the guests, and a user without an account."""

    ada: Person
    bob: Person
    guest: Person
    stranger: Person


@dataclass(frozen=True, slots=True)
class Scenes:
    """Plays the scenes, and keeps each item with its expected state.

    `check` raises when a process has died; `report` prints a line.
    """

    uploads: Uploads
    people: People
    pds: Service
    check: Callable[[], None]
    report: Callable[[str], None]
    items: dict[ObjectId, UploadedItem] = field(default_factory=dict)

    def play(self) -> list[UploadedItem]:
        """Play all scenes; return all items in their final form."""
        self._upload()
        self._change()
        self._stop_pds()
        return list(self.items.values())

    def _upload(self) -> None:
        self.report("Uploading moods, paintings, pieces and programs")
        upload, people = self.uploads, self.people
        unsent = Uploads(self.uploads.platform, lambda *_: True)
        self._keep(Scene.LOST, unsent.mood("the queue never heard of me", people.ada))
        guests = upload.mood("guests have no moods on the PDS", people.guest)
        self._keep(Scene.GUESTS_MOOD, guests.expect("skipped", "guests_not_published"))
        strangers = upload.mood("i have no account there yet", people.stranger)
        self._keep(Scene.NO_ACCOUNT, strangers.expect("skipped", "no_account"))
        photo = rotated_photo((1920, 1080))
        self._keep(Scene.PHOTO, upload.painting("photo", photo, people.bob, folder=""))
        self._save(Scene.UPLOAD, range(_ROUNDS_BEFORE))
        self._settle()

    def _change(self) -> None:
        self.report("Editing a mood, hiding a painting, uploading a broken image")
        edited = self.uploads.change(self._first("mood"), mood="it works on every machine")
        self._keep(Scene.EDITED, edited)
        nuked = self.uploads.change(self._first("painting"), nuked=True)
        self._keep(Scene.HIDDEN, nuked.expect("removed", "nuked"))
        broken = self.uploads.painting("broken", NOT_AN_IMAGE, self.people.bob)
        self._keep(Scene.BROKEN, broken.expect("partial", "image_unreadable"))
        self._settle()

    def _stop_pds(self) -> None:
        self.report("Stopping the PDS, and uploading more items")
        self.pds.stop()
        self._save(Scene.OUTAGE, range(_ROUNDS_BEFORE, _ROUNDS))
        self._wait(lambda states: self._count_failing(states) > _ROUNDS - _ROUNDS_BEFORE)
        failing = self._count_failing(self._states())
        self.report(f"{failing} items failed and will be retried; starting the PDS again")
        self.pds.start()
        self._settle()

    def _save(self, scene: Scene, rounds: range) -> None:
        """Upload an item of each type per round, with owners and texts in turn."""
        upload, users = self.uploads, (self.people.ada, self.people.bob)
        for n in rounds:
            owner = (*users, self.people.guest)[n % 3]
            self._keep(scene, upload.mood(MOODS[n % len(MOODS)], users[n % 2]))
            self._keep(scene, upload.painting(f"creature-{n}", png(creature(n)), owner))
            self._keep(scene, upload.piece(f"piece-{n}", PIECES[n % len(PIECES)], owner))
            self._keep(scene, upload.program(PROGRAMS[n % len(PROGRAMS)], owner))

    def _keep(self, scene: Scene, item: UploadedItem) -> None:
        self.items[item.id] = replace(item, scene=scene)

    def _first(self, type_name: str) -> UploadedItem:
        """Return the first uploaded item of a type; its owner is ada."""
        every = self.items.values()
        return next(item for item in every if (item.scene, item.type) == (Scene.UPLOAD, type_name))

    def _count_failing(self, states: States) -> int:
        down = (item for item in self.items.values() if item.scene == Scene.OUTAGE)
        return sum("error" in states[item.id] for item in down)

    def _settle(self) -> None:
        """Wait until every item is in its expected state."""
        self._wait(
            lambda states: all(item.is_settled(states[item.id]) for item in self.items.values())
        )

    def _wait(self, condition: Callable[[States], bool]) -> None:
        """Wait for a condition; report if it is not met in time."""
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            self.check()
            if condition(self._states()):
                return
            time.sleep(_POLL)
        self.report(f"Not finished after {_TIMEOUT:.0f} seconds; continuing")

    def _states(self) -> States:
        types = {item.type for item in self.items.values()}
        of_types = map(self.uploads.platform.states, types)
        return {item: state for states in of_types for item, state in states.items()}
