"""Who watches, and how far it has come, on a real MongoDB."""

from __future__ import annotations

import pytest

from tests.waiting import wait_for
from worker.core.clock import now
from worker.operations.watch import checkpoint
from worker.operations.watch.checkpoint import (
    COLLECTION,
    CheckpointStore,
    CheckpointUpdate,
    WatchLeaseLostError,
)
from worker.services import Services

TOKEN = {"_data": "826B077A8C000000122B0229296E04"}


def test_one_watcher_at_a_time(services: Services) -> None:
    """The lease is one's own until it is given back, or has ended."""
    first, second = (
        CheckpointStore(services.database, name, 600.0) for name in ("first", "second")
    )
    assert first.acquire()
    assert second.acquire() is None
    assert second.holder() == "first"
    first.release()
    assert second.acquire()
    assert first.acquire() is None


def test_a_lease_ends_by_mongodbs_clock(services: Services) -> None:
    """Without a sign of its holder."""
    first = CheckpointStore(services.database, "first", 0.2)
    second = CheckpointStore(services.database, "second", 600.0)
    assert first.acquire()
    assert wait_for(second.acquire, within=30, what="the lease to end")


def test_who_was_overtaken_changes_nothing(services: Services) -> None:
    """Not the token, not the lease, though it does not know."""
    first, second = (
        CheckpointStore(services.database, name, 0.001) for name in ("first", "second")
    )
    assert first.acquire()
    wait_for(second.acquire, within=30, what="the lease to end")
    second.save(CheckpointUpdate(TOKEN))
    before = services.database[COLLECTION].find_one()
    with pytest.raises(WatchLeaseLostError):
        first.save(CheckpointUpdate({"_data": "82"}))
    with pytest.raises(WatchLeaseLostError):
        first.renew("trouble")
    with pytest.raises(WatchLeaseLostError):
        first.mark_lost("why")
    with pytest.raises(WatchLeaseLostError):
        first.mark_swept()
    first.release()
    assert services.database[COLLECTION].find_one() == before


def test_the_same_watcher_takes_its_lease_anew(services: Services) -> None:
    """After an outage; what it wrote before under the old fence is refused then."""
    mine = CheckpointStore(services.database, "mine", 600.0)
    fences = [taken.fence for _ in range(2) if (taken := mine.acquire())]
    assert fences == [1, 2]


def test_what_was_sent_is_counted_and_dated(services: Services) -> None:
    """For whoever looks at how far behind the watch is."""
    mine = CheckpointStore(services.database, "mine", 600.0)
    mine.acquire()
    moment = now()
    mine.save(CheckpointUpdate(TOKEN, moment, 3, 1))
    mine.save(CheckpointUpdate(TOKEN, moment, 2, 0))
    mine.save(CheckpointUpdate(TOKEN))
    found = checkpoint.read_checkpoint(services.database)
    assert found is not None
    assert (found.token, found.enqueued, found.unknown) == (TOKEN, 5, 1)
    assert found.last_event_at == moment
    assert found.lag >= 0
    assert found.saved_at is not None
    assert not found.must_sweep
    mine.mark_lost("why")
    lost = checkpoint.read_checkpoint(services.database)
    assert lost is not None
    assert (lost.token, lost.must_sweep) == (None, True)


def test_there_may_have_been_no_watch_yet(services: Services) -> None:
    """Then there is nothing to read."""
    assert checkpoint.read_checkpoint(services.database) is None
