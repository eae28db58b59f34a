"""`media-atproto backfill` and `restore`, with a real worker: what they print, do and exit with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from bson import ObjectId

from tests.bulk import (
    KINDS,
    MOOD,
    account,
    assert_agreement,
    new_user,
    repo,
    save_moods,
    save_one_of,
    save_paintings,
    set_password,
    set_state,
    start_over,
    sync_batch,
)
from tests.fleet import worker
from tests.scene import LISTS, Scene, open_scene
from tests.terminal import call, run, run_on_terminal, started
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.dev.stack import Stack

NOWHERE = "redis://:s3cret@127.0.0.1:9/0"


@pytest.fixture(scope="module")
def opened(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A platform and a queue of this module's own, and a worker that serves it."""
    folder = tmp_path_factory.mktemp("backfill")
    with open_scene(worlds, folder) as scene, worker(scene.environ, folder):
        yield scene


@pytest.fixture
def scene(opened: Scene) -> Scene:
    """The same, with its users, but neither items nor records."""
    start_over(opened.world)
    return opened


@pytest.fixture
def world(scene: Scene) -> World:
    """The platform alone."""
    return scene.world


def backfill(scene: Scene, *options: str) -> tuple[int, str, str]:
    """Run a backfill and wait for it; returns exit code, stdout and stderr."""
    return run(["backfill", "--wait", *options], scene.environ)


def lines(output: str) -> list[list[str]]:
    """Return the words of each line of an output."""
    return [line.split() for line in output.splitlines()]


def statuses(world: World, type_name: str = "mood") -> Counter[object]:
    """Count the items of a type by status."""
    return Counter(state.get("status") for state in world.platform.states(type_name).values())


def save_some(world: World) -> None:
    """Save two items of every type of ada, of bob and of a guest, and some that stay."""
    for kind in KINDS:
        for user in (world.ada, world.bob, None):
            for _ in range(2):
                save_one_of(world, kind.name, user)
    nuked, lonely = save_moods(world, 2)
    world.platform.edit("mood", nuked, nuked=True)
    world.platform.edit("mood", lonely, user="auth0|without-account")


def test_a_dry_run_counts_and_changes_nothing(world: World) -> None:
    """What there is to do, by type; what is left out, by reason."""
    save_some(world)
    result = call(world, "backfill", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    shown = [line[:3] for line in lines(result.stdout)]
    assert shown == [
        ["22", "items", "of"],
        ["type", "items"],
        *([name, number] for name, number in (("kidlisp", "6"), ("mood", "4"))),
        *([name, "6"] for name in ("painting", "piece")),
        ["Left", "out"],
        ["type", "reason", "items"],
        ["mood", "guests_not_published", "2"],
        ["mood", "no_account", "1"],
        ["mood", "nuked", "1"],
        ["owners", "without", "an"],
        ["What", "would", "be"],
        ["type", "result", "items"],
        *([name, "new", number] for name, number in (("kidlisp", "6"), ("mood", "4"))),
        *([name, "new", "6"] for name in ("painting", "piece")),
        ["Dry", "run,", "nothing"],
    ]
    assert "owners without an account: 1 not in `users`\n" in result.stdout
    assert statuses(world) == {None: 8}
    with redis.Redis.from_url(world.environ["REDIS_URL"]) as client:
        assert client.llen("bulk") == 0


def test_a_dry_run_names_the_fields_that_would_change(world: World) -> None:
    """A legacy record with another text, and a mood that breaks its lexicon."""
    changed, rejected = save_moods(world, 2)
    world.sync("mood", changed)
    world.platform.edit("mood", changed, mood="other", text="other")
    set_state(world, MOOD, changed, rkey=world.platform.state("mood", changed)["rkey"])
    world.platform.edit("mood", rejected, mood="x" * 5001)
    result = call(world, "backfill", "--dry-run", "--type", "mood")
    assert result.exit_code == 1
    shown = lines(result.stdout)
    assert shown[shown.index(["type", "result", "items"]) + 1 :] == [
        ["mood", "changed", "1"],
        ["mood", "failed", "1"],
        ["Fields", "of", "existing", "records", "that", "would", "change"],
        ["type", "field", "records"],
        ["mood", "mood", "1"],
        ["mood", "text", "1"],
        ["Why", "items", "would", "not", "be", "synced"],
        ["type", "result", "field", "reason", "items", "example"],
        ["mood", "failed", "mood", "lexicon_violation", "1", str(rejected)],
        ["Dry", "run,", "nothing", "was", "changed:", "1", "would", "fail."],
    ]


def test_a_dry_run_prints_sample_records(world: World) -> None:
    """Complete ones, with the reason why an item would not be synced."""
    save_paintings(world, 2)
    (missing,) = save_paintings(world, 1)
    world.platform.edit("painting", missing, slug="never-stored")
    result = call(world, "backfill", "--dry-run", "--sample", "1", "--type", "painting")
    assert result.exit_code == 1
    assert f"painting {missing}: partial\n" in result.stdout
    assert "\nthumbnail: source_missing no file in bucket" in result.stdout
    assert "blobs to upload: thumbnail\n{\n" in result.stdout
    assert '"$type": "computer.aesthetic.painting",\n' in result.stdout
    assert result.stdout.count('"imageUrl": ') == 2
    assert result.stdout.endswith("1 would be published without a file.\n")


def test_a_quick_dry_run_reads_no_files(world: World) -> None:
    """A broken image is not found, a missing one is."""
    paintings = save_paintings(world, 3)
    slugs = [str(world.platform.document("painting", each)["slug"]) for each in paintings]
    world.platform.store(f"{slugs[0]}.png", b"no image", world.ada)
    world.platform.edit("painting", paintings[1], slug="never-stored")
    for options, number in ((["--quick"], "1"), ([], "2")):
        result = call(world, "backfill", "--dry-run", *options)
        assert result.exit_code == 1
        assert ["painting", "partial", number] in lines(result.stdout)


def test_failed_items_are_not_skipped_silently(world: World) -> None:
    """A backfill counts what it leaves out, and names the option that includes it."""
    (failed,) = save_moods(world, 1)
    set_state(world, MOOD, failed, status="failed")
    result = call(world, "backfill")
    assert result.exit_code == 0
    assert lines(result.stdout)[-1][:3] == ["mood", "failed", "1"]
    assert "include them: `backfill --failed` or `retry`\n" in result.stdout
    assert call(world, "backfill", "--dry-run", "--failed").stdout.startswith(
        "1 item of 1 account "
    )


def test_a_dry_run_prints_one_json_object(world: World) -> None:
    """With samples, and nothing else."""
    good, bad, failed = save_moods(world, 3)
    world.platform.edit("mood", bad, mood=5)
    set_state(world, MOOD, failed, status="failed")
    result = call(world, "backfill", "--dry-run", "--json", "--sample", "1", "--type", "mood")
    shown = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (shown["items"], shown["accounts"], shown["limit"]) == ({"mood": 2}, 1, None)
    assert shown["left_out"] == [{"type": "mood", "reason": "failed", "items": 1}]
    assert (shown["enqueued"], shown["results"]) == (None, None)
    done = shown["dry_run"]
    assert done["results"] == {"mood": {"new": 1, "failed": 1}}
    (reason,) = done["reasons"]
    assert (reason["field"], reason["reason"], reason["items"]) == ("mood", "field_invalid", 1)
    assert reason["example"]["id"] == str(bad)
    samples = {sample["id"]: sample for sample in done["samples"]}
    assert samples[str(good)]["record"]["mood"] == "mood 0"
    assert samples[str(bad)]["record"] is None


@pytest.mark.parametrize(
    ("options", "summary"),
    [
        (["--type", "mood"], "4 items of 2 accounts to publish"),
        (["--type", "mood", "--type", "piece"], "10 items of 3 accounts to publish"),
        (["--guests"], "6 items of 1 account to publish"),
        (["--user", "ADA"], "8 items of 1 account to publish"),
        (["--user", "ADA", "--guests"], "14 items of 2 accounts to publish"),
        (["--limit", "5"], "22 items of 3 accounts to publish, 5 of them now"),
        (["--failed"], "22 items of 3 accounts to publish"),
    ],
)
def test_options_choose_what_it_is_about(world: World, options: list[str], summary: str) -> None:
    """Types, users, guests, a number; a handle is any that a person would use."""
    save_some(world)
    names = [account(world, world.ada).handle if word == "ADA" else word for word in options]
    assert call(world, "backfill", "--dry-run", *names).stdout.splitlines()[0] == summary


def test_without_waiting_it_enqueues_and_ends(scene: Scene) -> None:
    """Workers go on with it."""
    save_some(scene.world)
    code, output, error = run(["backfill"], scene.environ)
    assert (code, error) == (0, "")
    assert output.endswith("22 items enqueued; `media-atproto status` shows their progress\n")
    wait_for(
        lambda: sum(statuses(scene.world, kind.name)["synced"] for kind in KINDS) == 22,
        within=60,
        what="all items to be published",
    )
    scene.wait_until_drained()
    assert_agreement(scene.world)


def test_with_waiting_it_tells_how_it_ended(scene: Scene) -> None:
    """Exit code 0: all that can be published is. A second run finds nothing to do."""
    save_some(scene.world)
    code, output, _ = backfill(scene)
    assert code == 0
    assert [row for row in lines(output) if "synced" in row] == [
        ["kidlisp", "synced", "6"],
        ["mood", "synced", "4"],
        ["painting", "synced", "6"],
        ["piece", "synced", "6"],
    ]
    assert_agreement(scene.world)
    revisions = [scene.world.revision(did) for did in scene.world.dids.values()]
    again = call(scene.world, "backfill", "--wait")
    assert again.exit_code == 0
    assert again.stdout.startswith("0 items of 0 accounts to publish\n")
    assert [scene.world.revision(did) for did in scene.world.dids.values()] == revisions


def test_items_that_a_person_must_look_at_end_it_with_1(scene: Scene) -> None:
    """Each reason with its number; they are tried again with --failed alone."""
    moods = save_moods(scene.world, 10)
    for mood in moods[:3]:
        scene.world.platform.edit("mood", mood, mood="z" * 5001)
    scene.world.platform.edit("painting", *save_paintings(scene.world, 1), slug="never-stored")
    code, output, _ = backfill(scene)
    assert code == 1
    assert ["mood", "failed", "3"] in lines(output)
    assert ["mood", "lexicon_violation", "3"] in lines(output)
    assert ["painting", "source_missing", "1"] in lines(output)
    for mood in moods[:3]:
        scene.world.platform.edit("mood", mood, mood="short")
    assert backfill(scene, "--type", "mood", "--failed")[0] == 0
    assert statuses(scene.world) == {"synced": 10}
    assert_agreement(scene.world)


def test_documents_that_a_validator_rejects_end_it_with_1(scene: Scene) -> None:
    """No state can be saved on them, so they are counted in the results alone."""
    moods = save_moods(scene.world, 6)
    with rejecting(scene.world, moods[:2]):
        code, output, _ = backfill(scene, "--type", "mood")
    assert code == 1
    assert ["mood", "document_rejected"] in [line[:2] for line in lines(output)]
    assert statuses(scene.world) == {"synced": 4, None: 2}
    assert backfill(scene, "--type", "mood")[0] == 0
    assert statuses(scene.world) == {"synced": 6}
    assert_agreement(scene.world)


@contextmanager
def rejecting(world: World, moods: Sequence[ObjectId]) -> Iterator[None]:
    """Let MongoDB reject every change of some moods."""
    command = world.services.storage.database.command
    command("collMod", MOOD.collection, validator={"_id": {"$nin": list(moods)}})
    try:
        yield
    finally:
        command("collMod", MOOD.collection, validator={})


@pytest.mark.parametrize("options", [[], ["--limit", "5"]], ids=" ".join)
def test_items_that_wait_end_it_with_3(scene: Scene, options: list[str]) -> None:
    """For an account whose password is wrong, while all others are published."""
    world = scene.world
    lost = new_user(world)
    set_password(world, lost, "wrong")
    save_moods(world, 3, lost)
    code, output, _ = backfill(scene, *options)
    assert code == 3
    assert ["mood", "wrong_password", "3"] in lines(output)
    assert statuses(world) == {"pending": 3}
    if not options:
        assert "3 items are pending; the sweep enqueues them later" in output
    del world.dids[lost]


def test_a_limit_is_kept(scene: Scene) -> None:
    """The rest is for the next run, and nothing that this one has to wait for."""
    save_moods(scene.world, 12)
    assert backfill(scene, "--limit", "5")[0] == 0
    assert statuses(scene.world) == {"synced": 5, None: 7}


def test_on_a_terminal_there_is_a_bar_for_each_type(scene: Scene) -> None:
    """With rate and what failed."""
    (bad,) = save_moods(scene.world, 1)
    scene.world.platform.edit("mood", bad, mood=5)
    save_paintings(scene.world, 3)
    code, shown = run_on_terminal(["backfill", "--wait"], scene.environ)
    assert code == 1
    for text in ("painting", "mood", "3/3", "1/1", "/s", "field_invalid 1"):
        assert text in shown


def test_an_interrupted_backfill_is_finished_by_the_next(
    own_scene: Scene, own_stack: Stack, tmp_path: Path
) -> None:
    """Ctrl-C ends the waiting, in order; what was enqueued goes on."""
    world = own_scene.world
    save_some(world)
    with worker(own_scene.environ, own_scene.folder):
        own_stack.pds.freeze()
        try:
            with started(["backfill", "--wait"], own_scene.environ, tmp_path) as terminal:
                wait_for(lambda: queued(world), within=60, what="messages on the queue")
                terminal.press_ctrl_c()
                assert terminal.exit_code() == 130
                assert "Workers still process the items that are enqueued." in terminal.stderr
                assert "run the same command again." in terminal.stderr
                assert "Traceback" not in terminal.stderr
        finally:
            own_stack.pds.thaw()
        own_scene.wait_until_drained()
        assert backfill(own_scene)[0] == 0
    assert sum(statuses(world, kind.name)["synced"] for kind in KINDS) == 22
    assert_agreement(world)


def test_without_a_queue_it_says_so(scene: Scene) -> None:
    """Nothing is changed, and no password shown."""
    save_moods(scene.world, 3)
    code, _, error = run(["backfill", "--wait"], {**scene.environ, "REDIS_URL": NOWHERE})
    assert code == 2
    assert "Error: Redis did not answer" in error
    assert "Traceback" not in error
    assert "s3cret" not in error
    assert statuses(scene.world) == {None: 3}


@pytest.mark.parametrize("command", ["backfill --user", "restore"])
def test_an_unknown_handle_is_named(world: World, command: str) -> None:
    """With what would be one."""
    result = call(world, *command.split(), "@nobody")
    assert result.exit_code == 2
    assert "Error: unknown user '@nobody'" in result.stderr


@pytest.mark.parametrize(
    "wrong",
    [["--limit", "0"], ["--type", "hologram"], ["--wait", "now"], ["--sample", "1"], ["--quick"]],
)
def test_wrong_use_ends_it_with_2(world: World, wrong: list[str]) -> None:
    """Before anything is done."""
    assert call(world, "backfill", *wrong).exit_code == 2


def test_types_without_thumbnails_are_named(world: World) -> None:
    """No thumbnail can be made again; nothing is marked."""
    options = ["--type", "mood", "--type", "painting", "--type", "piece"]
    result = call(world, "backfill", "--remake-thumbnails", *options)
    assert result.exit_code == 2
    assert "--remake-thumbnails: there are none of mood, piece" in result.stderr


def test_thumbnails_are_made_again_on_request(scene: Scene) -> None:
    """Of published items. With the same bytes, and in a dry run, no record is written."""
    world = scene.world
    (painting,) = save_paintings(world, 1)
    sync_batch(world, "painting", [painting])
    revision, state = world.revision(world.dids[world.ada]), world.platform.states("painting")
    rehearsed = call(world, "backfill", "--remake-thumbnails", "--dry-run")
    assert ["painting", "unchanged", "1"] in lines(rehearsed.stdout)
    assert world.platform.states("painting") == state
    done = call(world, "backfill", "--remake-thumbnails", "--wait")
    assert done.exit_code == 0
    assert done.stdout.startswith("1 item marked: their thumbnails are made again\n")
    assert ["painting", "synced", "1"] in lines(done.stdout)
    assert world.revision(world.dids[world.ada]) == revision
    assert_agreement(world)


def test_restore_publishes_what_was_wiped(scene: Scene) -> None:
    """Where it was before; what is nuked, and what is another's, stays away."""
    world = scene.world
    items = [*save_moods(world, 4), *save_moods(world, 1, world.bob)]
    sync_batch(world, "mood", items[:4])
    sync_batch(world, "mood", items[4:], subject=world.bob)
    keys = {item: world.platform.state("mood", item)["rkey"] for item in items}
    for item in items:
        wipe(world, item)
    world.platform.edit("mood", items[3], nuked=True)
    assert call(world, "backfill", "--dry-run").stdout.startswith("0 items ")
    assert call(world, "restore", handle(world), "--dry-run").stdout.startswith("3 items of 1 ")
    code, output, _ = run(["restore", handle(world), "--wait"], scene.environ)
    assert (code, ["mood", "synced", "3"] in lines(output)) == (0, True)
    assert statuses(world) == {"synced": 3, "removed": 2}
    assert {item: world.platform.state("mood", item)["rkey"] for item in items} == keys
    assert_agreement(world)


def test_results_are_printed_as_one_json_object(scene: Scene) -> None:
    """By status and reason, with the terms of `status`; failed and partial items do not wait."""
    moods = save_moods(scene.world, 3)
    scene.world.platform.edit("mood", moods[0], mood=5)
    scene.world.platform.save_painting("never-stored", scene.world.ada)
    for failed, enqueued in (("--failed", 4), ("--json", 1)):
        code, output, _ = backfill(scene, "--json", failed)
        shown = json.loads(output)
        assert (code, shown["enqueued"], shown["dry_run"]) == (1, enqueued, None)
        assert shown["results"]["pending"] == 0
    assert shown["results"]["statuses"] == {"painting": {"partial": 1}}
    reasons = shown["results"]["reasons"]
    assert reasons == [{"type": "painting", "reason": "source_missing", "items": 1}]


def test_restore_publishes_what_is_gone_from_the_repo(scene: Scene) -> None:
    """Removed behind our back, blobs and all: the states say otherwise."""
    world = scene.world
    paintings, moods = save_paintings(world, 3), save_moods(world, 3)
    sync_batch(world, "painting", paintings)
    sync_batch(world, "mood", moods)
    owner = repo(world, world.ada)
    for kind in KINDS:
        for record in list(owner.records(kind.nsid)):
            owner.delete(owner.key(kind.nsid, record.rkey))
    ahead = lines(call(world, "restore", handle(world), "--dry-run").stdout)
    assert ["mood", "new", "3"] in ahead
    assert ["painting", "new", "3"] in ahead
    code, output, _ = run(["restore", handle(world), "--wait"], scene.environ)
    assert code == 0
    assert f"{handle(world)}: the records of 6 published items are missing\n" in output
    for painting in paintings:
        assert world.blob(owner.did, world.record("painting", painting)["thumbnail"])
    assert_agreement(world)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_restore_goes_on_after_an_account_that_cannot_be_read(
    scene: Scene, options: list[str]
) -> None:
    """Exit code 1, as in the dry run: its missing records were not looked for."""
    world = scene.world
    (mood,) = save_moods(world, 1)
    sync_batch(world, "mood", [mood])
    owner = repo(world, world.ada)
    owner.delete(owner.key(MOOD.nsid, str(world.platform.state("mood", mood)["rkey"])))
    lost = new_user(world)
    did = world.dids.pop(lost)
    save_moods(world, 2, lost)
    users = world.services.storage.database["users"]
    users.update_one({"_id": lost}, {"$set": {"atproto.did": f"did:plc:{ObjectId()}"}})
    ahead = call(world, "restore", lost, handle(world), "--dry-run")
    assert (ahead.exit_code, ["mood", "new", "1"] in lines(ahead.stdout)) == (1, True)
    assert ahead.stdout.endswith("changed: 2 would wait, 1 repo cannot be read.\n")
    result = call(world, "restore", lost, handle(world), *options)
    assert result.exit_code == 1
    assert "missing records were not looked for: " in result.stderr
    if options:
        assert json.loads(result.stdout)["enqueued"] == 3
    else:
        assert "\n3 items enqueued" in result.stdout
    scene.wait_until_drained()
    assert statuses(world) == {"synced": 1, "pending": 2}
    users.update_one({"_id": lost}, {"$set": {"atproto.did": did}})


def wipe(world: World, mood: ObjectId) -> None:
    """Remove a mood's record, and let its state say so."""
    state = world.platform.state("mood", mood)
    owner = repo(world, str(world.platform.document("mood", mood)["user"]))
    owner.delete(owner.key(MOOD.nsid, str(state["rkey"])))
    gone = {"status": "removed", "reason": "wiped", "repo": state["repo"], "rkey": state["rkey"]}
    set_state(world, MOOD, mood, **gone)


def handle(world: World) -> str:
    """Return ada's handle."""
    return account(world, world.ada).handle


def queued(world: World) -> bool:
    """Tell whether batches are on the queue, or with a worker."""
    with redis.Redis.from_url(world.environ["REDIS_URL"]) as client:
        return any(client.llen(name) for name in LISTS) or bool(client.hlen("unacked"))
