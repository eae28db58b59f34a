"""The scenes of the demo, in order: what people upload, and what goes wrong meanwhile."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from worker.database.mongo import RawDocument
from worker.dev.demo.display import Display
from worker.dev.demo.pictures import Picture, gallery
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import Person, UploadedItem, Uploads
from worker.dev.stack import Service

States = dict[object, RawDocument]
_TIMEOUT = 60.0  # seconds; what is not settled then is told by the verification
_POLL = 0.1
_BEFORE_THE_OUTAGE = 2 / 3
# Recordings by the slug of their painting: of the same name, or of one of their own.
_RECORDED = {
    "creature-1": "creature-1",
    "mosaic-1": "mosaic-1",
    "creature-2": "strokes-2",
    "view-1": "takes-of-view-1",
}
Act = Callable[[], UploadedItem]
MOODS = (
    "drawing on the train",
    "☀️ finally",
    "i made a creature today & it has six legs",
    "👩🏽‍🎨✨",
    "tired, but in a good way",
    "¿y si todo fuera píxeles?",
    "雨の日のドット絵",
    "line one\nline two\nline three",
    "so many mosaics",
    "😶‍🌫️",
    "<b>not bold</b> & \"quoted\" 'twice' \\o/",
    "مزاج جيد",
    "ok",
    "it works on my machine",
)
EDITED_MOOD = "it works on every machine"
LOST_MOOD = "nobody told the queue about me"
GUEST_MOOD = "guests have no moods on the PDS"
STRANGER_MOOD = "i have no account there yet"
PIECES: Mapping[str, str] = {
    "bounce": """// A ball that bounces off the walls.
let x = 8, y = 8, dx = 1, dy = 2;
export function paint({ wipe, ink, screen }) {
  if (x < 0 || x > screen.width) dx = -dx;
  if (y < 0 || y > screen.height) dy = -dy;
  wipe(0).ink("yellow").circle((x += dx), (y += dy), 4, "fill");
}
""",
    "starfield": """// Stars, faster the nearer they are.
const stars = Array.from({ length: 99 }, (_, n) => ({ x: n * 37, y: n * 53, z: 1 + (n % 4) }));
export function paint({ wipe, ink, screen }) {
  wipe(0);
  for (const s of stars) ink(63 * s.z).plot((s.x += s.z) % screen.width, s.y % screen.height);
}
""",
    "héllo wörld": """export function paint({ wipe, ink }) {
  wipe("teal").ink("white").write("¡Hola!");
}
""",
    "metronome": """export function sim({ sound }) {
  sound.time.beat(120, () => sound.synth({ tone: 880, duration: 0.05 }));
}
""",
    "tiny": "export{}\n",
    "plotter": """// Draws where the pen is.
export function act({ event: e, ink }) {
  if (e.is("draw")) ink("red").line(e.x - e.delta.x, e.y - e.delta.y, e.x, e.y);
}
""",
    "clock": "export const paint = ({ wipe }) => wipe(new Date().getSeconds() * 4);\n",
    "echo-room": "export const boot = ({ params, ink }) => ink(255).write(params.join(' '));\n",
}
PROGRAMS = (
    '(wipe "navy") (ink "gold") (circle 64 64 (wiggle 30))',
    "(line 0 0 width height)",
    '(def spin 0)\n(later tick\n  (now spin (+ spin 1)))\n(ink "pink")\n(box spin 10 20 20)',
    '(wipe (? "red" "green" "blue"))',
    "; nothing but a comment",
    "(repeat 12 (ink (random 255)) (plot (random width) (random height)))",
    '(write "こんにちは" 4 4)',
    "(scroll 1 0) (ink rainbow) (line 0 (mouse y) 1 (mouse y))",
    "(blur 2)\n(zoom 1.01)",
    "(tap (wipe black))",
)


@dataclass(frozen=True, slots=True)
class People:
    """Who uploads."""

    ada: Person
    bob: Person
    guest: Person
    stranger: Person

    @property
    def people(self) -> tuple[Person, ...]:
        """Return everyone."""
        return (self.ada, self.bob, self.guest, self.stranger)


@dataclass(slots=True)
class Scenes:
    """Plays the scenes and collects the items, each with what is expected of it.

    `check` raises when the worker or a service has died.
    """

    platform: Platform
    uploads: Uploads
    people: People
    pds: Service
    display: Display
    check: Callable[[], None]
    items: list[UploadedItem] = field(default_factory=list)

    def play(self) -> list[UploadedItem]:
        """Play all scenes; return every item there is at the end."""
        acts = self._acts()
        before = round(len(acts) * _BEFORE_THE_OUTAGE)
        self._uploads(acts[:before])
        self._changes()
        self._outage(acts[before:])
        if count := self.uploads.refused:
            self.display.say(f"the queue did not take {count} of the messages; the sweep saw to it")
        return self.items

    def _acts(self) -> list[Act]:
        """Return all uploads, the types mixed and the owners taking turns."""
        users, all_ = (self.people.ada, self.people.bob), self.people.people[:3]
        upload = self.uploads
        sources = enumerate(PIECES.items())
        kinds: list[list[Act]] = [
            [self._painting(picture, all_[n % 3]) for n, picture in enumerate(gallery())],
            [partial(upload.mood, text, users[n % 2]) for n, text in enumerate(MOODS)],
            [partial(upload.piece, slug, text, all_[n % 3]) for n, (slug, text) in sources],
            [partial(upload.program, text, all_[n % 3]) for n, text in enumerate(PROGRAMS)],
        ]
        spread = [((n + 0.5) / len(acts), act) for acts in kinds for n, act in enumerate(acts)]
        return [act for _, act in sorted(spread, key=lambda pair: pair[0])]

    def _painting(self, picture: Picture, owner: Person) -> Act:
        recorded = _RECORDED.get(picture.slug, "")
        return partial(self.uploads.painting, picture, owner, recorded=recorded)

    def _uploads(self, acts: Sequence[Act]) -> None:
        self.display.scene("People upload paintings, moods, pieces and programs")
        self._begin("message lost")
        self.items.append(self.uploads.mood(LOST_MOOD, self.people.ada, enqueued=False))
        self._begin("guest's mood")
        guests = "guests_not_published"
        self.items.append(self.uploads.mood(GUEST_MOOD, self.people.guest, skipped=guests))
        self._begin("no account")
        stranger = self.people.stranger
        self.items.append(self.uploads.mood(STRANGER_MOOD, stranger, skipped="no_account"))
        self._begin("upload")
        self._save(acts)
        if self._settle():
            self.display.say("one of them was never enqueued: the sweep found it")

    def _changes(self) -> None:
        self.display.scene("One item is edited, one nuked, and one comes without its image")
        self._begin("edited")
        change = self.uploads.change
        self._replace("mood", lambda item: change(item, status="synced", mood=EDITED_MOOD))
        self._begin("nuked")
        self._replace(
            "painting", lambda item: change(item, status="removed", why="nuked", nuked=True)
        )
        self._begin("image missing")
        self.items.append(self.uploads.broken_painting("never-arrived", self.people.bob))
        self._settle()

    def _outage(self, acts: Sequence[Act]) -> None:
        self.display.scene("The PDS goes down while people go on uploading")
        self.pds.stop()
        self._begin("PDS was down")
        self._save(acts)
        self._wait(lambda states: len(self._waiting(states)) > len(acts) // 2)
        waiting = self._waiting(self._states())
        self.display.say(f"{len(waiting)} items wait, all of them saved; the PDS starts again")
        self.pds.start()
        if self._settle():
            states = self._states()
            tries = [int(str(states[item.id].get("attempts"))) for item in self._during_outage()]
            self.display.say(f"all went up by themselves, after {max(tries)} tries at most")

    def _begin(self, scene: str) -> None:
        self.uploads.scene = scene

    def _save(self, acts: Sequence[Act]) -> None:
        for act in acts:
            self.items.append(act())
            self._count(self._states())

    def _replace(self, type_name: str, change: Callable[[UploadedItem], UploadedItem]) -> None:
        """Change the first uploaded item of a type that is a user's."""
        index = next(
            n
            for n, item in enumerate(self.items)
            if item.type == type_name and item.scene == "upload" and item.owner.user
        )
        self.items[index] = change(self.items[index])

    def _during_outage(self) -> list[UploadedItem]:
        return [item for item in self.items if item.scene == "PDS was down"]

    def _waiting(self, states: States) -> list[UploadedItem]:
        return [item for item in self._during_outage() if "error" in states.get(item.id, {})]

    def _settle(self) -> bool:
        """Wait until every item is as expected; False when patience ends before."""
        return self._wait(lambda states: self._count(states) == len(self.items))

    def _wait(self, condition: Callable[[States], bool]) -> bool:
        deadline = time.monotonic() + _TIMEOUT
        while not condition(self._states()):
            if time.monotonic() > deadline:
                self.display.say(f"waited {_TIMEOUT:.0f} seconds; going on")
                return False
            self.check()
            time.sleep(_POLL)
        return True

    def _count(self, states: States) -> int:
        """Show and return how many items are as expected."""
        statuses = Counter(str(states[item.id].get("status", "new")) for item in self.items)
        done = sum(item.is_settled(states[item.id]) for item in self.items)
        self.display.count(statuses, done, len(self.items))
        return done

    def _states(self) -> States:
        types = {item.type for item in self.items}
        return {key: state for name in types for key, state in self.platform.states(name).items()}
