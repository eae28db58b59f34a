"""Sifting: one account's many messages go behind those of others, in a real Redis."""

from __future__ import annotations

import threading
from collections import Counter

from bson import ObjectId
from pymongo import MongoClient
from redis import Redis

from tests.messages import ITEM, batch, call, fill
from tests.world import World
from worker.app import app
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore
from worker.queue.names import BULK, LIVE, OVERFLOW, redis_list
from worker.sync.fairness import QueueBalancer

MOST = 10
PAUSE = f"media-atproto:sifted:{LIVE}"


def moods(world: World, user: str | None, number: int) -> list[bytes]:
    """Save so many documents, for what their messages say; return the messages."""
    ids = [ObjectId() for _ in range(number)]
    owner = {} if user is None else {"user": user}
    kind = "mood" if user else "kidlisp"
    collection = world.services.storage.database["moods" if user else "kidlisp"]
    collection.insert_many({"_id": each, **owner} for each in ids)
    return [call(kind, str(each)) for each in ids]


def in_turn(redis: Redis, queue: str) -> list[bytes]:
    """Return what waits in a list, next first."""
    return list(reversed(redis.lrange(queue, 0, -1)))  # type: ignore[arg-type]


def look(world: World, queue: str = LIVE) -> int:
    """Look at a queue as whoever takes a message from it does."""
    balancer = world.services.sync.balancer
    return balancer.rebalance(queue, app.task_functions())


def look_until_sifted(world: World, redis: Redis) -> int:
    """Look again and again, as one look ends after a second; return how many were moved."""
    moved = 0
    while more := look(world):
        moved += more
        redis.delete(PAUSE)
    return moved


def test_all_but_the_first_of_one_account_go_behind(redis_world: World, empty_redis: Redis) -> None:
    """More than is looked at together; everything keeps its order, nothing gets lost."""
    flood, other = moods(redis_world, redis_world.ada, 1500), moods(redis_world, redis_world.bob, 2)
    fill(empty_redis, LIVE, [*flood, *other])
    assert look_until_sifted(redis_world, empty_redis) == 1500 - MOST
    assert in_turn(empty_redis, LIVE) == [*flood[:MOST], *other]
    assert in_turn(empty_redis, redis_list(LIVE, OVERFLOW)) == flood[MOST:]


def test_guests_are_one_account(redis_world: World, empty_redis: Redis) -> None:
    """Their documents name no user."""
    flood, other = moods(redis_world, None, 200), moods(redis_world, redis_world.bob, 30)
    fill(empty_redis, LIVE, [*flood, *other])
    assert look(redis_world) == 200 - MOST + 30 - MOST
    assert in_turn(empty_redis, LIVE) == [*flood[:MOST], *other[:MOST]]


def test_what_is_nobodys_stays_where_it_is(redis_world: World, empty_redis: Redis) -> None:
    """Sweeps, and what is no message; a deleted item is its user's."""
    odd = [*(call(task="sweep") for _ in range(15)), *(b"garbage %d" % n for n in range(60))]
    gone = [call("mood", str(ObjectId()), user=redis_world.ada) for _ in range(20)]
    gone += [call("mood", redis_world.ada, f"rkey{n}", task="delete_media") for n in range(20)]
    fill(empty_redis, LIVE, [*gone, *odd])
    assert look(redis_world) == 40 - MOST
    assert in_turn(empty_redis, LIVE) == [*gone[:MOST], *odd]


def test_messages_for_missing_documents_do_not_go_before_others(
    redis_world: World, empty_redis: Redis
) -> None:
    """All of them together have the quota of one account."""
    missing = [call("hologram", ITEM), call("mood", "")]
    missing += [call("mood", str(ObjectId())) for _ in range(100)]
    (mood,) = moods(redis_world, redis_world.bob, 1)
    fill(empty_redis, LIVE, [*missing, mood])
    assert look(redis_world) == len(missing) - MOST
    assert in_turn(empty_redis, LIVE) == [*missing[:MOST], mood]


def test_one_batch_of_each_account_comes_first(redis_world: World, empty_redis: Redis) -> None:
    """A batch says whose it is, and takes seconds."""
    flood = [batch("painting", redis_world.ada, ITEM) for _ in range(9)]
    other = batch("mood", redis_world.bob, ITEM)
    fill(empty_redis, BULK, [*flood, other])
    assert look(redis_world, BULK) == 8
    assert in_turn(empty_redis, BULK) == [flood[0], other]


def test_a_short_queue_is_left_alone(redis_world: World, empty_redis: Redis) -> None:
    """Who waits a second has nothing to gain."""
    fill(empty_redis, LIVE, moods(redis_world, redis_world.ada, 50))
    fill(empty_redis, BULK, [batch("mood", redis_world.ada, ITEM) for _ in range(4)])
    assert look(redis_world) == look(redis_world, BULK) == 0
    assert empty_redis.llen(LIVE) == 50


def test_a_queue_is_looked_at_by_one_at_a_time(redis_world: World, empty_redis: Redis) -> None:
    """And not again until the mark of the last look expires."""
    fill(empty_redis, LIVE, moods(redis_world, redis_world.ada, 150))
    empty_redis.set(PAUSE, 1, ex=50)
    assert look(redis_world) == 0
    empty_redis.delete(PAUSE)
    assert look(redis_world) == 150 - MOST
    assert int(empty_redis.pttl(PAUSE)) != -1  # it ends by itself


def test_nothing_is_lost_or_doubled_while_others_take_and_send(
    redis_world: World, empty_redis: Redis
) -> None:
    """Between looking and moving, the queue goes on."""
    flood = moods(redis_world, redis_world.ada, 3000)
    later = moods(redis_world, redis_world.ada, 600)
    fill(empty_redis, LIVE, flood)
    taken: list[bytes] = []

    def take_and_send() -> None:
        for message in later:
            fill(empty_redis, LIVE, [message])
            taken.extend(empty_redis.rpop(LIVE, 1) or [])  # type: ignore[arg-type]

    other = threading.Thread(target=take_and_send)
    other.start()
    while other.is_alive():
        empty_redis.delete(PAUSE)
        look(redis_world)
    other.join()
    left = [*in_turn(empty_redis, LIVE), *in_turn(empty_redis, redis_list(LIVE, OVERFLOW))]
    assert Counter([*taken, *left]) == Counter([*flood, *later])
    assert empty_redis.llen(redis_list(LIVE, OVERFLOW)) > 2000


def test_without_redis_or_mongodb_the_queue_stays_as_it_is(
    redis_world: World, empty_redis: Redis
) -> None:
    """A save is not held up by it."""
    messages = moods(redis_world, redis_world.ada, 150)
    fill(empty_redis, LIVE, messages)
    away: MongoClient[RawDocument] = MongoClient("127.0.0.1:9", serverSelectionTimeoutMS=50)
    with away, Redis.from_url("redis://127.0.0.1:9/0") as nowhere:
        without_mongodb = QueueBalancer(empty_redis, DocumentStore(away["x"], "art-guest"))
        without_redis = QueueBalancer(nowhere, redis_world.services.storage.store)
        assert without_mongodb.rebalance(LIVE, app.task_functions()) == 0
        assert without_redis.rebalance(LIVE, app.task_functions()) == 0
    assert in_turn(empty_redis, LIVE) == messages
