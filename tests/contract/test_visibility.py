"""Drafts, hidden items, and paintings that wait for their code."""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.contract.auditing import Ground, found, standings
from tests.contract.items import sweep
from tests.pictures import pixel_art
from worker.core.clock import now
from worker.core.documents import Failure, ItemRef
from worker.database.mongo import RawDocument
from worker.media import media_type
from worker.operations.status.inspection import Inspection, Inspector
from worker.sync.batch.engine import BatchRequest
from worker.sync.item_log import StructuredItemLog
from worker.telemetry.alerts import AffectedItem, Alerts
from worker.telemetry.metrics import Metrics

HIDING: dict[str, tuple[RawDocument, RawDocument, str]] = {
    **{
        flag: ({flag: True}, {flag: False}, flag)
        for flag in ("nuked", "deleted", "private", "draft", "hidden")
    },
    "visibility": ({"visibility": "unlisted"}, {"visibility": "public"}, "not_public"),
    "no visibility": ({"visibility": "unlisted"}, {"visibility": None}, "not_public"),
    "status": ({"status": "wip"}, {"status": "done"}, "draft"),
}


class Listener(Alerts):
    """Keeps the codes of failed items."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        self.heard.append(failure.code)


def save_draft(ground: Ground) -> ObjectId:
    """Save a painting as the platform does before its upload is complete."""
    item = ground.platform.save_painting("-", ground.user.subject)
    wip = {"size": 3, "colors": ["red"]}
    ground.platform.edit("painting", item, slug=f"wip/{item}", status="wip", wip=wip)
    return item


def seal(ground: Ground, item: ObjectId) -> None:
    """Complete a draft, without a message."""
    slug = f"s{uuid4().hex[:8]}"
    ground.platform.store(f"{slug}.png", pixel_art(), ground.user.subject)
    ground.platform.edit("painting", item, status="done", slug=slug, completedAt=now())


def save_without_code(ground: Ground) -> ObjectId:
    """Save a painting whose code another program fills in later."""
    slug = f"s{uuid4().hex[:8]}"
    ground.platform.store(f"{slug}.png", pixel_art(), ground.user.subject)
    item = ground.platform.save_painting(slug, ground.user.subject)
    paintings = ground.services.storage.store.collection(media_type("painting"))
    paintings.update_one({"_id": item}, {"$unset": {"code": ""}})
    return item


def told(ground: Ground, item: ObjectId, type_name: str = "painting") -> tuple[object, object]:
    """Return the status and the reason of an item."""
    state = ground.state(type_name, item)
    return state.get("status"), state.get("reason")


def swept(ground: Ground) -> list[ItemRef]:
    """Sweep until nothing is found, syncing what is; return the items, in order."""
    items: list[ItemRef] = []
    while batch := sweep(ground.services, grace=0, horizon_days=1):
        items += batch
        assert len(items) < 100
        for ref in batch:
            ground.services.sync.engine.sync(ref.type, ref.id, holder=uuid4().hex)
    return items


def shown(ground: Ground, item: ObjectId, type_name: str = "painting") -> Inspection:
    """Return what `show` prints of an item."""
    inspection = Inspector.of(ground.services).inspect(media_type(type_name), (item,))
    assert inspection
    return inspection


# Drafts


def test_a_draft_is_skipped_without_a_warning_or_an_alert(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    """It is nothing that an operator has to look at."""
    item, alerts = save_draft(ground), Listener()
    log = StructuredItemLog(Metrics(), "live")
    engine = replace(ground.services.sync.engine, alerts=alerts, item_log=log)
    with caplog.at_level(logging.INFO):
        outcome = engine.sync("painting", item, holder="message")
    assert (outcome.status, outcome.detail, outcome.error) == ("skipped", "draft", None)
    assert told(ground, item) == ("skipped", "draft")
    assert len(ground.records("painting")) == 1
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
    assert "item skipped" in caplog.messages
    assert alerts.heard == []


def test_a_draft_is_enqueued_by_one_sweep_alone(ground: Ground) -> None:
    """Whatever is drawn meanwhile; sealed, it is found and published."""
    item = save_draft(ground)
    ref = ItemRef("painting", item)
    assert swept(ground) == [ref]
    ground.platform.edit("painting", item, wip={"size": 4}, updatedAt=now())
    assert swept(ground) == []
    seal(ground, item)
    assert swept(ground) == [ref]
    assert told(ground, item) == ("synced", None)
    assert swept(ground) == []


def test_a_draft_that_is_sealed_is_published_by_its_message(ground: Ground) -> None:
    """At its time of creation there was none."""
    item = save_draft(ground)
    seal(ground, item)
    ground.sync("painting", item)
    assert told(ground, item) == ("synced", None)
    record = ground.repo.get(ground.key("painting", item))
    assert record
    assert not str(record.value["slug"]).startswith("wip/")
    assert "thumbnail" in record.value


def test_a_batch_skips_drafts_and_publishes_the_others(ground: Ground) -> None:
    """A draft among them fails nothing."""
    draft, sealed = save_draft(ground), save_draft(ground)
    seal(ground, sealed)
    incomplete = save_without_code(ground)
    items = [draft, sealed, incomplete]
    request = BatchRequest(media_type("painting"), ground.user.subject, items, "batch")
    outcomes = ground.services.sync.batches.sync(request)
    assert [str(each.status) for each in outcomes] == ["skipped", "synced", "skipped"]
    assert [told(ground, item)[1] for item in items] == ["draft", None, "no_code"]


# Hidden items


@pytest.mark.parametrize(("hide", "show", "reason"), HIDING.values(), ids=HIDING)
@pytest.mark.parametrize("type_name", ["mood", "painting"])
def test_a_hidden_item_is_removed_and_published_again_when_it_is_shown(
    ground: Ground, type_name: str, hide: RawDocument, show: RawDocument, reason: str
) -> None:
    """By a sweep, had there been no message; its record has the same key afterwards."""
    item = ground.mood() if type_name == "mood" else ground.painting()
    before, ref = ground.state(type_name, item), ItemRef(type_name, item)
    ground.platform.edit(type_name, item, **hide)
    assert {f: n for f, n in found(ground.audit()).items() if n} == {("orphaned", type_name): 1}
    assert swept(ground) == [ref]
    assert told(ground, item, type_name) == ("removed", reason)
    assert ground.repo.get(ground.key(type_name, item)) is None
    assert standings(ground.audit())[type_name, "removed", reason] == 1
    inspection = shown(ground, item, type_name)
    assert inspection.is_right
    assert inspection.item.document.hidden == reason
    ground.platform.edit(type_name, item, **show)
    assert swept(ground) == [ref]
    after = ground.state(type_name, item)
    assert (after["status"], after["uri"], after["cid"]) == ("synced", before["uri"], before["cid"])
    assert ground.audit().verdict == "clean"


def test_an_item_that_is_hidden_in_another_way_has_the_new_reason(ground: Ground) -> None:
    """Its record is gone already; a reset state keeps its own."""
    item = ground.mood()
    ground.platform.edit("mood", item, nuked=True)
    assert swept(ground) == [ItemRef("mood", item)]
    ground.platform.edit("mood", item, nuked=False, private=True)
    assert swept(ground) == [ItemRef("mood", item)]
    assert told(ground, item, "mood") == ("removed", "private")
    ground.set_state("mood", item, reason="wiped")
    ground.sync("mood", item)
    assert told(ground, item, "mood") == ("removed", "wiped")


@pytest.mark.parametrize(("hide", "reason"), [(each[0], each[2]) for each in HIDING.values()])
def test_an_item_that_is_hidden_before_it_was_published_is_skipped(
    ground: Ground, hide: RawDocument, reason: str
) -> None:
    """Whether a run has seen it or not, the audit counts it under the reason."""
    item = ground.platform.save_mood("not yet", ground.user.subject)
    ground.platform.edit("mood", item, **hide)
    assert standings(ground.audit())["mood", "never_published", reason] == 1
    ground.sync("mood", item)
    assert told(ground, item, "mood") == ("skipped", reason)
    assert standings(ground.audit())["mood", "skipped", reason] == 1
    assert shown(ground, item, "mood").item.plan == f"skip: {reason}"


@pytest.mark.parametrize(
    ("hide", "told"),
    [
        ({"nuked": True}, "its document is nuked"),
        ({"hidden": True}, "its document is hidden"),
        ({"private": True}, "its document is private"),
        ({"status": "wip"}, "its document is a draft"),
        ({"visibility": "friends"}, "its document is not public"),
    ],
)
def test_the_audit_says_why_a_record_should_not_be_there(
    ground: Ground, hide: RawDocument, told: str
) -> None:
    """In words, for each reason."""
    ground.platform.edit("mood", ground.mood(), **hide)
    (finding,) = ground.audit().audit.findings
    assert finding.detail == told


# Fields that are filled in later


def test_a_painting_without_a_code_is_skipped_until_it_has_one(ground: Ground) -> None:
    """One sweep looks at it; the next ones only when the code is there."""
    item = save_without_code(ground)
    ref = ItemRef("painting", item)
    assert swept(ground) == [ref]
    assert told(ground, item) == ("skipped", "no_code")
    assert swept(ground) == []
    assert standings(ground.audit())["painting", "skipped", "no_code"] == 1
    assert shown(ground, item).item.plan == "skip: no_code"
    ground.platform.edit("painting", item, code="a3b")
    assert swept(ground) == [ref]
    assert told(ground, item) == ("synced", None)
    assert ground.audit().verdict == "clean"


def test_a_record_stays_while_its_painting_has_no_code(ground: Ground) -> None:
    """It is no orphan, and the same record is updated once there is a code again."""
    item = ground.painting()
    before = ground.state("painting", item)
    for code in ("", None):
        ground.platform.edit("painting", item, code=code)
        (finding,) = ground.audit().audit.findings
        assert finding.detail == "the state says synced, and its document has no code"
        ground.sync("painting", item)
        after = ground.state("painting", item)
        assert (after["status"], after["reason"]) == ("skipped", "no_code")
        assert (after["uri"], after["cid"]) == (before["uri"], before["cid"])
        assert ground.repo.get(ground.key("painting", item))
        assert standings(ground.audit())["painting", "skipped", "no_code"] == 1
        assert ground.repair().verdict == "clean"
        assert shown(ground, item).is_right
        ground.platform.edit("painting", item, code="again")
        ground.sync("painting", item)
        assert told(ground, item) == ("synced", None)
        assert ground.state("painting", item)["uri"] == before["uri"]
        before = ground.state("painting", item)


def test_a_painting_without_a_code_that_is_nuked_is_removed(ground: Ground) -> None:
    """Hiding comes first."""
    item = ground.painting()
    ground.platform.edit("painting", item, code=None)
    ground.sync("painting", item)
    ground.platform.edit("painting", item, nuked=True)
    ground.sync("painting", item)
    assert told(ground, item) == ("removed", "nuked")
    assert ground.repo.get(ground.key("painting", item)) is None


# Texts and ids over their limits


@pytest.mark.parametrize(
    ("field", "limit"), [("mood", 5000), ("source", 50_000)], ids=["mood", "kidlisp"]
)
def test_a_text_is_published_up_to_its_limit_in_bytes(
    ground: Ground, field: str, limit: int
) -> None:
    """The platform counts characters: the error names the field, the limit and the size."""
    platform, subject = ground.platform, ground.user.subject
    save = platform.save_mood if field == "mood" else platform.save_kidlisp
    type_name = "mood" if field == "mood" else "kidlisp"
    full = ground.sync(type_name, save("é" * (limit // 2), subject))
    assert told(ground, full, type_name) == ("synced", None)
    over = ground.sync(type_name, save("é" * (limit // 2) + "!", subject))
    assert told(ground, over, type_name)[0] == "failed"
    error = ground.state(type_name, over)["error"]
    assert isinstance(error, dict)
    assert (error["code"], error["permanent"]) == ("lexicon_violation", True)
    assert error["message"] == (
        f"computer.aesthetic.{type_name}: {field} has {limit + 1} bytes in UTF-8, "
        f"and may have {limit} at most"
    )


def test_a_mood_is_published_under_both_names(ground: Ground) -> None:
    """The published lexicon requires `mood`; `text` is the plan's name."""
    record = ground.repo.get(ground.key("mood", ground.mood("both")))
    assert record
    assert (record.value["mood"], record.value["text"]) == ("both", "both")


@pytest.mark.parametrize("item", [ObjectId(), "x" * 24, "é" * 12, "p-1", 7, -(2**63), 2**63 - 1])
def test_an_id_of_any_kind_is_published_up_to_the_limit_of_ref(
    ground: Ground, item: ObjectId | str | int
) -> None:
    """24 bytes: as long as an ObjectId's text."""
    assert told(ground, save_program(ground, item), "kidlisp") == ("synced", None)


@pytest.mark.parametrize(("item", "size"), [("x" * 25, 25), ("é" * 12 + "x", 25), ("y" * 500, 500)])
def test_a_longer_id_is_refused_with_the_field_the_limit_and_what_to_do(
    ground: Ground, item: str, size: int
) -> None:
    """A PDS would take it, and readers would refuse the record."""
    save_program(ground, item)
    state = ground.state("kidlisp", item)  # type: ignore[arg-type]
    error = state["error"]
    assert isinstance(error, dict)
    assert (state["status"], error["permanent"]) == ("failed", True)
    assert error["message"] == (
        f"computer.aesthetic.kidlisp: ref has {size} bytes in UTF-8, and may have 24 at most; "
        "it is the document's _id: save the document with a shorter _id"
    )


def test_a_mood_may_have_a_longer_id(ground: Ground) -> None:
    """Its lexicon sets no limit."""
    item = "m" * 512
    document = {"_id": item, "mood": "calm", "when": now(), "user": ground.user.subject}
    ground.services.storage.database["moods"].insert_one(document)
    ground.services.sync.engine.sync("mood", item, holder="message")
    assert ground.state("mood", item)["status"] == "synced"  # type: ignore[arg-type]


def save_program(ground: Ground, item: ObjectId | str | int) -> ObjectId:
    """Save a KidLisp program under an id, and sync it; return the id."""
    document = {"_id": item, "code": "abc", "source": "(wipe)", "when": now()}
    kidlisp = ground.services.storage.database["kidlisp"]
    kidlisp.insert_one({**document, "user": ground.user.subject})
    ground.services.sync.engine.sync("kidlisp", item, holder="message")
    return item  # type: ignore[return-value]
