"""`media-atproto audit`: what it prints, puts right and exits with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from bson import ObjectId
from click.testing import Result

from tests.bulk import account, repo, start_over
from tests.contract.proxy import Reply, open_proxy
from tests.pictures import pixel_art
from tests.terminal import call, run
from tests.world import World, Worlds
from worker.cli.audit import audit as command
from worker.core.clock import after
from worker.core.records import Write
from worker.dev.stack import Stack
from worker.media import media_type
from worker.operations.audit.findings import Fault
from worker.operations.error_help import help_for

MOOD = "computer.aesthetic.mood"
NOWHERE = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
STATUSES = {
    *("synced", "pending", "partial", "failed", "skipped", "removed", "never_published"),
}
COUNTS = {"missing", "stale", "orphaned", "duplicated", "blob_missing", "blob_truncated"}


@pytest.fixture(scope="module")
def opened(worlds: Worlds) -> Iterator[World]:
    """Open a world for this module."""
    with worlds.open(SWEEP_GRACE_SECONDS="0") as world:
        yield world


@pytest.fixture
def world(opened: World) -> World:
    """Return the world with five documents whose records are correct."""
    start_over(opened)
    opened.platform.store("sun.png", pixel_art(), opened.ada)
    opened.sync("painting", opened.platform.save_painting("sun", opened.ada))
    for subject in (opened.ada, opened.bob):
        opened.sync("mood", opened.platform.save_mood("calm", subject))
    opened.sync("kidlisp", opened.platform.save_kidlisp("(wipe)", None))
    opened.sync("mood", opened.platform.save_mood("no account", "auth0|nobody"))
    return opened


def audit(world: World, *arguments: str, **environ: str) -> Result:
    """Run `audit` in this process."""
    return call(world, "audit", *arguments, **environ)


def lines(result: Result) -> list[dict[str, Any]]:
    """Return the lines of JSON that it printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def put_orphans(world: World, count: int, first: int = 0) -> None:
    """Write records to ada's repo that name no document."""
    ada = repo(world, world.ada)
    writes = [
        Write("create", ada.key(MOOD, f"x{n}"), {"text": "?", "ref": "?"})
        for n in range(first, first + count)
    ]
    ada.apply(writes, ada.commit())


def lose(world: World) -> ObjectId:
    """Delete the record of a mood of ada's behind the engine's back; return the mood's id."""
    item = world.platform.save_mood("lost", world.ada)
    world.sync("mood", item)
    state = world.platform.state("mood", item)
    ada = repo(world, world.ada)
    ada.delete(ada.key(MOOD, str(state["rkey"])))
    return item


def test_all_is_as_it_should_be(world: World) -> None:
    """Exit code 0, and the one word to look for."""
    result = audit(world)
    assert result.exit_code == 0
    assert "Clean: 3 accounts, 5 documents, 4 records." in result.output
    assert "skipped mood no_account 1" in " ".join(result.output.split())


def test_items_that_are_not_published_are_counted_by_reason(world: World) -> None:
    """None of them is a finding, whether a run has seen it or not."""
    platform, ada = world.platform, world.ada
    draft, incomplete, unseen = (platform.save_painting("-", ada) for _ in range(3))
    platform.edit("painting", draft, slug=f"wip/{draft}", status="wip")
    platform.edit("painting", unseen, slug=f"wip/{unseen}", status="wip")
    platform.edit("painting", incomplete, code=None)
    nuked = platform.save_mood("calm", ada)
    world.sync("mood", nuked)
    platform.edit("mood", nuked, nuked=True)
    for type_name, item in (("painting", draft), ("painting", incomplete), ("mood", nuked)):
        world.sync(type_name, item)
    result = audit(world)
    words = " ".join(result.output.split())
    assert result.exit_code == 0
    assert "skipped painting draft 1" in words
    assert "never published painting draft 1" in words
    assert "skipped painting no_code 1" in words
    assert "removed mood nuked 1" in words


def test_failed_and_partial_items_are_wrong(world: World) -> None:
    """Exit code 1, never "Clean"; each reason with what to do, named as `failures` names it."""
    platform, ada = world.platform, world.ada
    world.sync("mood", platform.save_mood("", ada))
    platform.store("bad.png", b"no image", ada)
    world.sync("painting", platform.save_painting("bad", ada))
    world.sync("painting", platform.save_painting("no-such-image", ada))  # is retried
    result = audit(world)
    words = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "Clean" not in result.output
    assert "failed mood field_invalid 1" in words
    assert "partial painting image_unreadable 1" in words
    assert "partial painting source_missing 1" in words
    for code in ("field_invalid", "image_unreadable", "source_missing"):
        assert f"{code}: {help_for(code).action}" in result.output
    assert "To list these items: media-atproto failures" in result.output
    assert "1 failed item, 2 partial items in 3 accounts, 8 documents, 6 records." in words
    last = lines(audit(world, "--json"))[-1]["summary"]
    assert (last["result"], last["statuses"]["failed"], last["statuses"]["partial"]) == (
        "wrong",
        1,
        2,
    )
    listed = call(world, "failures", "--json").stdout.splitlines()
    assert Counter(json.loads(line)["status"] for line in listed) == {"failed": 1, "partial": 2}


def test_items_that_are_retried_are_pending(world: World) -> None:
    """Exit code 3: nothing is wrong, and not all is published yet."""
    item = world.platform.save_mood("later", world.ada)
    assert world.sync("mood", item).status == "synced"
    world.platform.edit("mood", item, mood="even later")
    waits = {"atproto.status": "pending", "atproto.retryAt": after(3600)}
    moods = world.services.storage.store.collection(media_type("mood"))
    moods.update_one({"_id": item}, {"$set": waits})
    result = audit(world)
    assert result.exit_code == 3
    assert "pending mood queued 1" in " ".join(result.output.split())
    assert "Pending, published automatically: 1 item." in result.output
    assert lines(audit(world, "--json"))[-1]["summary"]["result"] == "pending"
    item = lose(world)
    assert audit(world).exit_code == 1


def test_help_names_all_findings_and_no_others() -> None:
    """As the table and the JSON name them."""
    _, _, listed = str(command.help).partition("The findings:\n")
    section, _, _ = listed.partition("\n\n")
    named = [line.split()[0] for line in section.splitlines()]
    assert named == [fault.value for fault in Fault]


def test_a_record_of_a_hidden_item_is_shown_with_the_reason(world: World) -> None:
    """Hidden while the message was lost."""
    item = world.platform.save_mood("calm", world.ada)
    world.sync("mood", item)
    world.platform.edit("mood", item, visibility="private")
    result = audit(world)
    assert result.exit_code == 1
    assert "its document is not public" in " ".join(result.output.split())
    assert audit(world, "--repair", "--yes").exit_code == 0
    assert world.platform.state("mood", item)["reason"] == "not_public"


def test_what_is_off_is_shown_with_what_to_do(world: World) -> None:
    """Exit code 1; the kind, the count, the document, the detail."""
    item = lose(world)
    result = audit(world)
    assert result.exit_code == 1
    assert f"mood {item}" in result.output
    assert "the state says synced" in result.output
    assert "publish it" in result.output
    assert "1 finding in 3 accounts, 6 documents" in result.output
    assert "To repair the findings: --repair." in result.output


def test_json_has_everything(world: World) -> None:
    """A line for each account, the owners without one as null, and the sum."""
    item = lose(world)
    result = audit(world, "--json")
    assert result.exit_code == 1
    *accounts, others, last = lines(result)
    assert others["account"] is None
    assert others["types"]["mood"]["statuses"] == [
        {"status": "skipped", "reason": "no_account", "count": 1}
    ]
    ada = next(line for line in accounts if line["account"]["subject"] == world.ada)
    assert ada["account"] == {
        "subject": world.ada,
        "did": world.dids[world.ada],
        "handle": account(world, world.ada).handle,
    }
    assert (ada["result"], ada["failure"], ada["repair"]) == ("wrong", None, None)
    assert ada["types"]["mood"]["documents"] == 2
    assert ada["types"]["mood"]["records"] == 1
    (finding,) = ada["findings"]
    assert finding == {
        "finding": "missing",
        "type": "mood",
        "id": str(item),
        "owner": world.ada,
        "uri": None,
        "cid": None,
        "ref": None,
        "detail": "the state says synced",
        "action": "publish it",
    }
    assert [line["result"] for line in accounts].count("clean") == 2
    assert last["summary"] == {
        "result": "wrong",
        "dry_run": False,
        "accounts": 3,
        "unreadable": 0,
        "documents": 6,
        "records": 4,
        "statuses": {**dict.fromkeys(STATUSES, 0), "synced": 4, "skipped": 1},
        "findings": {**dict.fromkeys(COUNTS, 0), "state_mismatch": 0, "missing": 1},
    }


def test_repair_puts_right_and_looks_again(world: World) -> None:
    """What is reported, and the exit code, is how it is in the end."""
    item = lose(world)
    world.platform.save_mood("new", world.bob)
    put_orphans(world, 2)
    result = audit(world, "--repair", "--yes")
    assert result.exit_code == 0
    assert "Repaired: 2 records removed, 2 documents synced" in result.output
    assert "Clean: 3 accounts" in result.output
    assert len(world.records("mood", item)) == 1
    assert audit(world).exit_code == 0


def test_repair_counts_documents_by_their_new_status(world: World) -> None:
    """A document that became partial is not reported as synced."""
    world.platform.save_mood("new", world.bob)
    world.platform.store("bad.png", b"no image", world.ada)
    world.platform.save_painting("bad", world.ada)
    result = audit(world, "--repair", "--yes")
    assert result.exit_code == 1
    assert "Repaired: 0 records removed, 1 document synced, 1 partial\n" in result.output


def test_rehearsal_of_a_repair_counts_and_changes_nothing(world: World) -> None:
    """The same numbers as the repair; what would be refused is refused."""
    lose(world)
    put_orphans(world, 2)
    before = world.revision(world.dids[world.ada])
    result = audit(world, "--repair", "--dry-run")
    assert result.exit_code == 1
    planned = "1 document synced. Nothing was changed."
    assert f"Would be repaired: 2 records removed, {planned}" in result.output
    *_, last = lines(audit(world, "--repair", "--dry-run", "--json"))
    assert last["summary"]["dry_run"] is True
    assert world.revision(world.dids[world.ada]) == before
    put_orphans(world, 7, first=2)
    refused = audit(world, "--repair", "--dry-run")
    assert "is more than 20%: none was removed" in refused.output
    assert "Would be repaired: 0 records removed, 1 document synced" in refused.output


def test_repair_in_json_says_what_was_done(world: World) -> None:
    """By account."""
    lose(world)
    *accounts, _others, last = lines(audit(world, "--repair", "--yes", "--json"))
    repairs = [line["repair"] for line in accounts if line["account"]["subject"] == world.ada]
    done = {"removed": 0, "synced": 1, "statuses": {"synced": 1}, "left": 0}
    done |= {"refusals": [], "failures": []}
    assert repairs == [done]
    assert last["summary"]["result"] == "clean"


def test_too_large_a_share_is_removed_by_force_alone(world: World) -> None:
    """Nothing of that collection is removed, the rest is put right, and it says what to do."""
    put_orphans(world, 6)
    item = lose(world)
    refused = audit(world, "--repair", "--yes")
    assert refused.exit_code == 1
    assert f"to remove 6 of 8 records of {MOOD} is more than 20%" in refused.output
    assert "repeat with --force" in refused.output
    assert len(world.records("mood", item)) == 1
    assert audit(world, "--repair", "--yes", "--force").exit_code == 0


def test_account_that_cannot_be_read_is_told_and_the_others_go_on(world: World) -> None:
    """A line of its own, and exit code 1, even with repairs."""
    users = world.services.storage.database["users"]
    users.update_one({"_id": world.bob}, {"$set": {"atproto.did": NOWHERE}})
    item = lose(world)
    handle = account(world, world.bob).handle
    try:
        result, listed = audit(world, "--repair", "--yes"), audit(world, "--json")
    finally:
        users.update_one({"_id": world.bob}, {"$set": {"atproto.did": world.dids[world.bob]}})
    assert result.exit_code == 1
    assert f"{handle} ({NOWHERE}) cannot be read:" in result.output
    assert "1 account not audited in" in result.output
    assert len(world.records("mood", item)) == 1
    *accounts, _others, last = lines(listed)
    failures = [line["failure"] for line in accounts if line["failure"]]
    assert [failure["code"] for failure in failures] == ["did_not_found"], failures
    assert last["summary"]["unreadable"] == 1


def test_only_chosen_accounts_and_types_are_audited(world: World) -> None:
    """An account is chosen by any of its names."""
    lose(world)
    bob = account(world, world.bob)
    for name in (bob.handle, f"@{bob.screen_name}", bob.did, bob.subject):
        result = audit(world, "--user", name)
        assert result.exit_code == 0
        assert "Clean: 1 account, 1 document, 1 record." in result.output
    assert audit(world, "--user", bob.handle, "--user", bob.did, "--guests").exit_code == 0
    both = lines(audit(world, "--user", bob.handle, "--guests", "--json"))
    assert [line["account"]["subject"] for line in both[:-1]] == [world.bob, "art-guest"]
    assert audit(world, "--user", world.ada, "--user", world.bob).exit_code == 1
    assert audit(world, "--type", "painting", "--type", "kidlisp").exit_code == 0
    assert audit(world, "--type", "mood").exit_code == 1


def test_quick_audit_fetches_no_blob(world: World, stack: Stack) -> None:
    """Its help says what that leaves out."""
    with open_proxy(stack.environment["PDS_URL"]) as proxy:
        proxy.answer(Reply(500, b'{"error":"InternalServerError"}'), "getBlob")
        assert audit(world, "--quick", PDS_URL=proxy.url).exit_code == 0
        assert proxy.count("getBlob") == 0
        assert audit(world, PDS_URL=proxy.url).exit_code == 1
    help_text = " ".join(audit(world, "--help").output.split())
    assert "Do not fetch blobs: missing or truncated ones are not found." in help_text


def test_first_findings_are_shown_and_the_others_counted(world: World) -> None:
    """A screenful; JSON has them all."""
    for number in range(25):
        world.platform.save_mood(f"new {number}", world.ada)
    result = audit(world)
    assert "... and 5 more; --json prints all" in result.output
    assert len(lines(audit(world, "--user", world.ada, "--json"))[0]["findings"]) == 25


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--force"], "--force requires --repair"),
        (["--dry-run"], "--dry-run requires --repair"),
        (["--type", "poem"], "poem"),
        (["--user", "no-such-user"], "unknown user 'no-such-user'"),
    ],
)
def test_wrong_use_exits_with_2(opened: World, arguments: list[str], told: str) -> None:
    """Scripts tell trouble from findings by the exit code."""
    result = audit(opened, *arguments)
    assert result.exit_code == 2
    assert told in result.output


@pytest.mark.parametrize("away", [{"PDS_URL": "http://127.0.0.1:9"}, {"SECRET_KEYS": ""}])
def test_trouble_exits_with_2(opened: World, away: dict[str, str]) -> None:
    """Nothing is known when a service is away, which is neither clean nor off."""
    result = audit(opened, **away)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "Traceback" not in result.output


def test_command_of_its_own_prints_json_alone(world: World, bare_environ: dict[str, str]) -> None:
    """On stdout nothing but JSON; on stderr nothing, where no terminal shows the progress."""
    environ = {**bare_environ, **world.environ}
    code, output, error = run(["audit", "--json"], environ)
    assert (code, error) == (0, "")
    assert json.loads(output.splitlines()[-1])["summary"]["result"] == "clean"
    for secret in (world.environ["SECRET_KEYS"], account(world, world.ada).password.reveal()):
        assert secret not in output
