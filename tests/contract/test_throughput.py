"""What was published when, and lists of failures page by page, from a real MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from tests.contract.failing import fail
from tests.contract.items import MOOD, PAINTING, save, settle
from worker.core.clock import now
from worker.core.documents import DocumentId, Status
from worker.media import MEDIA_TYPES
from worker.operations.status import NO_CODE, Failures, PageCursor, Throughput, throughput
from worker.services import Services

NOON = datetime(2026, 3, 1, 12, 30, 45, 500_000, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def published(here: Services, moment: datetime, count: int = 1, status: str = "synced") -> None:
    """Save moods whose records were written at a moment."""
    state = {"status": status, "publishedAt": moment}
    documents = [{"_id": ObjectId(), "atproto": state} for _ in range(count)]
    here.storage.store.collection(MOOD).insert_many(documents)


def seen(here: Services, at: datetime = NOON) -> Throughput:
    """Return what was published until a moment."""
    return throughput(here.storage.store, MEDIA_TYPES.values(), at)


def test_hour_and_day_have_no_gap_and_end_now(here: Services) -> None:
    """Sixty minutes and twenty-four hours, the present ones last, though nothing is there."""
    found = seen(here)
    assert (len(found.hour.starts), len(found.day.starts)) == (60, 24)
    assert found.hour.starts[-1] == datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    assert found.day.starts[-1] == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert {b - a for a, b in zip(found.hour.starts, found.hour.starts[1:], strict=False)} == {
        MINUTE
    }
    assert (found.hour.total, found.day.total) == (0, 0)


@pytest.mark.parametrize(
    ("moment", "hour", "day"),
    [
        (NOON, {-1: 2}, {-1: 2}),
        (NOON.replace(second=0, microsecond=0), {-1: 2}, {-1: 2}),
        (NOON - MINUTE, {-2: 2}, {-1: 2}),
        (NOON - 59 * MINUTE, {0: 2}, {-2: 2}),
        (NOON - 60 * MINUTE, {}, {-2: 2}),
        (NOON - 23 * HOUR, {}, {0: 2}),
        (datetime(2026, 2, 28, 13, tzinfo=UTC), {}, {0: 2}),
        (datetime(2026, 2, 28, 12, 59, 59, tzinfo=UTC), {}, {}),
        (NOON + MINUTE, {}, {}),
    ],
)
def test_items_are_counted_when_they_were_published(
    here: Services, moment: datetime, hour: dict[int, int], day: dict[int, int]
) -> None:
    """In their minute and in their hour, from the first moment to the last."""
    published(here, moment, 2)
    found = seen(here)
    assert {place: found.hour.counts[place] for place in hour} == hour
    assert {place: found.day.counts[place] for place in day} == day
    assert (found.hour.total, found.day.total) == (sum(hour.values()), sum(day.values()))


def test_all_types_are_counted_together_and_each_item_once(here: Services) -> None:
    """When its record was last written; a run that only confirms the record counts as none."""
    at = now()
    for kind in (MOOD, PAINTING):
        settle(here, save(here, kind), published_at=at)
    settle(here, save(here), synced_at=at)
    for when in (at - MINUTE, at):
        ref = save(here)
        settle(here, ref, published_at=when)
        settle(here, ref, published_at=at)
    assert seen(here, at).day.total == 4


@pytest.mark.parametrize("moment", ["yesterday", None, 5, [], {"at": NOON}])
def test_what_is_no_moment_is_not_counted(here: Services, moment: object) -> None:
    """Whatever older programs left there."""
    published(here, NOON)
    here.storage.store.collection(MOOD).insert_one({"atproto": {"publishedAt": moment}})
    assert seen(here).day.total == 1


def test_one_list_of_moments_keeps_no_item_from_being_counted(here: Services) -> None:
    """It counts as well, whatever its status is."""
    published(here, NOON, 3)
    here.storage.store.collection(MOOD).insert_one({"atproto": [{"publishedAt": NOON}]})
    assert seen(here).day.total == 4


def listed(here: Services, code: str, length: int) -> list[list[DocumentId]]:
    """Go through all pages of the failed moods of a code."""
    failures = Failures(here.storage.database, here.storage.store)
    pages, place = list[list[DocumentId]](), None
    while page := failures.page(MOOD, code, place, length):
        pages.append([item.ref.id for item in page])
        assert len(pages) < 100, "the list goes round in circles"
        place = PageCursor(page[-1].status, page[-1].ref.id)
    return pages


@pytest.mark.parametrize("length", [1, 2, 3, 7, 100])
def test_pages_have_every_item_once(here: Services, length: int) -> None:
    """By status, then by id, of whatever types these are."""
    ids: list[DocumentId] = [3, 1, "b", "a", ObjectId(), ObjectId(), 2]
    for each in ids:
        fail(here, save(here, item=each))
    partial = fail(here, status=Status.PARTIAL)
    fail(here, code="another")
    pages = listed(here, "field_invalid", length)
    assert {len(page) for page in pages[:-1]} <= {length}
    assert [each for page in pages for each in page] == [1, 2, 3, "a", "b", *ids[4:6], partial.id]


def test_page_goes_on_where_its_last_item_was(here: Services) -> None:
    """Though that has been healed meanwhile, and is no longer in the list."""
    refs = [fail(here) for _ in range(3)]
    settle(here, refs[0])
    page = Failures(here.storage.database, here.storage.store).page(
        MOOD, "field_invalid", PageCursor(Status.FAILED, refs[0].id), 10
    )
    assert [item.ref for item in page] == refs[1:]


def test_items_without_a_code_have_pages_too(here: Services) -> None:
    """What older programs left."""
    ids = [ObjectId() for _ in range(3)]
    here.storage.store.collection(MOOD).insert_many(
        [{"_id": each, "atproto": {"status": "failed"}} for each in ids]
    )
    assert listed(here, NO_CODE, 2) == [ids[:2], ids[2:]]
