"""The saved position of the watch, on a real MongoDB and with its own tokens."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.core.clock import now
from worker.operations.watch.change_stream import next_event, open_stream
from worker.operations.watch.checkpoint import (
    COLLECTION,
    Checkpoint,
    CheckpointStore,
    CheckpointUpdate,
    Token,
    read_checkpoint,
)
from worker.services import Services


@pytest.fixture
def store(services: Services) -> CheckpointStore:
    """The position of a watch that has not started."""
    return CheckpointStore(services.storage.database)


def saved(services: Services) -> Checkpoint:
    """Return the saved position."""
    found = read_checkpoint(services.storage.database)
    assert found is not None
    return found


def stream_tokens(services: Services, number: int) -> list[Token]:
    """Return so many tokens as a stream returns them, with and without an event."""
    with open_stream(services.storage.database, [], None) as stream:
        services.storage.database["things"].insert_many([{"n": n} for n in range(number // 2)])
        found = [next_event(stream)[1] for _ in range(number)]
        while next_event(stream)[0]:
            pass
        services.storage.database["things"].insert_one({"n": number})
        found.append(next_event(stream)[1])
    return found


def test_an_earlier_token_never_replaces_a_later_one(
    services: Services, store: CheckpointStore
) -> None:
    """Nor does anything else that is saved with it."""
    earlier, *_, later = stream_tokens(services, 4)
    assert store.save(CheckpointUpdate(earlier, enqueued=1))
    assert store.save(CheckpointUpdate(later, enqueued=1))
    before = saved(services)
    assert not store.save(CheckpointUpdate(earlier, now(), enqueued=5, unknown=5, lost="why"))
    assert saved(services) == before
    assert (before.token, before.enqueued) == (later, 2)


def test_the_saved_token_is_saved_again(services: Services, store: CheckpointStore) -> None:
    """While nothing changes, `savedAt` shows that a watcher is running."""
    (token, *_) = stream_tokens(services, 2)
    store.save(CheckpointUpdate(token))
    services.storage.database[COLLECTION].update_one({}, {"$unset": {"savedAt": ""}})
    assert store.save(CheckpointUpdate(token))
    assert saved(services).saved_at is not None


def test_of_tokens_saved_at_once_the_latest_remains(
    services: Services, store: CheckpointStore
) -> None:
    """Whatever the order in which watchers save them."""
    tokens = stream_tokens(services, 40)
    assert tokens == sorted(tokens, key=lambda token: str(token["_data"]))
    shuffled = random.Random(7).sample(tokens, len(tokens))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda token: store.save(CheckpointUpdate(token)), shuffled))
    store.save(CheckpointUpdate(tokens[-1]))
    assert saved(services).token == tokens[-1]
    assert not store.save(CheckpointUpdate(tokens[0]))


def test_only_the_first_watcher_starts_from_now(services: Services, store: CheckpointStore) -> None:
    """A second one that also found no token lacks the changes since the first one's."""
    first, *_, second = stream_tokens(services, 4)
    assert store.start(first)
    assert not store.start(second)
    assert saved(services).token == first


@pytest.mark.parametrize("useless", [{"_data": "zz"}, {"x": 1}, None])
def test_a_lost_position_is_deleted_and_a_sweep_is_due(
    services: Services, store: CheckpointStore, useless: Token | None
) -> None:
    """Both in one write, so no crash comes in between; then a watcher starts from now."""
    services.storage.database[COLLECTION].insert_one({"_id": "position", "token": useless})
    assert store.mark_lost(useless, "why")
    assert (saved(services).token, saved(services).must_sweep) == (None, True)
    assert (saved(services).lost or {})["why"] == "why"
    assert store.start({"_data": "82"})


def test_who_lost_an_earlier_position_changes_nothing(
    services: Services, store: CheckpointStore
) -> None:
    """A watcher that was stopped for long continues from where another one is."""
    earlier, *_, later = stream_tokens(services, 4)
    store.save(CheckpointUpdate(later))
    before = saved(services)
    assert not store.mark_lost(earlier, "why")
    assert not store.mark_lost(None, "why")
    assert saved(services) == before


def test_a_dropped_collection_makes_a_sweep_due_with_its_token(
    services: Services, store: CheckpointStore
) -> None:
    """In one write: no crash comes in between."""
    (token, *_) = stream_tokens(services, 2)
    assert store.save(CheckpointUpdate(token, lost="moods: drop"))
    assert (saved(services).token, saved(services).must_sweep) == (token, True)
    store.save(CheckpointUpdate(token))
    assert saved(services).must_sweep


def test_a_sweep_settles_the_loss_before_it_only(
    services: Services, store: CheckpointStore
) -> None:
    """Another watcher may report a loss while documents are compared."""
    (token, *_) = stream_tokens(services, 2)
    store.save(CheckpointUpdate(token, lost="the first"))
    first = saved(services).lost
    store.save(CheckpointUpdate(token, lost="the second"))
    store.mark_swept(first)
    assert saved(services).must_sweep
    store.mark_swept(saved(services).lost)
    assert not saved(services).must_sweep


def test_sent_changes_are_counted_and_dated(services: Services, store: CheckpointStore) -> None:
    """They show how far behind the watch is."""
    (token, *_), moment = stream_tokens(services, 2), now()
    store.save(CheckpointUpdate(token, moment, 3, 1))
    store.save(CheckpointUpdate(token, moment, 2, 0))
    store.save(CheckpointUpdate(token))
    found = saved(services)
    assert (found.token, found.enqueued, found.unknown) == (token, 5, 1)
    assert found.last_event_at == moment
    assert found.lag >= 0
    assert found.saved_at is not None
    assert not found.must_sweep


def test_trouble_is_saved_until_the_next_token(services: Services, store: CheckpointStore) -> None:
    """The position stays where it is meanwhile."""
    (token, *_) = stream_tokens(services, 2)
    store.save(CheckpointUpdate(token))
    store.save_trouble("redis_unavailable")
    assert (saved(services).token, saved(services).trouble) == (token, "redis_unavailable")
    store.save(CheckpointUpdate(token))
    assert saved(services).trouble is None


def test_a_position_that_was_deleted_is_saved_again(
    services: Services, store: CheckpointStore
) -> None:
    """An operator may drop the collection while a watcher runs."""
    (token, *_) = stream_tokens(services, 2)
    store.save(CheckpointUpdate(token))
    services.storage.database[COLLECTION].drop()
    assert read_checkpoint(services.storage.database) is None
    assert store.save(CheckpointUpdate(token))
    assert saved(services).token == token
