"""What Sentry gets from a real worker: one event a distinct failure, and none that heals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import psutil
import pytest
from bson import ObjectId
from kombu import Connection

from tasks import sync_media
from tasks.sync import sync_batch
from tests.bulk import set_password
from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.environments import changed
from tests.fleet import Process, worker
from tests.scene import Scene, open_scene
from tests.sentry_server import SentryServer, sentry_server
from tests.waiting import wait_for
from tests.world import Worlds
from worker.app import app
from worker.queue.names import BULK, LIVE

TOO_LONG = "z" * 5001
DOWN = Reply(503, b'{"error": "NotNow"}')


@dataclass(frozen=True)
class Watched:
    """A worker of one process, so that its events come in the order of its failures."""

    scene: Scene
    proxy: Proxy
    sentry: SentryServer
    process: Process

    def save(self, text: str = TOO_LONG, user: str | None = None) -> ObjectId:
        """Save a mood and enqueue it."""
        mood = self.scene.world.platform.save_mood(text, user or self.scene.world.ada)
        self.scene.enqueue("mood", mood)
        return mood

    def wait_for_what_was_before(self) -> None:
        """Wait for an event that comes after all that was to come before."""
        self.sentry.wait_for(self.save())


@pytest.fixture(scope="module")
def watched(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Run a worker that reports to an endpoint of ours, its PDS behind a proxy."""
    folder = tmp_path_factory.mktemp("sentry")
    with (
        open_scene(worlds, folder) as scene,
        open_proxy(worlds.stack.environment["PDS_URL"]) as proxy,
        sentry_server() as sentry,
    ):
        own = {
            "PDS_URL": proxy.url,
            "SENTRY_DSN": sentry.dsn,
            "SENTRY_ENVIRONMENT": "rehearsal",
            "MAX_ATTEMPTS": "3",
            "RETRY_BASE_SECONDS": "1",
        }
        environ = changed(scene.environ, own)
        with worker(environ, folder, 1, "--include", "tests.unlucky") as process:
            yield Watched(scene, proxy, sentry, process)


def test_what_is_given_up_at_once_is_one_event(watched: Watched) -> None:
    """It says which item, whose, which attempt, where and why; twice the same is one group."""
    mood, again = watched.save(), watched.save()
    event, other = watched.sentry.wait_for(mood), watched.sentry.wait_for(again)
    world = watched.scene.world
    expected = {
        "type": "mood",
        "id": str(mood),
        "did": world.dids[world.ada],
        "attempt": "1",
        "step": "validate",
        "code": "lexicon_violation",
        "task": "sync_media",
    }
    assert expected.items() <= event.tags.items()
    assert event.group == other.group == ("validate", "lexicon_violation")
    assert "mood has 5001 bytes" in event.error["value"]
    assert event.body["level"] == "error"
    assert event.body["environment"] == "rehearsal"
    assert event.body["release"].startswith("media-atproto@")
    watched.wait_for_what_was_before()
    assert len(watched.sentry.about(mood)) == 1


def test_what_heals_is_none_and_the_last_attempt_is_one(watched: Watched) -> None:
    """A PDS that comes back is nobody's business; one that does not is."""
    watched.proxy.answer(DOWN, "putRecord")
    healing = watched.save("a passing cloud")
    watched.scene.wait_for_status("mood", healing, "pending")
    watched.proxy.be_honest()
    watched.scene.wait_for_status("mood", healing, "synced")
    watched.proxy.answer(DOWN, "putRecord")
    given_up = watched.save("too long a cloud")
    event = watched.sentry.wait_for(given_up)
    watched.proxy.be_honest()
    watched.wait_for_what_was_before()
    assert event.group == ("write", "pds_503")
    assert event.tags["attempt"] == "3"
    assert len(watched.sentry.about(given_up)) == 1
    assert watched.sentry.about(healing) == []


def test_bugs_are_grouped_by_their_stacks_and_reported_once(watched: Watched) -> None:
    """Not for each item or attempt; without local variables, and the keys that a text quotes."""
    first, second, other = map(watched.save, ("one bug", "one bug", "another bug"))
    for mood in (first, second, other):
        watched.scene.enqueue("mood", mood)  # nobody else tries a bug again: there is no beat
    events = [watched.sentry.wait_for(mood) for mood in (first, other)]
    wait_for(
        lambda: watched.scene.world.platform.state("mood", first)["attempts"] == 2,
        within=60,
        what="the bug to be met again",
    )
    watched.wait_for_what_was_before()
    assert [len(watched.sentry.about(mood)) for mood in (first, second, other)] == [1, 0, 1]
    assert events[0].group != events[1].group
    assert events[0].group[-1] == "tests.unlucky:_divide"
    assert events[0].tags["attempt"] == "1"
    assert not any("vars" in frame for frame in events[0].error["stacktrace"]["frames"])
    assert events[1].error["value"] == "'(secret)'"
    key = watched.scene.environ["SECRET_KEYS"].encode()
    assert not any(key in body for body in watched.sentry.bodies)


def test_each_item_of_a_batch_is_an_event_of_its_own(watched: Watched) -> None:
    """Failures and bugs, each with its tags; the batch itself is none."""
    world, before = watched.scene.world, len(watched.sentry.events)
    texts = (TOO_LONG, "fine", "a bug of a batch", TOO_LONG)
    moods = [world.platform.save_mood(text, world.bob) for text in texts]
    ids = [*map(str, moods), ""]
    with Connection(watched.scene.environ["REDIS_URL"]) as connection:
        sync_batch.apply_async(("mood", world.bob, ids), connection=connection, queue=BULK)
    events = [watched.sentry.wait_for(moods[n]) for n in (0, 2, 3)]
    unreadable = watched.sentry.wait_for("''")
    watched.wait_for_what_was_before()
    assert len(watched.sentry.events) - before == 5
    assert watched.sentry.about(moods[1]) == []
    assert events[0].group == events[2].group == ("validate", "lexicon_violation")
    assert events[1].error["type"] == "LookupError"
    assert unreadable.group[-1] == "invalid_id"
    assert {event.tags["did"] for event in events} == {world.dids[world.bob]}
    assert {event.tags["task"] for event in events} == {"sync_batch"}


def test_a_message_that_no_item_can_be_meant_by_is_an_event(watched: Watched) -> None:
    """An unknown type, by its code. Arguments of the wrong shape reach no task, and are logged."""
    name = uuid4().hex
    with Connection(watched.scene.environ["REDIS_URL"]) as connection:
        sync_media.apply_async(("hologram", name), connection=connection)
        many = (name, name, name, name)
        app.send_task("sync_media", args=many, connection=connection, queue=LIVE)
    known = watched.sentry.wait_for(name)
    assert known.group == ("document", "unknown_type")
    watched.wait_for_what_was_before()
    assert [e.error["type"] for e in watched.sentry.about(name)] == ["unknown_type"]


def test_a_removal_that_is_given_up_is_an_event(watched: Watched) -> None:
    """Its document is gone, so it is named by the key of its record."""
    mood = watched.save("to be deleted")
    watched.scene.wait_for_status("mood", mood, "synced")
    world = watched.scene.world
    world.platform.delete("mood", mood)
    watched.proxy.answer(Reply(400, b'{"error": "Never"}'), "deleteRecord")
    with Connection(watched.scene.environ["REDIS_URL"]) as connection:
        sync_media.apply_async(("mood", str(mood), world.ada), connection=connection)
    event = watched.sentry.wait_for(mood)
    watched.proxy.be_honest()
    assert event.group == ("remove", "pds_refused")
    assert event.tags["did"] == world.dids[world.ada]
    assert event.tags["attempt"] == "1"


def test_a_missing_image_is_a_warning_once_it_is_given_up(watched: Watched) -> None:
    """The record is up all the same; a file that cannot be read is for a person."""
    world = watched.scene.world
    world.platform.store("torn.png", b"no image", world.ada)
    painting = world.platform.save_painting("torn", world.ada)
    watched.scene.enqueue("painting", painting)
    event = watched.sentry.wait_for(painting)
    assert event.group == ("thumbnail", "image_unreadable")
    assert event.body["level"] == "warning"


def test_a_parked_account_is_one_event_whatever_waits_for_it(watched: Watched) -> None:
    """A person must act once: not once an item, nor once each time that it is tried again."""
    world = watched.scene.world
    set_password(world, world.bob, "no longer this")
    moods = [watched.save(f"waiting {n}", world.bob) for n in range(3)]
    for mood in moods:
        watched.scene.wait_for_status("mood", mood, "pending")
    watched.wait_for_what_was_before()
    events = [e for e in watched.sentry.events if e.tags.get("code") == "wrong_password"]
    assert len(events) == 1
    assert events[0].group == ("account", "wrong_password")
    assert events[0].tags["did"] == world.dids[world.bob]
    assert sum(len(watched.sentry.about(mood)) for mood in moods) == 1


def test_a_producers_own_sentry_is_its_own(watched: Watched) -> None:
    """It stays as the platform has set it up, and nothing of ours is loaded."""
    program = """
import sys, sentry_sdk
sentry_sdk.init(sys.argv[1])
client = sentry_sdk.get_client()
from tasks import enqueue
assert enqueue("mood", "0")
assert sentry_sdk.get_client() is client
assert client.options["before_send"] is None
assert "worker.telemetry.sentry" not in sys.modules
"""
    command = [sys.executable, "-c", program, watched.sentry.dsn]
    subprocess.run(command, env=watched.scene.environ, check=True, timeout=60)


def test_a_sentry_that_is_down_disturbs_nobody(watched: Watched) -> None:
    """Its events are lost; the item says what is wrong, and the next one is published."""
    watched.sentry.is_down = True
    try:
        lost, fine = watched.save(), watched.save("untroubled")
        watched.scene.wait_for_status("mood", lost, "failed")
        watched.scene.wait_for_status("mood", fine, "synced")
    finally:
        watched.sentry.is_down = False
    watched.wait_for_what_was_before()
    assert watched.sentry.about(lost) == []


def test_nothing_of_the_sdk_goes_along_with_calls_to_the_pds(watched: Watched) -> None:
    """No trace headers, which hold the DSN's key."""
    sent = {name.lower() for call in watched.proxy.calls for name in call.headers}
    assert "authorization" in sent
    assert not {"sentry-trace", "baggage", "traceparent"} & sent


def test_a_worker_that_is_stopped_sends_what_it_still_has(watched: Watched) -> None:
    """One event is under way and one waits behind it when the worker is told to stop."""
    with watched.sentry.held_back():
        moods = [watched.save(), watched.save()]
        for mood in moods:
            watched.scene.wait_for_status("mood", mood, "failed")
        (child,) = watched.process.children()
        watched.process.popen.terminate()
        wait_for(
            lambda: "Warm shutdown" in watched.process.text, within=60, what="the shutdown to begin"
        )
        # A pool's process has a second to end by itself: one that waits for Sentry outlasts it.
        _, outlasting = psutil.wait_procs([child], timeout=2)
        assert outlasting
    assert watched.process.popen.wait(60) == 0
    assert all(watched.sentry.about(mood) for mood in moods)
