"""A platform with items in every state, on which the commands of the pages are run."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from bson import ObjectId

from tests.environments import environment_of
from tests.fleet import worker
from tests.pictures import pixel_art
from tests.redis_databases import redis_database
from tests.transcripts.masking import Names
from tests.transcripts.shell import run_at_terminal, run_in_pipe
from tests.world import World
from worker.core.clock import now
from worker.core.removal_notes import removal_note
from worker.core.settings import Settings
from worker.dev.demo.platform import Platform
from worker.dev.stack import Stack
from worker.media import media_type
from worker.services import Services, build

ADA, BOB, CYD, GUESTS = "auth0|ada", "auth0|bob", "auth0|cyd", "art-guest"
DAN = "auth0|dan"  # has no account
NOBODY_AT = "127.0.0.1:9"  # no service listens there
_HANDLES = {ADA: "ada", BOB: "bob", CYD: "cyd", GUESTS: "guests-ac"}
_FIRST = datetime(2026, 1, 20, 10, 15, tzinfo=UTC)
_PROCESS = "c0ffee0000"  # of an ObjectId: the part that identifies the process
_SILENCE = 70  # seconds since a heartbeat
_ROOT = Path(__file__).parents[2]
_PORTS = {
    "MONGODB_CONNECTION_STRING": "27017",
    "REDIS_URL": "63790",
    "PDS_URL": "25830",
    "DID_RESOLVER": "25820",
}


def item_id(number: int) -> ObjectId:
    """Return the id of the item with this number: the same in every run."""
    seconds = int(_when(number).timestamp())
    return ObjectId(f"{seconds:08x}{_PROCESS}{number:06x}")


def _when(number: int) -> datetime:
    return _FIRST + timedelta(hours=number)


@dataclass(frozen=True)
class Transcript:
    """Commands and their output in a page, run in the order of `commands.TRANSCRIPTS`."""

    name: str
    commands: tuple[str, ...]
    width: int = 0  # of the terminal; 0: the output is in a pipe
    typed: str = ""
    errors: bool = True  # show stderr as well
    codes: bool = False  # show exit codes with `echo $?`
    numbers_vary: bool = False
    environ: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[Stage], object] | None = None


@dataclass(frozen=True)
class Stage:
    """The platform, and what its commands are given."""

    world: World
    environ: dict[str, str]
    folder: Path
    names: Names
    closing: ExitStack

    def play(self, transcript: Transcript) -> str:
        """Run the commands of a transcript; return what its block in the pages is to say."""
        if transcript.prepare:
            transcript.prepare(self)
        return "".join(self._run(transcript, command) for command in transcript.commands)

    def _run(self, transcript: Transcript, command: str) -> str:
        program, *arguments = shlex.split(command.format(**self._words))
        assert program == "media-atproto"
        changes = {name: text.format(**self._words) for name, text in transcript.environ.items()}
        environ = {**self.environ, **changes}
        if transcript.width:
            width, typed = transcript.width, transcript.typed
            code, printed = run_at_terminal(
                arguments, environ, width=width, errors=transcript.errors, typed=typed
            )
        else:
            code, printed = run_in_pipe(arguments, environ, errors=transcript.errors)
        assert "Traceback" not in printed, printed
        ending = f"$ echo $?\n{code}\n" if transcript.codes else ""
        return self.names.replace(f"$ {command.format(**self._words)}\n{printed}{ending}")

    @property
    def _words(self) -> dict[str, str]:
        """Return what commands and their variables may contain in braces."""
        dids = {name.partition("-")[0]: self.world.dids[key] for key, name in _HANDLES.items()}
        redis = _address(self.environ["REDIS_URL"])
        return {**dids, "folder": str(self.folder), "redis": redis}

    def start_worker(self) -> None:
        """Start a worker, which runs until the stage is closed."""
        folder = self.folder / "worker"
        folder.mkdir()
        self.closing.enter_context(worker(self.environ, folder))

    def save(self, number: int, type_name: str, user: str | None, **fields: object) -> ObjectId:
        """Save the item with this number."""
        item = item_id(number)
        owner = {} if user is None else {"user": user}
        document = {"_id": item, "when": _when(number), **fields, **owner}
        self.world.services.storage.store.collection(media_type(type_name)).insert_one(document)
        return item

    def publish(self, number: int, type_name: str, user: str | None, **fields: object) -> ObjectId:
        """Save the item with this number, and sync it as a worker does."""
        item = self.save(number, type_name, user, **fields)
        self.world.sync(type_name, item)
        return item


@contextmanager
def open_stage(stack: Stack, folder: Path) -> Iterator[Stage]:
    """Open a platform with items in every state."""
    with ExitStack() as closing:
        redis_url = closing.enter_context(redis_database(stack.environment["REDIS_URL"]))
        store = folder / "media"
        store.mkdir()
        own = {
            "MONGODB_NAME": "media",
            "REDIS_URL": redis_url,
            "MEDIA_STORE_URL": f"file://{store}",
        }
        environ = environment_of(stack, own, {})
        services = build(Settings.load(environ))
        closing.callback(_close, services)
        services.ensure_indexes()
        platform = Platform(services.storage.database, environ["PDS_URL"], store)
        dids = {subject: platform.sign_up(subject, name) for subject, name in _HANDLES.items()}
        http = closing.enter_context(httpx.Client(base_url=environ["PDS_URL"], timeout=30))
        world = World(services, platform, environ, ADA, BOB, dids, http)
        names = Names(
            {did: f"{_HANDLES[subject]}.test" for subject, did in dids.items()},
            {
                str(store): "/srv/media",
                str(folder): "/run/media-atproto",
                str(_ROOT): "/srv/media-atproto",
                **_page_ports(environ),
            },
        )
        full = {**os.environ, **environ, "COLUMNS": ""}
        stage = Stage(world, full, folder, names, closing)
        _fill(stage)
        yield stage


def _page_ports(environ: dict[str, str]) -> dict[str, str]:
    ports = {}
    for name, port in _PORTS.items():
        address = _address(environ[name])
        host, _, own = address.rpartition(":")
        ports[address] = f"{host}:{port[: len(own)]}"
    return ports


def _address(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _close(services: Services) -> None:
    services.storage.database.client.drop_database(services.storage.database.name)
    services.close()


def _fill(stage: Stage) -> None:
    """Publish items, and leave some wrong in each way."""
    platform = stage.world.platform
    for number, slug in enumerate(("sun", "moon", "tide"), 1):
        platform.store(f"{slug}.png", pixel_art((8 + number, 8)), ADA)
        _publish_painting(stage, number, ADA, slug)
    platform.store("torn.png", b"not an image", ADA)
    _publish_painting(stage, 4, ADA, "torn")
    _publish_painting(stage, 5, BOB, "never-arrived")
    for number in range(6, 10):
        stage.publish(number, "mood", ADA, mood=f"mood {number}")
    stage.publish(10, "mood", BOB)
    stage.publish(11, "mood", BOB, mood="x" * 5001)
    for number in range(12, 15):
        stage.publish(number, "kidlisp", None, code=f"k{number}", source=f"(circle {number})")
    stage.publish(15, "mood", None, mood="a guest's")
    stage.publish(16, "mood", DAN, mood="without an account")
    nuked = stage.publish(17, "mood", ADA, mood="nuked later")
    platform.edit("mood", nuked, nuked=True)
    stage.world.sync("mood", nuked)
    _refuse_cyd(stage)
    _leave_a_removal(stage)
    for name in ("live", "old"):
        (stage.folder / f"{name}.heartbeat").touch()
    long_ago = time.time() - _SILENCE
    os.utime(stage.folder / "old.heartbeat", (long_ago, long_ago))
    stage.save(20, "kidlisp", None, code="k20", source="(line)")


def _publish_painting(stage: Stage, number: int, user: str, slug: str) -> None:
    fields = {"slug": slug, "code": f"p{number:02}", "bucket": "user-aesthetic-computer"}
    stage.publish(number, "painting", user, **fields)


def _refuse_cyd(stage: Stage) -> None:
    """Edit published items of cyd, whose stored password is wrong by then."""
    moods = [stage.publish(number, "mood", CYD, mood=f"mood {number}") for number in (18, 19)]
    storage = stage.world.services.storage
    storage.database["users"].update_one(
        {"_id": CYD}, {"$set": {"atproto.password": "not this one"}}
    )
    storage.redis.flushdb()  # the session
    for mood in moods:
        stage.world.platform.edit("mood", mood, mood="edited")
        stage.world.sync("mood", mood)
    long_ago = now() - timedelta(hours=3)
    storage.store.collection(media_type("mood")).update_many(
        {"_id": {"$in": moods}},
        {"$set": {"atproto.syncedAt": long_ago, "atproto.failingSince": long_ago}},
    )


def _leave_a_removal(stage: Stage) -> None:
    """Leave the removal of a deleted mood whose user has no account."""
    note = removal_note("mood", item_id(21), user=DAN, rkey="3mcvabcdefg22")
    stage.world.services.storage.removals.save(note)
    stage.world.sync("mood", item_id(21), user=DAN)
