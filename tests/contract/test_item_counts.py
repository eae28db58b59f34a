"""How many items are in which state, and how long queues are: from a real MongoDB and Redis."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import redis
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from tests.contract.failing import fail, pend
from tests.contract.items import MOOD, PAINTING, edit, save, settle
from tests.fixtures import Opener
from worker.core.clock import after, now
from worker.core.documents import ItemRef, Status
from worker.core.redis_errors import RedisUnavailableError
from worker.core.secrets import Secret
from worker.core.settings import Settings
from worker.database.mongo import StoreUnavailableError
from worker.database.removals import Removal, Removals
from worker.media import MEDIA_TYPES, media_type
from worker.operations.status import Counts, ItemCounts, QueueLengths, Queues
from worker.queue.names import OVERFLOW, redis_list
from worker.services import Services

LONG_AGO = datetime(2020, 2, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PIECE = media_type("piece")


@pytest.fixture
def overview(here: Services) -> ItemCounts:
    """The overview of an empty database."""
    return ItemCounts(here.storage.database, here.storage.store)


def saved_at(here: Services, moment: datetime, **fields: object) -> ItemRef:
    """Save an item with an ObjectId of that moment, and a date of another."""
    return save(here, item=ObjectId.from_datetime(moment), when=now(), **fields)  # type: ignore[arg-type]


def test_nothing_is_counted_where_nothing_is(settings: Settings, open_services: Opener) -> None:
    """A database without a collection or an index, as it is before the first save."""
    fresh = open_services(settings)
    overview = ItemCounts(fresh.storage.database, fresh.storage.store)
    assert [overview.counts(kind) for kind in MEDIA_TYPES.values()] == [Counts()] * 4
    assert Counts.sum([]) == Counts()


def test_items_are_counted_by_status(here: Services, overview: ItemCounts) -> None:
    """Each item once, and of its own type only."""
    for number, status in enumerate(Status, start=1):
        for _ in range(number):
            settle(here, save(here), status=status)
    save(here)
    save(here, PAINTING)
    counts = overview.counts(MOOD)
    assert counts.statuses == {status: number for number, status in enumerate(Status, start=1)}
    assert (counts.total, counts.never) == (22, 1)
    assert (overview.counts(PAINTING).total, overview.counts(PIECE).total) == (1, 0)


@pytest.mark.parametrize(
    "atproto", [None, "published", 5, {}, {"rkey": "3jzfcijpj2z2a"}, {"status": "odd"}, []]
)
def test_what_older_programs_left_was_never_published(
    here: Services, overview: ItemCounts, atproto: object
) -> None:
    """A state that says nothing that we know counts as none."""
    settle(here, save(here))
    edit(here, save(here), atproto=atproto)
    counts = overview.counts(MOOD)
    assert (counts.total, counts.never, counts.statuses[Status.SYNCED]) == (2, 1, 1)


def test_errors_are_counted_by_code_and_status(here: Services, overview: ItemCounts) -> None:
    """Failed, partial, and what is tried again by itself; what merely waits has no error."""
    for _ in range(2):
        fail(here, code="worker_lost")
        fail(here, code="source_missing", status=Status.PARTIAL)
    fail(here, code="source_missing")
    for _ in range(5):
        fail(here, code="wrong_password", status=Status.PENDING)
    pend(here, save(here))
    counts = overview.counts(MOOD)
    assert counts.errors == {
        ("worker_lost", Status.FAILED): 2,
        ("source_missing", Status.PARTIAL): 2,
        ("source_missing", Status.FAILED): 1,
        ("wrong_password", Status.PENDING): 5,
    }
    assert counts.failed_with("source_missing") == 3
    assert counts.codes[-1] == "wrong_password"
    assert overview.errors(MOOD) == Counts(errors=counts.errors)


def test_skipped_and_removed_items_are_counted_by_reason(
    here: Services, overview: ItemCounts
) -> None:
    """Each for themselves, also where some document has a state that is a list."""
    for reason in ("no_account", "no_account", "nuked", "draft"):
        settle(here, save(here), status=Status.SKIPPED, reason=reason)
    for reason in ("nuked", "not_public", "not_public"):
        settle(here, save(here), status=Status.REMOVED, reason=reason)
    settle(here, save(here, PAINTING), status=Status.REMOVED, reason="nuked")
    edit(here, save(here), atproto=[{"status": "removed", "reason": "nuked"}])
    counts = overview.counts(MOOD)
    assert counts.skipped == {"no_account": 2, "nuked": 1, "draft": 1}
    assert counts.removed == {"nuked": 1, "not_public": 2}
    both = Counts.sum([counts, overview.counts(PAINTING)])
    assert both.removed == {"nuked": 2, "not_public": 2}


def test_counts_of_types_add_up(here: Services, overview: ItemCounts) -> None:
    """The oldest of all is the oldest of any."""
    fail(here, status=Status.PENDING, failing_since=LONG_AGO)
    later = save(here, PAINTING)
    fail(here, later, status=Status.PENDING, failing_since=LONG_AGO + DAY)
    fail(here)
    every = Counts.sum(overview.counts(kind) for kind in MEDIA_TYPES.values())
    assert (every.total, every.oldest) == (3, LONG_AGO)
    assert every.statuses == {Status.PENDING: 2, Status.FAILED: 1} | Counter()
    assert every.codes == ["field_invalid"]


def test_oldest_pending_item_is_the_one_that_has_been_failing_longest(
    here: Services, overview: ItemCounts
) -> None:
    """However old documents are, and whatever was published before: an edit makes none old."""
    fail(here, failing_since=LONG_AGO - DAY)
    pend(here, saved_at(here, LONG_AGO - 2 * DAY), synced_at=LONG_AGO - DAY)
    assert overview.counts(MOOD).oldest is None
    fail(here, status=Status.PENDING, failing_since=LONG_AGO + DAY)
    assert overview.counts(MOOD).oldest == LONG_AGO + DAY
    fail(here, status=Status.PENDING, failing_since=LONG_AGO)
    assert overview.counts(MOOD).oldest == LONG_AGO


@pytest.mark.parametrize("since", [None, "yesterday", 5, DatetimeMS(8_640_000_000_000_000)])
def test_an_item_with_an_unreadable_time_hides_no_other(
    here: Services, overview: ItemCounts, since: object
) -> None:
    """It is counted, and its age is unknown."""
    edit(here, fail(here, status=Status.PENDING), **{"atproto.failingSince": since})
    assert overview.counts(MOOD).oldest is None
    fail(here, status=Status.PENDING, failing_since=LONG_AGO)
    assert overview.counts(MOOD).oldest == LONG_AGO


def test_removals_are_counted(here: Services, overview: ItemCounts) -> None:
    """Those that will be retried, and those that failed."""
    removals = Removals(here.storage.database)
    error = StoreUnavailableError("no answer")
    for item, retry_at in (("1", after(60)), ("2", after(60)), ("3", None)):
        removals.postpone(Removal("mood", "auth0|ada", id=item), error, 1, retry_at)
    told = overview.removals()
    assert (told.pending, told.failed) == (2, 1)


def test_queues_are_as_long_as_what_waits_in_them(queue_url: str) -> None:
    """And what workers have taken and not done yet."""
    queues = Queues(Secret(queue_url))
    assert queues.lengths() == QueueLengths(0, 0, 0, 0)
    with redis.Redis.from_url(queue_url) as client:
        for name, length in (("live", 1), ("sweep", 2), ("bulk", 3)):
            client.lpush(name, *["message"] * length)
        client.lpush(redis_list("sweep", OVERFLOW), "message")
        client.hset("unacked", mapping={str(tag): "message" for tag in range(4)})
    assert queues.lengths() == QueueLengths(live=1, sweep=3, bulk=3, in_flight=4)
    queues.close()


def test_a_queue_that_is_away_is_an_error_of_ours() -> None:
    """Without the password of its address."""
    with pytest.raises(RedisUnavailableError) as raised:
        Queues(Secret("redis://:s3cret@127.0.0.1:9/0")).lengths()
    assert "s3cret" not in raised.value.message
