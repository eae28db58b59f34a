"""One kind of damage each: done to an account that is right, with what an audit is to find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.contract.auditing import Count, Ground
from worker.core.record_keys import next_tid
from worker.media import media_type

MOOD = "computer.aesthetic.mood"
OLDEST = "2222222222222"
MISSING = {("missing", "mood"): 1}
STALE = {("stale", "mood"): 1}
ORPHANED = {("orphaned", "mood"): 1}
LIES = {("state_mismatch", "mood"): 1}
Damage = Callable[[Ground], Count]


def unpublished(**state: object) -> Damage:
    """Save a mood that no run has seen, with a state."""

    def damage(ground: Ground) -> Count:
        item = ground.platform.save_mood("new", ground.user.subject)
        if state:
            ground.set_state("mood", item, **state)
        return MISSING

    return damage


def edited(expected: Count, **fields: object) -> Damage:
    """Edit the document of a published mood, without a message."""

    def damage(ground: Ground) -> Count:
        ground.platform.edit("mood", ground.mood(), **fields)
        return expected

    return damage


def with_state(expected: Count, **changes: object) -> Damage:
    """Change the state of a published mood."""

    def damage(ground: Ground) -> Count:
        ground.set_state("mood", ground.mood(), **changes)
        return expected

    return damage


def with_record(rkey: str, **record: object) -> Damage:
    """Put a record that names no document."""

    def damage(ground: Ground) -> Count:
        ground.put(ground.repo.key(MOOD, rkey), {"$type": MOOD, **record})
        return ORPHANED

    return damage


def with_blob_file(change: Callable[[bytes], bytes]) -> Damage:
    """Change the file of a blob on the disk of the PDS."""

    def damage(ground: Ground) -> Count:
        file = ground.blob_file(ground.blob_of("painting", ground.painting()))
        file.write_bytes(change(file.read_bytes()))
        return {("blob_truncated", "painting"): 1}

    return damage


def record_deleted(ground: Ground) -> Count:
    """A record that another program has deleted."""
    ground.repo.delete(ground.key("mood", ground.mood()))
    return MISSING


def unnuked_unheard(ground: Ground) -> Count:
    """An item whose coming back was never heard of."""
    item = ground.mood()
    ground.platform.edit("mood", item, deleted=True)
    ground.sync("mood", item)
    ground.platform.edit("mood", item, deleted=False)
    return MISSING


def record_altered(ground: Ground) -> Count:
    """A record that another program has changed."""
    item = ground.mood()
    ground.put(ground.key("mood", item), {"$type": MOOD, "text": "not mine", "ref": str(item)})
    return STALE


def record_of_an_older_program(ground: Ground) -> Count:
    """A document with an rkey alone, its record of an older form."""
    item = ground.platform.save_mood("legacy", ground.user.subject)
    ground.platform.edit("mood", item, atproto={"rkey": "legacykey"})
    ground.put(ground.repo.key(MOOD, "legacykey"), {"$type": MOOD, "text": "legacy"})
    return STALE


def thumbnail_left_out(ground: Ground) -> Count:
    """A record whose blob another program has left out."""
    item = ground.painting()
    key = ground.key("painting", item)
    record = ground.repo.get(key)
    assert record
    ground.put(key, {name: v for name, v in record.value.items() if name != "thumbnail"})
    return {("stale", "painting"): 1}


def record_of_a_removed_one(ground: Ground) -> Count:
    """A record that came back after its document was taken down."""
    item = ground.mood()
    record = ground.repo.get(ground.key("mood", item))
    assert record
    ground.platform.edit("mood", item, deleted=True)
    ground.sync("mood", item)
    ground.put(ground.key("mood", item), record.value)
    return ORPHANED


def moved_unheard(ground: Ground) -> Count:
    """A document that belongs to somebody else now, its message lost."""
    ground.platform.edit("mood", ground.mood(), user=ground.newcomer().subject)
    return ORPHANED


def twin_that_is_older(ground: Ground) -> Count:
    """A second record; the one that the state names is the younger."""
    ground.put_twin("mood", ground.mood(), OLDEST)
    return {("duplicated", "mood"): 1}


def twins_of_an_unknown_one(ground: Ground) -> Count:
    """Three records of a document that names none of them."""
    item = ground.mood()
    for rkey in ("3zzzzzzzzzzz2", "3zzzzzzzzzzz3"):
        ground.put_twin("mood", item, rkey)
    ground.platform.edit("mood", item, atproto=None)
    return {("duplicated", "mood"): 2, ("state_mismatch", "mood"): 1}


def twin_of_a_nuked_one(ground: Ground) -> Count:
    """Two records of a document that should have none."""
    item = ground.mood()
    ground.put_twin("mood", item, OLDEST)
    ground.platform.edit("mood", item, nuked=True)
    return {("orphaned", "mood"): 2}


def shared_blob_truncated(ground: Ground) -> Count:
    """A blob that two records refer to."""
    first, second = ground.painting(seed=7), ground.painting(seed=7)
    cid = ground.blob_of("painting", first)
    assert cid == ground.blob_of("painting", second)
    ground.blob_file(cid).write_bytes(b"short")
    return {("blob_truncated", "painting"): 2}


def program_deleted(ground: Ground) -> Count:
    """The source of a piece, gone from the PDS's disk."""
    slug = f"s{uuid4().hex[:8]}"
    program = f"// {slug}".encode()
    ground.platform.store(f"{slug}.mjs", program, ground.user.subject)
    item = ground.sync("piece", ground.platform.save_piece(slug, ground.user.subject))
    ground.blob_file(ground.blob_of("piece", item, "source")).unlink()
    return {("blob_missing", "piece"): 1}


def document_deleted(ground: Ground) -> Count:
    """Delete the document of a published mood, without a message."""
    ground.platform.delete("mood", ground.mood())
    return ORPHANED


def blob_deleted(ground: Ground) -> Count:
    """Delete the file of a blob on the disk of the PDS."""
    ground.blob_file(ground.blob_of("painting", ground.painting())).unlink()
    return {("blob_missing", "painting"): 1}


def rkey_lies(ground: Ground) -> Count:
    """A state that names a key where nothing is."""
    item = ground.mood()
    ground.set_state("mood", item, rkey=next_tid(str(ground.state("mood", item)["rkey"])))
    return LIES


def nuked_says_synced(ground: Ground) -> Count:
    """A nuked document that claims a record which is not there."""
    item = ground.mood()
    ground.repo.delete(ground.key("mood", item))
    ground.platform.edit("mood", item, nuked=True)
    return LIES


def mood_of_nobody(ground: Ground) -> Count:
    """A record of a kind that guests do not publish: the owner was taken off the document."""
    item = ground.mood()
    moods = ground.services.storage.store.collection(media_type("mood"))
    moods.update_one({"_id": item}, {"$unset": {"user": ""}})
    return ORPHANED


FAILED = {
    "step": "write",
    "code": "pds_refused",
    "message": "no",
    "permanent": True,
    "at": datetime.now(UTC) - timedelta(days=1),
}

DAMAGES: dict[str, Damage] = {
    each.__name__: each
    for each in (
        record_deleted,
        unnuked_unheard,
        record_altered,
        record_of_an_older_program,
        thumbnail_left_out,
        document_deleted,
        record_of_a_removed_one,
        moved_unheard,
        twin_that_is_older,
        twins_of_an_unknown_one,
        twin_of_a_nuked_one,
        blob_deleted,
        shared_blob_truncated,
        program_deleted,
        rkey_lies,
        nuked_says_synced,
        mood_of_nobody,
    )
} | {
    "never_published": unpublished(),
    "forgotten_pending": unpublished(status="pending"),
    "skipped_before_the_account": unpublished(status="skipped", reason="no_account"),
    "edited_unheard": edited(STALE, mood="another"),
    "nuked_unheard": edited(ORPHANED, nuked=True),
    "moved_to_nobody": edited(ORPHANED, user="auth0|has-no-account"),
    "state_lost": edited(LIES, atproto={}),
    "record_of_a_wiped_one": with_state(
        ORPHANED, status="removed", reason="wiped", uri=None, cid=None, syncedAt=None
    ),
    "record_without_ref": with_record("noref", text="whose?"),
    "record_with_a_strange_ref": with_record("strange", ref="\0" * 600),
    "blob_truncated": with_blob_file(lambda data: data[:100]),
    "blob_emptied": with_blob_file(lambda _: b""),
    "blob_altered": with_blob_file(lambda data: data[:-1] + b"!"),
    "cid_lies": with_state(LIES, cid="bafyreiafztde5khqfxqjaaxp4lec3ajph7cdl3nq45cdwq3erlh6tvuajq"),
    "uri_lies": with_state(LIES, uri="at://did:plc:other/computer.aesthetic.mood/x"),
    "repo_lies": with_state(LIES, repo="did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"),
    "failed_lies": with_state(LIES, status="failed", error=FAILED),
    "pending_for_ever": with_state(LIES, status="pending"),
    "skipped_lies": with_state(LIES, status="skipped", reason="no_account"),
    "unknown_status": with_state(LIES, status="done"),
}
