"""The pace of bulk work: full speed, unless somebody has saved an item just now."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import urlsplit

import pytest
from redis import Redis

from tests.bulk import assert_agreement, save_moods, save_paintings, sync_batch
from tests.watching import Watch
from tests.world import World
from worker.pds.host_slots import HostBusyError, HostSlots
from worker.sync.batch.throttle import BulkThrottle

HOST = "pds.example"


@pytest.fixture
def throttle(empty_redis: Redis) -> BulkThrottle:
    """The pace by that Redis."""
    return BulkThrottle(empty_redis)


def test_without_saves_everything_goes_at_once(throttle: BulkThrottle) -> None:
    """As much as a PDS takes best, and nobody waits for anybody."""
    with throttle.slot(HOST) as first, throttle.slot(HOST) as second:
        assert first == second == 100
    assert throttle.uploads(HOST) == 8


def note_lasting_save(throttle: BulkThrottle, redis: Redis, host: str = HOST) -> None:
    """Note a save whose effect does not end, however slow the machine is."""
    throttle.note_live_traffic(host)
    redis.set(f"media-atproto:live:{host}", 1, ex=50)


def host_of(world: World) -> str:
    """Return the host of the world's accounts."""
    return urlsplit(world.services.settings.pds.url).netloc


def test_a_save_at_one_host_slows_no_batch_at_another(
    throttle: BulkThrottle, empty_redis: Redis
) -> None:
    """Each PDS carries out its own writes."""
    note_lasting_save(throttle, empty_redis)
    with throttle.slot(HOST) as here, throttle.slot("other.example") as there:
        assert (here, there) == (10, 100)
    assert throttle.uploads("other.example") == 8


def test_a_save_is_noted_for_the_host_of_its_account(
    redis_world: World, empty_redis: Redis
) -> None:
    """By the engine of saves, and not by the one of all other work."""
    first, second = save_moods(redis_world, 2)
    sync = redis_world.services.sync
    sync.bulk_engine.sync("mood", first, holder="message")
    assert empty_redis.keys("media-atproto:live:*") == []
    sync.engine.sync("mood", second, holder="message")
    assert empty_redis.keys("media-atproto:live:*") == [
        f"media-atproto:live:{host_of(redis_world)}".encode()
    ]


def test_after_a_save_little_goes_at_a_time(throttle: BulkThrottle, empty_redis: Redis) -> None:
    """For some seconds; then it is forgotten."""
    throttle.note_live_traffic(HOST)
    assert int(empty_redis.pttl(f"media-atproto:live:{HOST}")) != -1  # it ends by itself
    note_lasting_save(throttle, empty_redis)
    with throttle.slot(HOST) as most:
        assert most <= 25
    assert throttle.uploads(HOST) < 8


def test_after_a_save_one_writes_at_a_time(throttle: BulkThrottle, empty_redis: Redis) -> None:
    """In the whole fleet: a save has to wait for one chunk at most."""
    note_lasting_save(throttle, empty_redis)
    inside, turns = [0], []

    def write(_: int) -> None:
        for _ in range(5):
            with throttle.slot(HOST):
                inside[0] += 1
                turns.append(inside[0])
                inside[0] -= 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert turns == [1] * 20


def test_one_batch_waits_for_the_turn_of_a_slow_host(
    throttle: BulkThrottle, empty_redis: Redis
) -> None:
    """A batch that would wait too leaves its process to other accounts."""
    note_lasting_save(throttle, empty_redis)
    # One for each process.
    first, second = (partial(HostSlots(empty_redis, 2).hold_waiting, HOST) for _ in range(2))
    with (
        throttle.slot(HOST),
        first("write"),
        pytest.raises(HostBusyError),
        throttle.slot(HOST, second),
    ):
        pass
    with throttle.slot(HOST, second) as most:
        assert most == 10


def test_a_turn_ends_with_what_was_done_in_it(throttle: BulkThrottle) -> None:
    """An error is the caller's; the next one has its turn all the same."""
    throttle.note_live_traffic(HOST)
    with pytest.raises(ValueError, match="mine"), throttle.slot(HOST):
        raise ValueError("mine")
    with throttle.slot(HOST) as most:
        assert most > 0


def test_without_redis_work_goes_on(empty_redis: Redis) -> None:
    """The pace is a courtesy; what must not happen at once is locked elsewhere."""
    with Redis.from_url("redis://127.0.0.1:9/0") as nowhere:
        throttle = BulkThrottle(nowhere)
        throttle.note_live_traffic(HOST)
        with throttle.slot(HOST) as most:
            assert most == 100
        assert throttle.uploads(HOST) == 8


def test_a_batch_is_written_in_small_chunks_while_people_save(
    redis_world: World, empty_redis: Redis
) -> None:
    """Counted at the repo."""
    watch = Watch(redis_world.services)
    note_lasting_save(redis_world.services.sync.batches.throttle, empty_redis, host_of(redis_world))
    sync_batch(redis_world, "mood", save_moods(redis_world, 50), batches=watch.batches)
    assert sum(watch.sizes) == 50
    assert max(watch.sizes) <= 25
    empty_redis.flushdb()
    sync_batch(redis_world, "mood", save_moods(redis_world, 50), batches=watch.batches)
    assert watch.sizes[-1] == 50
    assert_agreement(redis_world)


def test_few_blobs_are_uploaded_at_once_while_people_save(
    redis_world: World, empty_redis: Redis
) -> None:
    """A save waits behind those as well."""
    watch = Watch(redis_world.services)
    note_lasting_save(redis_world.services.sync.batches.throttle, empty_redis, host_of(redis_world))
    sync_batch(redis_world, "painting", save_paintings(redis_world, 8), batches=watch.batches)
    assert watch.count["upload"] == 8
    assert watch.most["upload"] <= 4
