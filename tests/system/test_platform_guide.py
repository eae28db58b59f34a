"""The lines for producers in docs/platforms/aesthetic-computer.md, run in Node as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import redis

from tests import node
from tests.bulk import save_moods
from tests.scene import open_scene
from tests.world import Worlds

GUIDE = (Path(__file__).parents[2] / "docs/platforms/aesthetic-computer.md").read_text()
LINES = re.findall(r"`(await enqueue\(.+?\);)`", GUIDE)
(ALL_MOODS, DELETED_DOCUMENT) = re.findall(r"```js\n(.*?)```", GUIDE, re.S)
_PROGRAM = """
import { MongoClient } from "mongodb";
import { enqueue } from "./enqueue.mjs";
import { removalNote } from "./removal-note.mjs";
const mongo = new MongoClient(process.env.MONGODB_CONNECTION_STRING);
const db = mongo.db(process.env.MONGODB_NAME);
const [moods, paintings] = [db.collection("moods"), db.collection("paintings")];
const [sub, painting] = [process.argv[1], await paintings.findOne({})];
const [insertedId, piece, mood] = ["new", { _id: 1 }, { _id: 2 }];
const [tape, post] = [{ _id: 3 }, { _id: 4 }];
%s
console.log(JSON.stringify({ painting: painting._id }));
await mongo.close();
"""


def test_the_lines_for_producers_enqueue_what_they_save(
    worlds: Worlds, bare_environ: dict[str, str], tmp_path: Path
) -> None:
    """Every line of the table, all moods of a user, and a document that is deleted."""
    example = node.install(bare_environ, tmp_path)
    with (
        open_scene(worlds, tmp_path) as scene,
        redis.Redis.from_url(scene.environ["REDIS_URL"]) as client,
    ):
        world = scene.world
        own, painting = save_moods(world, 3, world.ada), world.platform.save_painting("x", None)
        save_moods(world, 1, world.bob)
        program = _PROGRAM % "\n".join((*LINES, ALL_MOODS, DELETED_DOCUMENT))
        assert example.run(program, world.ada, scene.environ) == {"painting": str(painting)}
        messages = [json.loads(message) for message in client.lrange("live", 0, -1)]
        asked = [json.loads(message["body"]) for message in reversed(messages)]
        database = world.services.storage.database
        assert database["moods"].count_documents({"deleted": True}) == len(own)
        assert database["paintings"].count_documents({}) == 0
        assert database["atproto_removals"].count_documents({"user": "art-guest"}) == 1
    table, rest = asked[: len(LINES)], asked[len(LINES) :]
    assert [line[0][0] for line in table] == [line.split('"')[1] for line in LINES]
    assert {line[0][0] for line in table} == {
        *("painting", "piece", "mood", "kidlisp"),
        *("tape", "news"),
    }
    assert rest == [
        *([["mood", str(mood)], {}, {}] for mood in own),
        [["painting", str(painting)], {"user": "art-guest"}, {}],
    ]
