"""The Node example: real Node processes, a real queue, a real worker."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import datetime

import pytest
import redis
from bson import ObjectId

from tasks import removal_note
from tests import node
from tests.fleet import beat, frozen, stopped, worker
from tests.message_samples import ITEM, LONG, SHORT
from tests.producer_user import producer_user
from tests.scene import Scene, open_scene
from tests.system.watcher import await_text
from tests.waiting import wait_for
from tests.world import Worlds
from worker.core.clock import now
from worker.core.ids import parse_id
from worker.dev.stack import Stack

MOOD: dict[str, object] = {"mood": "saved in Node: ünï 🎨"}
# What a save waits at most is a quarter of a second; the rest is for a machine under load.
_BOUND = 5000
# Of a server that never answers, `port`; `right` is what follows the login in the right URL.
WRONG = {
    "refused": "redis://:swordfish@127.0.0.1:1/0",
    "hanging": "redis://:swordfish@127.0.0.1:{port}/0",
    "wrong password": "redis://nobody:swordfish@{right}",
    "unnamed": "",
    "no URL": "::swordfish",
}


@pytest.fixture(scope="module")
def example(bare_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> node.Example:
    """The example, installed."""
    return node.install(bare_environ, tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A platform with a worker, and beat for what a lost message leaves behind."""
    folder = tmp_path_factory.mktemp("node-scene")
    with (
        open_scene(own_worlds, folder) as opened,
        worker(opened.environ, folder),
        beat(opened.environ, folder),
    ):
        yield opened


def test_messages_of_other_programs_are_carried_out(
    own_worlds: Worlds, example: node.Example, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Those of Node are on the queue before any worker was: nothing has to be set up in Redis.

    No beat: it is the message by which the worker comes to know of the document.
    """
    folder = tmp_path_factory.mktemp("node-first")
    with (
        open_scene(own_worlds, folder) as scene,
        redis.Redis.from_url(scene.environ["REDIS_URL"]) as client,
    ):
        client.flushdb()
        ids = [None, 7, 'it\'s "ünï" 🎨 \\ /', "65f0c0ffee65f0c0ffee65f1", "12"]
        answers = [_upload(scene, example, given=given) for given in ids]
        assert [answer["enqueued"] for answer in answers] == [True] * len(ids)
        assert [answer["id"] for answer in answers[1:]] == ids[1:]
        assert client.keys() == [b"live"]
        with worker(scene.environ, folder):
            for answer in answers:
                (item, *_) = parse_id(answer["id"])
                known = item if answer is answers[0] else answer["id"]
                scene.wait_for_status("mood", known, "synced")  # type: ignore[arg-type]
            _carry_out_samples(scene, client)


def _carry_out_samples(scene: Scene, client: redis.Redis) -> None:
    """Push the messages of docs/producers.md, and one for a removal, as they stand there."""
    world, item = scene.world, ObjectId(ITEM)
    document = {"_id": item, "mood": "by the short one", "user": world.ada, "when": now()}
    world.services.storage.database["moods"].insert_one(document)
    client.lpush("live", SHORT)
    scene.wait_for_status("mood", item, "synced")
    assert world.record("mood", item)["text"] == "by the short one"
    world.platform.edit("mood", item, mood="by the long one")
    client.lpush("live", LONG)
    await_text(scene, item, "by the long one")
    scene.wait_until_drained()
    world.platform.delete("mood", item)
    headers = {"task": "sync_media", "id": "9d64bd6c-8c0e-41f5-a5d5-b7c6e7a6a0b1"}
    body = json.dumps([["mood", ITEM], {"user": world.ada}, {}])
    client.lpush("live", json.dumps({"headers": headers, "body": body}))
    wait_for(lambda: not world.records("mood", item), what="the record to be gone")


def test_the_user_of_the_page_can_enqueue(example: node.Example, own_stack: Stack) -> None:
    """With the command of docs/producers.md; nothing that Node sends is denied."""
    with producer_user(own_stack.environment["REDIS_URL"]) as producer:
        with example.server({"REDIS_URL": producer.url}) as server:
            assert server.enqueue("mood", 7)["enqueued"] is True
            assert server.enqueue("mood", 7)["enqueued"] is True
            assert server.end() == 0
        assert producer.denials() == []


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG.keys())
def test_a_queue_that_fails_changes_nothing_about_the_save(
    scene: Scene, example: node.Example, url: str
) -> None:
    """False within a bound, the process ends by itself with 0, and the sweep publishes it."""
    right = scene.environ["REDIS_URL"].removeprefix("redis://")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wrong = {"REDIS_URL": url.format(port=silent.getsockname()[1], right=right)}
        environ = {**scene.environ, **wrong}
        answer, log = example.upload("mood", MOOD, environ, user=scene.world.ada)
    assert answer["enqueued"] is False
    assert float(str(answer["milliseconds"])) < _BOUND
    assert "mood was not enqueued; the sweep will find it" in log
    assert "swordfish" not in log
    scene.wait_for_status("mood", ObjectId(str(answer["id"])), "synced")


def test_a_process_that_goes_on_outlives_an_outage(
    scene: Scene, example: node.Example, own_stack: Stack
) -> None:
    """Before, while Redis is stopped, while it is frozen, and after: it connects anew."""
    mood = str(scene.world.platform.save_mood("by a server", scene.world.ada))
    with example.server(scene.environ) as server:
        for outage in (stopped, frozen):
            assert server.enqueue("mood", mood)["enqueued"] is True
            with outage(own_stack.valkey):
                answers = [server.enqueue("mood", mood) for _ in range(3)]
            assert server.enqueue("mood", mood)["enqueued"] is True
            assert [answer["enqueued"] for answer in answers] == [False] * 3
            assert max(float(str(answer["milliseconds"])) for answer in answers) < _BOUND
        assert server.end() == 0


@pytest.mark.parametrize("item", [7, 'it\'s "ünï"'])
def test_a_removal_note_is_as_pythons(example: node.Example, item: str | int) -> None:
    """But for its time."""
    program = """
        import { removalNote } from "./removal-note.mjs";
        console.log(JSON.stringify(removalNote("mood", JSON.parse(process.argv[1]), "auth0|ada")));
    """
    note = example.run(program, json.dumps(item))
    due = datetime.fromisoformat(str(note.pop("retryAt")))
    expected = removal_note("mood", item, user="auth0|ada")
    assert abs((due - expected.pop("retryAt")).total_seconds()) < 60  # type: ignore[operator]
    assert note == expected


def test_the_example_saves_no_field_that_it_does_not_list(
    scene: Scene, example: node.Example
) -> None:
    """A client that sends a state, an owner or an id of its own has none of them saved."""
    sent = {"atproto": {"strays": ["at://x/y/z"]}, "user": scene.world.bob, "_id": "theirs"}
    answer = _upload(scene, example, **sent)
    item = ObjectId(str(answer["id"]))
    document = scene.world.platform.document("mood", item)
    assert document["user"] == scene.world.ada
    assert document.keys() == {"_id", "mood", "user", "when"}
    scene.wait_for_status("mood", item, "synced")
    assert "strays" not in scene.world.platform.state("mood", item)


def _upload(
    scene: Scene, example: node.Example, *, given: object = None, **sent: object
) -> node.Answer:
    """Save a mood of ada's with `sent` fields of a client; return the answer."""
    own = {} if given is None else {"id": given}
    return example.upload("mood", MOOD | sent, scene.environ, user=scene.world.ada, **own)[0]
