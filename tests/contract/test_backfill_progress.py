"""The progress of backfills: told by workers, read by whoever waits."""

from __future__ import annotations

from uuid import uuid4

import pytest
from redis import Redis

from worker.core.clock import now
from worker.core.documents import Failure, ItemRef, Status
from worker.core.redis_errors import RedisUnavailableError
from worker.sync.batch.progress import BackfillProgress, ProgressTracker
from worker.sync.outcome import Outcome

SYNCED = Outcome(ItemRef("mood", 1), Status.SYNCED, "at://")
LEFT = Outcome(ItemRef("mood", 2), None, "another run is at work on it")
SKIPPED = Outcome(ItemRef("painting", 4), Status.SKIPPED, "no_code")
FAILED = Outcome(
    ItemRef("mood", 3),
    Status.FAILED,
    "field 'when' is missing",
    error=Failure("document", "field_invalid", "field 'when' is missing", permanent=True, at=now()),
)


@pytest.fixture
def progress(redis: Redis) -> ProgressTracker:
    """The progress of backfills that nobody has heard of."""
    return ProgressTracker(redis)


@pytest.fixture
def backfill() -> str:
    """A backfill's name."""
    return uuid4().hex


def test_nothing_is_known_of_a_backfill_that_has_not_begun(
    progress: ProgressTracker, backfill: str
) -> None:
    """Nothing is waited for."""
    assert progress.read(backfill) == BackfillProgress(0, {}, {})


def test_items_are_counted_by_type_status_and_reason(
    progress: ProgressTracker, backfill: str
) -> None:
    """Over all batches; a batch that is done is no longer waited for."""
    for batch in ("one", "two", "three"):
        progress.expect(backfill, batch)
    progress.report(backfill, "one", "mood", [SYNCED, SYNCED, FAILED], done=True)
    progress.report(backfill, "two", "piece", [LEFT, SYNCED], done=True)
    tally = progress.read(backfill)
    assert tally == BackfillProgress(
        batches=1,
        ended={
            ("mood", "synced"): 2,
            ("mood", "failed"): 1,
            ("piece", "left"): 1,
            ("piece", "synced"): 1,
        },
        reasons={("mood", "field_invalid"): 1},
    )
    assert tally.total == 5


def test_skipped_items_are_counted_by_reason(progress: ProgressTracker, backfill: str) -> None:
    """As in the counts of the status; they are not errors."""
    progress.report(backfill, "one", "painting", [SKIPPED, SKIPPED], done=True)
    skipped = {("painting", "no_code"): 2}
    assert progress.read(backfill) == BackfillProgress(0, {("painting", "skipped"): 2}, {}, skipped)


def test_a_batch_that_comes_again_is_waited_for(progress: ProgressTracker, backfill: str) -> None:
    """Its items are counted as they end, each once."""
    progress.expect(backfill, "one")
    progress.report(backfill, "one", "mood", [SYNCED], done=False)
    assert progress.read(backfill).batches == 1
    progress.report(backfill, "one", "mood", [SYNCED], done=True)
    tally = progress.read(backfill)
    assert (tally.batches, tally.total) == (0, 2)


def test_a_batch_that_is_told_twice_is_done_once(progress: ProgressTracker, backfill: str) -> None:
    """A message may be delivered twice."""
    progress.expect(backfill, "one")
    progress.expect(backfill, "two")
    for _ in range(2):
        progress.report(backfill, "one", "mood", [], done=True)
    assert progress.read(backfill).batches == 1


def test_batches_that_nobody_will_tell_of_are_forgotten(
    progress: ProgressTracker, backfill: str
) -> None:
    """What was told of items stays."""
    progress.expect(backfill, "one")
    progress.report(backfill, "two", "mood", [SYNCED], done=True)
    progress.forget(backfill)
    assert progress.read(backfill) == BackfillProgress(0, {("mood", "synced"): 1}, {})


def test_backfills_do_not_mix(progress: ProgressTracker, backfill: str) -> None:
    """Two may run at once."""
    progress.expect(backfill, "one")
    progress.report("another", "one", "mood", [SYNCED], done=True)
    assert progress.read(backfill).batches == 1


def test_nothing_is_kept_for_ever(progress: ProgressTracker, redis: Redis, backfill: str) -> None:
    """A backfill that nobody waits for leaves nothing behind in the end."""
    progress.expect(backfill, "one")
    progress.report(backfill, "two", "mood", [SYNCED], done=True)
    names = list(redis.scan_iter(f"*{backfill}*", count=1000))
    assert len(names) == 2
    assert all(int(redis.ttl(name)) > 0 for name in names)


def test_without_redis_workers_go_on_and_who_waits_is_told(backfill: str) -> None:
    """What is published stands on the documents."""
    with Redis.from_url("redis://127.0.0.1:9/0") as nowhere:
        progress = ProgressTracker(nowhere)
        progress.report(backfill, "one", "mood", [SYNCED], done=True)
        for call in (
            lambda: progress.read(backfill),
            lambda: progress.expect(backfill, "one"),
            lambda: progress.forget(backfill),
        ):
            with pytest.raises(RedisUnavailableError):
                call()
