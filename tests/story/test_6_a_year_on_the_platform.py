"""Chapter 6: a platform with a year of data is published, and followed from then on.

The tests are a sequence: each begins where the one before it ended.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.backfills import run_backfill
from tests.bulk import account, assert_agreement
from tests.contract.web_server import Site
from tests.pictures import photo
from tests.platform_shapes import HIDINGS, SITE, Shape, Shapes
from tests.second_opinion import SecondOpinion, open_second_opinion
from tests.story.platform_year import GUESTS, UNCHANGED, WITHOUT_RKEY, Year, open_year, s3_server
from tests.terminal import call
from tests.world import JsonRecord, Worlds
from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.dev.stack.accounts import create_account
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail
from worker.media import MEDIA_TYPES
from worker.media.validation.files import OWN_FOLDER, PUBLISHED, read_published

# What is not to be published, and why.
SKIPPED = {
    "old painting": "no_code",
    "draft": "draft",
    "abandoned draft": "draft",
    "deleted mood": "deleted",
    "guest's mood": "guests_not_published",
    "painting without an account": "no_account",
    "mood without an account": "no_account",
    **{f"{reason} painting": reason for reason in HIDINGS},
}
# What cannot be published as it is, and how it ends.
FAULTY = {
    "too long mood": ("failed", "lexicon_violation"),
    "lost painting": ("partial", "source_forbidden"),
    "painting at another user's path": ("partial", "source_forbidden"),
}
REMOVED = "mood deleted since"
REMOVED_BEFORE = "deleted mood whose record is gone"


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the platform's buckets."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def buckets(media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve the platform's buckets."""
    with s3_server(media, tmp_path_factory.mktemp("certificates")) as server:
        yield server


@pytest.fixture(scope="module")
def year(worlds: Worlds, media: Path, buckets: Site) -> Iterator[Year]:
    """Open the platform; in the end, repos hold what the documents say, and nothing else."""
    with open_year(worlds, media, buckets.url) as opened:
        yield opened
        assert_agreement(opened.world)


@pytest.fixture(scope="module")
def opinion(
    bare_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> SecondOpinion:
    """Return the reference validator."""
    return open_second_opinion(bare_environ, tmp_path_factory.mktemp("opinion"))


def assert_valid(records: dict[str, JsonRecord], opinion: SecondOpinion) -> None:
    """Assert that records are valid by the reference validator and the published lexicons.

    Early moods have `mongoId` in place of the required `ref`.
    """
    published = read_published(OWN_FOLDER / PUBLISHED)
    with_ref = [{"ref": record.get("mongoId"), **record} for record in records.values()]
    faults = opinion.on_records(published.values(), with_ref)
    assert dict(zip(records, faults, strict=True)) == dict.fromkeys(records)


def assert_files_published(year: Year) -> None:
    """Assert that new records have the blobs and links of the files of their documents."""
    records = year.records()
    for name, shape in year.shapes.items():
        if shape.type_name in {"painting", "piece"} and year.is_new(name):
            record = records[year.uri(name)]
            field, cid = wanted_blob(shape)
            has_recording = any(key.endswith(".zip") for key in shape.files)
            assert (name, blob_cid(record, field)) == (name, cid)
            assert (name, "recordingUrl" in record) == (name, has_recording)


def wanted_blob(shape: Shape) -> tuple[str, str | None]:
    """Return the field of a document's blob, and the CID of what its file is to become."""
    program = shape.document.get("source")
    files = [program.encode()] if isinstance(program, str) else list(shape.files.values())
    if shape.type_name == "piece":
        return "source", cid_of_blob(files[0])
    made = [make_thumbnail(data, ThumbnailSettings()).data for data in files[:1]]
    return "thumbnail", cid_of_blob(made[0]) if made else None


def blob_cid(record: JsonRecord, name: str) -> str | None:
    """Return the CID of a record's blob."""
    blob: Any = record.get(name)
    return blob and str(blob["ref"]["$link"])


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit reports: documents by finding, and how many are skipped by reason."""

    exit_code: int
    findings: Mapping[str, set[str]]
    skipped: Mapping[str, int]


def audit(year: Year) -> Audit:
    """Audit all accounts."""
    result = call(year.world, "audit", "--json")
    accounts = [json.loads(line) for line in result.stdout.splitlines()[:-1]]
    findings, skipped = defaultdict(set), Counter[str]()
    for audited in accounts:
        for finding in audited["findings"]:
            findings[finding["finding"]].add(year.name_of(finding["id"]))
        for counts in audited["types"].values():
            for each in counts["statuses"]:
                if each["status"] in {"skipped", "never_published"}:
                    skipped[each["reason"]] += each["count"]
    return Audit(result.exit_code, findings, skipped)


def test_audit_shows_what_would_change(year: Year) -> None:
    """And why documents are not to be published; it reads no files."""
    before = year.records()
    without_file = "painting published without its thumbnail"
    audited = audit(year)
    assert audited.exit_code == 1
    assert audited.findings == {
        "missing": year.shapes.keys() - SKIPPED.keys() - year.old.keys() - {REMOVED_BEFORE},
        "stale": year.old.keys() - {*UNCHANGED, REMOVED, without_file},
        "orphaned": {REMOVED},
        "state_mismatch": {*UNCHANGED, without_file},
    }
    assert audited.skipped == Counter([*SKIPPED.values(), "deleted"])
    assert year.records() == before


def test_dry_run_counts_what_would_change_by_field(year: Year) -> None:
    """And what would be done with the items of each type."""
    before = year.records()
    done = {
        "changed": year.old.keys() - {*UNCHANGED, REMOVED},
        "unchanged": set(UNCHANGED),
        "partial": {name for name, (status, _) in FAULTY.items() if status == "partial"},
        "failed": {name for name, (status, _) in FAULTY.items() if status == "failed"},
        "removed": {REMOVED, REMOVED_BEFORE},
        "skipped": {"old painting"},
    }
    new = year.shapes.keys() - SKIPPED.keys() - set().union(*done.values())
    result = call(year.world, "backfill", "--dry-run")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    for kind in MEDIA_TYPES:
        for effect, names in ({"new": new} | done).items():
            if count := year.count(kind, names):
                assert [kind, effect, str(count)] in lines
    title = ["Fields", "of", "existing", "records", "that", "would", "change"]
    changes = lines[lines.index(title) + 2 :][:4]
    assert changes == [
        ["mood", "mood", "1"],
        ["mood", "text", "1"],
        ["painting", "acUrl", "3"],
        ["painting", "thumbnail", "2"],
    ]
    assert year.records() == before


def test_backfill_publishes_everything_that_can_be(year: Year) -> None:
    """It leaves out what is not to be published, and removes what is not any more."""
    run_backfill(year.world)
    assert year.outcomes() == outcomes_of_backfill(year)


def outcomes_of_backfill(year: Year) -> dict[str, tuple[object, object]]:
    """Return how all documents should end."""
    ends: dict[str, tuple[object, object]] = dict.fromkeys(year.shapes, ("synced", None))
    left_out = dict.fromkeys(SKIPPED, (None, None))
    removed = dict.fromkeys((REMOVED, REMOVED_BEFORE), ("removed", "deleted"))
    return {**ends, **left_out, "old painting": ("skipped", "no_code"), **removed, **FAULTY}


def test_every_record_is_valid_by_the_published_lexicons(
    year: Year, opinion: SecondOpinion
) -> None:
    """Those of older programs and ours; ours of a mood has its text twice."""
    assert_valid(year.records(), opinion)
    mood = year.record("mood")
    assert (mood["mood"], mood["text"]) == ("feeling quiet 🐄",) * 2


@pytest.mark.parametrize("name", UNCHANGED)
def test_correct_record_of_an_older_program_is_unchanged(year: Year, name: str) -> None:
    """Without our additions, with another thumbnail, or with `mongoId` in place of `ref`."""
    state = year.state(name)
    assert (state["uri"], state["cid"]) == year.old[name]
    assert year.records()[year.uri(name)]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mood edited since", "mood", "second thoughts"),
        ("painting published with a wrong link", "acUrl", f"{SITE}/#CODE"),
        ("painting published without its thumbnail", "acUrl", f"{SITE}/#CODE"),
        ("painting published with a GIF", "acUrl", f"{SITE}/#CODE"),
    ],
)
def test_incorrect_record_of_an_older_program_is_corrected(
    year: Year, name: str, field: str, value: str
) -> None:
    """At its own key."""
    uri, cid = year.old[name]
    assert year.uri(name) == uri
    assert year.state(name)["cid"] != cid
    code = str(year.shapes[name].document.get("code"))
    assert year.record(name)[field] == value.replace("CODE", code)


def test_other_programs_find_the_account_on_the_document(year: Year) -> None:
    """The feed reads `atproto.did`."""
    for name, (status, _) in year.outcomes().items():
        if status in {"synced", "partial"}:
            state = year.state(name)
            assert (name, state["did"]) == (name, state["repo"])


def test_every_file_is_found_over_https(year: Year) -> None:
    """Of several files the first is published, and a program in the document before a file."""
    assert_files_published(year)


def test_program_that_looks_like_another_type_is_published_as_it_is(year: Year) -> None:
    """The PDS takes it for PostScript."""
    record: Any = year.record("sniffed piece")
    assert record["source"]["mimeType"] == "application/postscript"
    assert ("source", blob_cid(record, "source")) == wanted_blob(year.shapes["sniffed piece"])


def test_second_backfill_and_messages_change_nothing(year: Year) -> None:
    """Adopted records stay as they are, now that their files have been looked at."""
    revisions = [year.world.revision(did) for did in year.world.dids.values()]
    run_backfill(year.world)
    assert {year.sync(name) for name in UNCHANGED} == {"synced"}
    assert [year.world.revision(did) for did in year.world.dids.values()] == revisions


def test_messages_do_the_same_as_a_backfill_with_files_in_a_folder(
    worlds: Worlds, tmp_path: Path
) -> None:
    """On another platform, for all documents that name their record or have none."""
    with open_year(worlds, tmp_path, tmp_path.as_uri()) as other:
        for name in other.shapes.keys() - WITHOUT_RKEY:
            other.sync(name)
        run_backfill(other.world)
        ends = outcomes_of_backfill(other)
        ends |= {name: ("skipped", reason) for name, reason in SKIPPED.items()}
        for name in ("lost painting", "painting at another user's path"):
            ends[name] = ("partial", "source_missing")
        assert other.outcomes() == ends
        assert_files_published(other)
        for name in UNCHANGED:
            assert (name, other.state(name)["cid"]) == (name, other.old[name][1])
        assert_agreement(other.world)


@pytest.mark.parametrize("name", ["recording in the user's folder", "uploaded lua"])
def test_later_sync_sends_one_request_for_each_file(year: Year, buckets: Site, name: str) -> None:
    """The key that matched is stored."""
    buckets.server.requests.clear()
    assert year.sync(name) == "synced"
    shape = year.shapes[name]
    wanted = [("HEAD", f"/{shape.bucket}/{quote(key)}") for key in shape.files]
    assert buckets.server.requests == wanted


def test_error_lists_every_key_that_was_tried(year: Year) -> None:
    """With the response of the store; the file is published once it is uploaded."""
    shape = year.shapes["lost painting"]
    error: Any = year.state("lost painting")["error"]
    slug = shape.text("slug")
    for key in (f"{shape.user}/painting/{slug}.png", f"{shape.user}/{slug}.png"):
        assert key in error["message"]
    assert error["message"].count("403") == 2
    year.upload("lost painting", {key: photo("PNG")})
    assert year.sync("lost painting") == "synced"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("painting", "#{code}"),
        ("kidlisp", "${code}"),
        ("guest's kidlisp", "${code}"),
        ("stored piece", "{code}"),
        ("guest's stored piece", "{code}"),
        ("uploaded piece", "@{handle}/{slug}"),
        ("uploaded lua", "@{handle}/{slug}"),
        ("guest's uploaded piece", "{slug}"),
    ],
)
def test_permanent_link_opens_the_item(year: Year, name: str, path: str) -> None:
    """By its code, or by its slug where it was uploaded as a file."""
    assert year.record(name)["acUrl"] == f"{SITE}/{path.format(**link_values(year, name))}"


def link_values(year: Year, name: str) -> dict[str, object]:
    """Return what the links of an item may contain."""
    shape = year.shapes[name]
    return {**shape.document, "handle": account(year.world, shape.user or GUESTS).screen_name}


def test_text_over_its_limit_is_rejected_with_field_limit_and_size(year: Year) -> None:
    """The platform counts characters, the lexicon bytes."""
    error: Any = year.state("too long mood")["error"]
    assert all(text in error["message"] for text in ("mood", "5000", "5002"))
    year.edit("too long mood", mood="ü" * 2500)
    assert year.sync("too long mood") == "synced"


def test_edit_of_an_adopted_record_keeps_its_thumbnail(year: Year) -> None:
    """The image is the same, and so is the blob that another program made of it."""
    name = "published painting"
    before = year.record(name)
    year.edit(name, code="edited")
    assert year.sync(name) == "synced"
    after = year.record(name)
    assert (after["code"], after["thumbnail"]) == ("edited", before["thumbnail"])
    year.upload(name, dict.fromkeys(year.shapes[name].files, photo("PNG", (77, 33))))
    assert year.sync(name) == "synced"
    assert blob_cid(year.record(name), "thumbnail") == wanted_blob(year.shapes[name])[1]


def test_edit_of_an_early_mood_gives_it_its_ref(year: Year) -> None:
    """A record that is written again is written as it should be."""
    year.edit("early mood", mood="the very first")
    assert year.sync("early mood") == "synced"
    record = year.record("early mood")
    assert (record["mood"], record["ref"]) == ("the very first", str(year.shapes["early mood"].id))
    assert "mongoId" not in record


def test_counters_cause_no_write(year: Year) -> None:
    """Nor does a sweep pick up the items whose counters have changed."""
    revisions = [year.world.revision(did) for did in year.world.dids.values()]
    counted = ("stored piece", "kidlisp", "guest's kidlisp")
    for name in counted:
        year.edit(name, hits=99, lastAccessed=now())
    assert year.swept().isdisjoint(counted)
    assert {year.sync(name) for name in counted} == {"synced"}
    assert [year.world.revision(did) for did in year.world.dids.values()] == revisions


def test_draft_is_published_when_it_is_sealed(year: Year) -> None:
    """At once, with the slug and the image that it has then."""
    sealed = Shapes(now(), timedelta()).sealed(year.shapes["draft"])
    year.upload("draft", sealed.files)
    changed = ("slug", "status", "wip", "completedAt")
    year.edit("draft", **{field: sealed.document.get(field) for field in changed})
    assert year.sync("draft") == "synced"
    assert year.record("draft")["slug"] == year.shapes["draft"].text("slug")
    assert_files_published(year)


def test_draft_is_not_picked_up_again_and_again(year: Year) -> None:
    """The first sweep has its reason saved; no later one finds it."""
    year.add("new draft", Shapes(now() - timedelta(minutes=5), timedelta()).draft(year.world.ada))
    year.sweep()
    assert year.outcome("new draft") == ("skipped", "draft")
    assert "new draft" not in year.swept()
    item = str(year.shapes["new draft"].id)
    assert "draft" in call(year.world, "show", "painting", item).stdout


def test_old_painting_is_published_once_a_script_gives_it_a_code(year: Year) -> None:
    """The script sends no message."""
    year.edit("old painting", code="filled")
    year.sweep()
    assert year.outcome("old painting") == ("synced", None)
    assert year.record("old painting")["imageUrl"] == f"{SITE}/media/paintings/filled"


def test_guests_painting_with_a_new_slug_keeps_its_record(year: Year) -> None:
    """The slug and the image change."""
    uri, name = year.uri("guest's painting"), "guest's painting"
    renamed = Shapes(now(), timedelta()).painting(None)
    year.upload(name, renamed.files)
    year.edit(name, slug=renamed.text("slug"))
    assert year.sync(name) == "synced"
    assert (year.uri(name), year.record(name)["slug"]) == (uri, renamed.text("slug"))
    assert blob_cid(year.record(name), "thumbnail") == wanted_blob(year.shapes[name])[1]


@pytest.mark.parametrize("reason", HIDINGS)
@pytest.mark.parametrize("name", ["painting at a path", "uploaded lisp", "mood", "kidlisp"])
def test_hidden_item_is_removed_and_shown_again(year: Year, name: str, reason: str) -> None:
    """With the record that it had."""
    uri, before = year.uri(name), year.record(name)
    year.edit(name, **HIDINGS[reason])
    assert year.sync(name) == "removed"
    assert year.outcome(name) == ("removed", reason)
    assert uri not in year.records()
    year.edit(name, **dict.fromkeys(HIDINGS[reason]))
    assert year.sync(name) == "synced"
    assert (year.uri(name), year.record(name)) == (uri, before)


@pytest.mark.parametrize("reason", HIDINGS)
def test_item_that_was_always_hidden_is_published_when_it_is_shown(year: Year, reason: str) -> None:
    """It has no record yet."""
    year.edit(f"{reason} painting", **dict.fromkeys(HIDINGS[reason]))
    assert year.sync(f"{reason} painting") == "synced"


def test_all_moods_of_a_user_are_nuked_and_brought_back(year: Year) -> None:
    """By one `updateMany`, and a message for each mood."""
    moods = [name for name, shape in year.shapes.items() if shape.type_name == "mood"]
    bobs = [name for name in moods if year.shapes[name].user == year.world.bob]
    for name in bobs:
        year.edit(name, deleted=True)
    assert {year.sync(name) for name in bobs} <= {"removed", "skipped"}
    collection = f"at://{year.world.dids[year.world.bob]}/computer.aesthetic.mood/"
    assert not [uri for uri in year.records() if uri.startswith(collection)]
    for name in bobs:
        year.edit(name, deleted=None)
    assert {year.sync(name) for name in bobs} == {"synced"}


def test_user_who_gets_an_account_is_published(year: Year) -> None:
    """By the next backfill, as no run has seen these old documents."""
    subject = year.carol
    year.world.dids[subject] = year.world.platform.sign_up(subject, subject.removeprefix("auth0|"))
    run_backfill(year.world)
    for name in ("painting without an account", "mood without an account"):
        assert year.outcome(name) == ("synced", None)


def test_changed_handle_changes_the_links_that_contain_it(year: Year) -> None:
    """And no others; without any message."""
    world, ada = year.world, year.world.ada
    before = year.records()
    renamed = ["uploaded piece", "uploaded piece in the user's folder", "uploaded lisp"]
    new = f"renamed-{ada[-8:]}"
    database = world.services.storage.database
    database["@handles"].update_one({"_id": ada}, {"$set": {"handle": new}})
    moved = {"atproto.handle": f"{new}.test", "atproto.syncedAt": now()}
    database["users"].update_one({"_id": ada}, {"$set": moved})
    year.sweep()
    for name in renamed:
        assert year.record(name)["acUrl"] == f"{SITE}/@{new}/{year.shapes[name].document['slug']}"
    changed = {uri for uri, record in year.records().items() if before[uri] != record}
    assert changed >= {year.uri(name) for name in renamed}
    assert all("@" in str(before[uri].get("acUrl")) for uri in changed)


def test_minted_program_that_lost_its_user_becomes_a_guests(year: Year) -> None:
    """It moves to the guests' repo."""
    year.edit("minted kidlisp", user=None)
    assert year.sync("minted kidlisp") == "synced"
    assert year.repos_of("minted kidlisp") == [year.world.guest_did]


def test_minted_program_outlives_the_account_of_its_user(
    year: Year, pds_admin: tuple[str, str]
) -> None:
    """The account is deleted, and the repo with it: there is no record to delete."""
    world, dave = year.world, f"auth0|dave-{year.world.ada[-8:]}"
    did = world.platform.sign_up(dave, dave.removeprefix("auth0|"))
    year.add("dave's program", Shapes(now(), timedelta()).minted_kidlisp(dave))
    assert year.sync("dave's program") == "synced"
    delete = "/xrpc/com.atproto.admin.deleteAccount"
    world.http.post(delete, json={"did": did}, auth=pds_admin).raise_for_status()
    world.services.storage.database["users"].delete_one({"_id": dave})
    year.edit("dave's program", user=None)
    assert year.sync("dave's program") == "synced"
    assert year.repos_of("dave's program") == [world.guest_did]


def test_users_items_move_when_the_did_changes(year: Year) -> None:
    """The old account is gone; all items are published in the new one, without any message."""
    world, bob = year.world, year.world.bob
    new = create_account(world.environ["PDS_URL"], f"newbob-{bob[-8:]}")
    stored = {"did": new.did, "handle": new.handle, "password": new.password}
    users = world.services.storage.database["users"]
    users.update_one({"_id": bob}, {"$set": {"atproto": stored}})
    world.dids[bob] = new.did
    year.sweep()
    bobs = [name for name, shape in year.shapes.items() if shape.user == bob]
    assert {year.state(name)["repo"] for name in bobs} == {new.did}
    assert {year.repos_of(name)[0] for name in bobs} == {new.did}


def test_wiped_account_is_restored(year: Year) -> None:
    """At the keys that the records had, and as they should be today."""
    world, ada = year.world, year.world.ada
    did = world.dids[ada]
    before = {uri for uri in year.records() if did in uri}
    assert call(world, "wipe", ada, "--yes").exit_code == 0
    assert not [uri for uri in year.records() if did in uri]
    run_backfill(world, owners=[ada], failed=True, removed=True)
    assert {uri for uri in year.records() if did in uri} == before
    assert_files_published(year)


def test_audit_finds_nothing_in_the_end(year: Year, opinion: SecondOpinion) -> None:
    """Only the items that cannot be published are wrong; and all records are valid."""
    audited = audit(year)
    assert (audited.exit_code, audited.findings) == (1, {})
    assert_valid(year.records(), opinion)
