"""`init`, `status`, `failures` and `retry`: what they print, change and exit with."""

from __future__ import annotations

import json
import signal
import threading
from datetime import timedelta

import pytest
import redis
from bson import ObjectId
from pymongo import monitoring
from pymongo.collection import Collection

from tests.bulk import account, set_password
from tests.fleet import beat, worker
from tests.scene import Scene
from tests.terminal import call, run
from tests.waiting import wait_for
from tests.world import World
from worker.core.clock import now
from worker.database.mongo import RawDocument
from worker.media import media_type

NOWHERE = "redis://:s3cret@127.0.0.1:9/0"
TYPES = ("painting", "mood", "piece", "kidlisp")


@pytest.fixture
def scene(scene: Scene) -> Scene:
    """Return the scene with its users and indexes, without items and messages."""
    database = scene.world.services.storage.database
    for name in ("paintings", "moods", "pieces", "kidlisp", "atproto_removals"):
        database[name].drop()
    scene.world.services.ensure_indexes()
    with redis.Redis.from_url(scene.environ["REDIS_URL"]) as client:
        client.delete("live", "sweep", "bulk", "unacked", "unacked_index")
    return scene


@pytest.fixture
def world(scene: Scene) -> World:
    """The platform alone."""
    return scene.world


def moods(world: World) -> Collection[RawDocument]:
    """Return the collection of moods."""
    return world.services.storage.store.collection(media_type("mood"))


def failed_mood(world: World, text: str = "") -> ObjectId:
    """Save and sync a mood of ada's that breaks a rule."""
    item = world.platform.save_mood(text, world.ada)
    world.sync("mood", item)
    assert world.platform.state("mood", item)["status"] == "failed"
    return item


def partial_painting(world: World, slug: str = "never-arrived") -> ObjectId:
    """Save and sync a painting of ada's whose image is missing."""
    item = world.platform.save_painting(slug, world.ada)
    world.sync("painting", item)
    return item


def queued(world: World, queue: str) -> list[RawDocument]:
    """Return the messages that wait in a queue, oldest first."""
    with redis.Redis.from_url(world.environ["REDIS_URL"]) as client:
        messages = client.lrange(queue, 0, -1)
    return [json.loads(message)["headers"] for message in reversed(messages)]


# init


def test_init_says_what_it_did(world: World, bare_environ: dict[str, str]) -> None:
    """A line for each index, and the second time nothing is left to do."""
    moods(world).drop_indexes()
    environ = {**bare_environ, **world.environ}
    code, output, error = run(["init"], environ)
    assert (code, error) == (0, "")
    assert "moods               atproto_due          created\n" in output
    assert "painting" in output
    assert output.endswith("\n42 already there, 10 created\n")
    code, output, _ = run(["init"], environ)
    assert (code, "created" in output) == (0, False)
    assert output.endswith("\n52 already there\n")
    lines = [json.loads(line) for line in call(world, "init", "--json").stdout.splitlines()]
    assert len(lines) == 52
    assert set(lines[0]) == {"collection", "index", "status", "detail"}
    assert {line["status"] for line in lines} == {"already there"}


def test_init_says_what_is_in_its_way_and_what_to_do(world: World) -> None:
    """Without a traceback, and with all others made."""
    moods(world).drop_indexes()
    moods(world).create_index("mood", name="atproto_due")
    result = call(world, "init")
    assert result.exit_code == 1
    assert (
        "atproto_due          refused moods has another index atproto_due: (mood 1)"
        in result.stdout
    )
    assert 'dropIndex("atproto_due")' in result.stdout
    assert result.stdout.endswith("\n42 already there, 9 created, 1 refused\n")


# status


def test_status_tells_counts_reasons_and_queues(world: World, bare_environ: dict[str, str]) -> None:
    """By type and in all, with what to do about each reason, in a process of its own."""
    synced = world.platform.save_mood("calm", world.ada)
    world.sync("mood", synced)
    failed_mood(world)
    partial_painting(world)
    world.sync("mood", world.platform.save_mood("boo", None))
    world.platform.save_kidlisp("(line)", world.ada)
    removed = world.platform.save_mood("gone", world.ada)
    world.sync("mood", removed)
    world.platform.delete("mood", removed)
    call(world, "sync", "mood", str(removed), "--user", world.ada, PDS_URL="http://127.0.0.1:9")
    call(world, "enqueue", "mood", str(synced))
    environ = {**bare_environ, **world.environ}
    code, output, error = run(["status"], environ)
    assert (code, error) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == [*TYPES, "all"]
    assert ["never", "published", *"00011"] in lines
    for name, counts in (
        ("pending", "00000"),
        ("synced", "01001"),
        ("partial", "10001"),
        ("failed", "01001"),
        ("skipped", "01001"),
        ("total", "13015"),
    ):
        assert [name, *counts] in lines
    assert "field_invalid   1       0        0        correct the field\n" in output
    assert ["source_missing", "0", "1", "0"] in [line[:4] for line in lines]
    assert ["guests_not_published", "1"] in lines
    assert ["live", "1"] in lines
    assert "Removals of records whose documents are gone\n  pending  1\n  failed   0\n" in output


def test_status_and_show_name_the_reason_for_which_an_item_is_not_published(world: World) -> None:
    """Drafts, hidden items, and a painting that waits for its code."""
    ids = unpublished_items(world)
    output = " ".join(call(world, "status").stdout.split())
    assert "Skipped by reason reason skipped draft 1 no_code 1 not_public 1" in output
    assert "Removed by reason reason removed nuked 1" in output
    told = json.loads(call(world, "status", "--json").stdout)
    assert told["types"]["painting"]["skipped_reasons"] == {"draft": 1, "no_code": 1}
    assert told["types"]["mood"]["skipped_reasons"] == {"not_public": 1}
    assert told["types"]["mood"]["removed_reasons"] == {"nuked": 1}
    assert told["all"]["removed_reasons"] == {"nuked": 1}
    for (type_name, status, reason), item in ids.items():
        shown = call(world, "show", type_name, str(item))
        assert shown.exit_code == 0
        words = " ".join(shown.stdout.split())
        assert f"status {status} reason {reason}" in words
        assert "No differences found." in words
        state = json.loads(call(world, "show", type_name, str(item), "--json").stdout)["state"]
        assert (state["status"], state["reason"]) == (status, reason)
    assert call(world, "failures").stdout == "Nothing failed.\n"


def test_pending_items_with_the_reason_are_counted_apart(world: World) -> None:
    """They are not failed: `failures` and `retry` leave them out, and point to the accounts."""
    right = set_password(world, world.ada, "not it")
    try:
        for _ in range(2):
            world.sync("mood", world.platform.save_mood("calm", world.ada))
    finally:
        set_password(world, world.ada, right)
    listed = call(world, "failures", "--reason", "wrong_password")
    retried = call(world, "retry", "--reason", "wrong_password")
    assert listed.exit_code == retried.exit_code == 0
    for result in (listed, retried):
        assert (
            "2 items are pending with wrong_password, and retried automatically: "
            "see media-atproto accounts\n"
        ) in result.stdout
    assert "pending with" not in call(world, "failures", "--reason", "field_invalid").stdout


def unpublished_items(world: World) -> dict[tuple[str, str, str], ObjectId]:
    """Save and sync an item of each kind that is not published; return them by status."""
    platform, ada = world.platform, world.ada
    draft, incomplete = (platform.save_painting("-", ada) for _ in range(2))
    platform.edit("painting", draft, slug=f"wip/{draft}", status="wip")
    platform.edit("painting", incomplete, code=None)
    unlisted, nuked = (platform.save_mood("calm", ada) for _ in range(2))
    platform.edit("mood", unlisted, visibility="unlisted")
    world.sync("mood", nuked)
    platform.edit("mood", nuked, nuked=True)
    items = {
        ("painting", "skipped", "draft"): draft,
        ("painting", "skipped", "no_code"): incomplete,
        ("mood", "skipped", "not_public"): unlisted,
        ("mood", "removed", "nuked"): nuked,
    }
    for (type_name, _status, _reason), item in items.items():
        world.sync(type_name, item)
    return items


def test_status_gives_json_to_programs(world: World) -> None:
    """All types have the same keys, whether they have items or not."""
    since = now() - timedelta(days=3)
    error = {"step": "write", "code": "pds_5xx", "message": "502", "at": now()}
    state = {"status": "pending", "error": error, "failingSince": since}
    old = {"mood": "old", "when": now(), "atproto": state}
    moods(world).insert_one(old)
    failed_mood(world)
    told = json.loads(call(world, "status", "--json").stdout)
    assert list(told) == ["at", "types", "all", "removals", "queues", "fault"]
    assert list(told["types"]) == list(TYPES)
    mood = told["types"]["mood"]
    assert (mood["total"], mood["pending"], mood["failed"]) == (2, 1, 1)
    assert mood["reasons"] == {
        "field_invalid": {"failed": 1, "partial": 0, "pending": 0},
        "pds_5xx": {"failed": 0, "partial": 0, "pending": 1},
    }
    assert 3 * 86_400 <= mood["oldest_pending"]["seconds"] < 4 * 86_400
    assert told["types"]["piece"].keys() == mood.keys() == told["all"].keys()
    assert told["types"]["piece"]["oldest_pending"] is None
    assert told["queues"] == {"live": 0, "sweep": 0, "bulk": 0, "in_flight": 0}
    assert told["removals"] == {"pending": 0, "failed": 0}
    assert told["fault"] is None
    assert "3 days" in call(world, "status").stdout


def test_status_tells_the_rest_when_redis_is_away(world: World) -> None:
    """The queues are said not to be known, without the password of their address."""
    failed_mood(world)
    result = call(world, "status", REDIS_URL=NOWHERE)
    assert result.exit_code == 2
    assert "field_invalid" in result.stdout
    assert "The queue lengths are unknown: Redis did not answer" in result.stdout
    assert "s3cret" not in result.output
    result = call(world, "status", "--json", REDIS_URL=NOWHERE)
    told = json.loads(result.stdout)
    assert (result.exit_code, told["queues"]) == (2, None)
    assert "Redis did not answer" in told["fault"]
    assert told["all"]["failed"] == 1


def test_status_says_when_init_was_not_run(world: World) -> None:
    """Instead of going through every document."""
    world.platform.save_mood("calm", world.ada)
    moods(world).drop_index("atproto_trouble")
    result = call(world, "status")
    assert result.exit_code == 2
    assert "an index is missing in MongoDB: run media-atproto init" in result.stderr


# failures


def test_failures_are_told_by_reason_with_what_to_do(
    world: World, bare_environ: dict[str, str]
) -> None:
    """Those that are given up and those that lack a file, in a process of its own."""
    mood, painting = failed_mood(world), partial_painting(world)
    code, output, error = run(["failures"], {**bare_environ, **world.environ})
    assert (code, error) == (1, "")
    assert "field_invalid: 1 failed, 0 partial\n" in output
    assert "  what to do: correct the field\n" in output
    assert "source_missing: 0 failed, 1 partial\n" in output
    (row,) = [line for line in output.splitlines() if str(mood) in line]
    assert f"@{account(world, world.ada).screen_name}" in row
    assert "field 'mood' is missing" in row
    assert str(painting) in output
    assert output.endswith("media-atproto retry --reason CODE\n")


def test_failures_exits_with_0_when_there_are_none(world: World) -> None:
    """Of all items, or of those asked for."""
    result = call(world, "failures")
    assert (result.exit_code, result.stdout) == (0, "Nothing failed.\n")
    failed_mood(world)
    assert call(world, "failures", "--type", "painting").exit_code == 0
    assert call(world, "failures", "--reason", "worker_lost").exit_code == 0
    assert call(world, "failures", "--reason", "worker_lost", "--json").exit_code == 0
    assert call(world, "failures", "--type", "mood", "--reason", "field_invalid").exit_code == 1


@pytest.mark.parametrize("command", ["failures", "retry"])
def test_unknown_reason_is_wrong_usage(world: World, command: str) -> None:
    """With a suggestion; a code that an item has is known, even if it is not documented."""
    failed_mood(world)
    result = call(world, command, "--reason", "field_invlaid")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'field_invlaid' is not an error code. Did you mean 'field_invalid'?" in result.stderr
    error = {"step": "plan", "code": "ZeroDivisionError", "message": "a bug", "at": now()}
    moods(world).insert_one({"_id": 1, "atproto": {"status": "failed", "error": error}})
    assert call(world, command, "--reason", "ZeroDivisionError").exit_code < 2
    result = call(world, command, "--reason", "ZeroDivisionErr")
    assert "Did you mean 'ZeroDivisionError'?" in result.stderr


def test_failures_are_shown_up_to_a_limit(world: World) -> None:
    """Of each reason, and how many more there are is said."""
    items = [failed_mood(world) for _ in range(3)]
    partial_painting(world)
    output = call(world, "failures", "--limit", "2").stdout
    assert sum(str(item) in output for item in items) == 2
    assert "  and 1 more\n" in output
    assert "never-arrived" in output
    assert "  and 3 more\n" in call(world, "failures", "--limit", "0").stdout


def test_failures_gives_lines_of_json_to_programs(world: World) -> None:
    """All of them, whatever the limit, with the same exit code."""
    items = [failed_mood(world) for _ in range(3)]
    result = call(world, "failures", "--json", "--limit", "1")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert [each["id"] for each in told] == [str(item) for item in items]
    assert set(told[0]) == {
        *("type", "id", "owner", "handle", "status", "attempts", "since", "last", "step"),
        *("code", "message", "permanent", "advice"),
    }
    assert (told[0]["owner"], told[0]["advice"]) == (world.ada, "correct the field")


def test_failures_escapes_what_could_steer_the_terminal(world: World) -> None:
    """A name and a message may hold anything."""
    hostile = "\x1b]0;pwned\x07"
    error = {"step": hostile, "code": hostile, "message": hostile, "at": now()}
    atproto = {"status": "failed", "error": error}
    moods(world).insert_one({"_id": hostile, "user": hostile, "atproto": atproto})
    handles = world.services.storage.database["@handles"]
    handles.update_one({"_id": hostile}, {"$set": {"handle": hostile}}, upsert=True)
    for arguments in (["failures"], ["failures", "--json"], ["status"], ["status", "--json"]):
        output = call(world, *arguments).stdout
        assert "\x1b" not in output
        assert "pwned" in output


@pytest.mark.parametrize("command", ["init", "failures"])
def test_mongodb_that_refuses_the_user_is_named(world: World, command: str) -> None:
    """Without the password, and with the exit code of an error."""
    url = world.environ["MONGODB_CONNECTION_STRING"].replace("://", "://ada:s3cret@")
    result = call(world, command, MONGODB_CONNECTION_STRING=url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "MongoDB does not accept the user or the password" in result.stderr
    assert "s3cret" not in result.output


def test_failures_has_trouble_with_2(world: World) -> None:
    """As diff has it: 1 is for something to look at."""
    assert call(world, "failures", "--type", "movie").exit_code == 2
    assert call(world, "failures", MONGODB_NAME="").exit_code == 2


# retry


def test_retry_asks_what_to_retry(world: World) -> None:
    """Everything at once is not what a slip of the hand should do; ids say it all."""
    failed_mood(world)
    result = call(world, "retry")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--type, --reason, ids, or --all" in result.stderr
    assert call(world, "retry", "1", "--reason", "x").exit_code == 2
    assert call(world, "retry", "1", "--all").exit_code == 2
    assert call(world, "retry", "").exit_code == 2
    assert queued(world, "bulk") == queued(world, "sweep") == []


def test_retry_enqueues_a_batch_for_each_account(world: World) -> None:
    """What failed for this reason, with all its attempts; a single item by itself."""
    adas = [failed_mood(world) for _ in range(3)]
    partial_painting(world)
    result = call(world, "retry", "--reason", "field_invalid", "--reason", "source_missing")
    assert (result.exit_code, result.stdout) == (0, "4 enqueued: 1 painting, 3 mood\n")
    (batch,), (single,) = queued(world, "bulk"), queued(world, "sweep")
    assert (batch["task"], single["task"]) == ("sync_batch", "sync_media")
    assert all(str(item) in str(batch["argsrepr"]) for item in adas)
    state = world.platform.state("mood", adas[0])
    assert (state["status"], state["attempts"]) == ("pending", 0)
    result = call(world, "retry", "--all")
    assert (result.exit_code, result.stdout) == (0, "0 enqueued\n")


def test_retry_of_a_dry_run_changes_nothing(world: World) -> None:
    """It only counts."""
    item = failed_mood(world)
    before = world.platform.state("mood", item)
    for arguments in (["--all"], ["--type", "mood"], [str(item)]):
        result = call(world, "retry", *arguments, "--dry-run")
        assert (result.exit_code, result.stdout) == (0, "1 would be enqueued: 1 mood\n")
    assert json.loads(call(world, "retry", "--all", "--dry-run", "--json").stdout) == {
        "enqueued": {"mood": 1},
        "pending": {},
        "busy": [],
        "unknown": [],
        "ambiguous": [],
    }
    assert world.platform.state("mood", item) == before
    assert queued(world, "bulk") == queued(world, "sweep") == []


def test_retry_names_ids_that_it_does_not_know(world: World) -> None:
    """The others are done; one that two types have needs its type."""
    item, both, unknown = failed_mood(world), ObjectId(), ObjectId()
    moods(world).insert_one({"_id": both, "mood": "x", "when": now()})
    world.services.storage.database["pieces"].insert_one({"_id": both, "slug": "x", "when": now()})
    result = call(world, "retry", str(item), str(both), str(unknown))
    assert (result.exit_code, result.stdout) == (1, "1 enqueued: 1 mood\n")
    assert f"no item has the id {unknown}" in result.stderr
    assert f"items of several types have the id {both}: give --type mood" in result.stderr
    result = call(world, "retry", str(both), "--type", "piece")
    assert (result.exit_code, result.stdout) == (0, "1 enqueued: 1 piece\n")


def test_retry_leaves_an_item_to_the_run_that_has_it(world: World) -> None:
    """And says so."""
    item = failed_mood(world)
    world.services.storage.store.claim(media_type("mood"), [item], holder="another", lease=100)
    result = call(world, "retry", str(item))
    assert result.exit_code == 0
    assert f"0 enqueued\nmood {item}: skipped, because a worker is processing it" in result.stdout


def test_retry_works_without_the_queue(world: World, bare_environ: dict[str, str]) -> None:
    """The items are pending, and the sweep will find them."""
    item = failed_mood(world)
    environ = {**bare_environ, **world.environ, "REDIS_URL": NOWHERE}
    code, output, error = run(["retry", "--all"], environ)
    assert (code, error) == (3, "")
    assert output == (
        "0 enqueued\n1 pending: 1 mood\nThe queue is full or did not accept them. "
        "REDIS_URL names 127.0.0.1:9: check that this is right, and that Redis is running there. "
        "A sweep enqueues them in 5 seconds.\n"
    )
    state = world.platform.state("mood", item)
    assert (state["status"], "retryAt" in state) == ("pending", True)
    assert "s3cret" not in output + error


def test_what_was_put_right_and_retried_is_published(scene: Scene) -> None:
    """By a real worker, from the queue and by the sweep; what was not put right fails again."""
    world = scene.world
    good = [failed_mood(world) for _ in range(3)]
    lone, bad = partial_painting(world), failed_mood(world)
    for item in good:
        world.platform.edit("mood", item, mood="calm")
    world.platform.store("never-arrived.png", b"no image", world.ada)
    lost = failed_mood(world)
    world.platform.edit("mood", lost, mood="calm")
    assert run(["retry", str(lost)], {**scene.environ, "REDIS_URL": NOWHERE})[0] == 3
    assert call(world, "retry", "--all").exit_code == 0
    with worker(scene.environ, scene.folder), beat(scene.environ, scene.folder):
        for item in [*good, lost]:
            scene.wait_for_status("mood", item, "synced")
        scene.wait_for_status("mood", bad, "failed")
        wait_for(
            lambda: "image_unreadable" in str(world.platform.state("painting", lone)),
            within=60,
            what="the painting to be tried again",
        )
        scene.wait_until_drained()
    assert all(len(world.records("mood", item)) == 1 for item in good)
    assert call(world, "failures", "--type", "mood").stdout.count("field 'mood'") == 1


# Ctrl-C


class CtrlC(monitoring.CommandListener):
    """Presses Ctrl-C once, when a command is sent to MongoDB."""

    def __init__(self, command: str) -> None:
        self.command: str | None = command

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Interrupt the main thread, which sends it."""
        if event.command_name == self.command:
            self.command = None
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Take no notice."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Take no notice."""


@pytest.mark.parametrize(
    ("arguments", "interrupted", "said"),
    [
        ("init", "createIndexes", "Created indexes stay, and MongoDB may complete the current"),
        ("status", "aggregate", "Nothing was changed."),
        ("failures", "aggregate", "Nothing was changed."),
        ("accounts", "find", "Nothing was changed."),
        ("doctor", "listIndexes", "Nothing was changed."),
        ("retry --all", "update", "Workers process the enqueued items, and a sweep enqueues"),
        ("retry --all --dry-run", "find", "Nothing was changed."),
    ],
)
def test_ctrl_c_says_what_continues(
    world: World, arguments: str, interrupted: str, said: str
) -> None:
    """Exit code 130, without a traceback."""
    failed_mood(world)
    moods(world).drop_index("atproto_due")
    listener = CtrlC(interrupted)
    monitoring.register(listener)  # for the clients that are opened from now on
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = call(world, *arguments.split())
    finally:
        signal.signal(signal.SIGINT, before)
        listener.command = None
    assert result.exit_code == 130, result.output
    assert f"Interrupted. {said}" in result.stderr
