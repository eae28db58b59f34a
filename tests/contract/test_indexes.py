"""The indexes: that they can be made over what is there, and what cannot be is told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pymongo import MongoClient

from tests.contract.counting import Commands
from tests.contract.items import MOOD
from tests.fixtures import Opener
from worker.core.errors import PermanentError
from worker.core.settings import Settings
from worker.database.indexes import (
    IndexResult,
    IndexStatus,
    create,
    definitions,
    inspect,
)
from worker.database.mongo import RawDocument
from worker.dev.stack import Stack
from worker.media import MEDIA_TYPES
from worker.services import Services


@pytest.fixture
def fresh(settings: Settings, open_services: Opener) -> Services:
    """Services on a database in which there is nothing yet."""
    return open_services(settings)


def test_indexes_can_be_made_by_many_workers_at_once(fresh: Services) -> None:
    """Every worker makes sure of them when it starts."""
    start = threading.Barrier(4)

    def ensure(_: int) -> None:
        start.wait()
        fresh.ensure_indexes()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ensure, range(4)))
    assert {made.status for made in create(fresh.storage.database)} == {IndexStatus.EXISTS}


def test_legacy_documents_do_not_stand_in_the_way_of_indexes(fresh: Services) -> None:
    """Many without a state, and two with the same rkey but no repo."""
    states: list[object] = [None, "x", {"rkey": "same"}, {"rkey": "same"}, {"rkey": None}, [], {}]
    fresh.storage.store.collection(MOOD).insert_many([{"atproto": state} for state in states])
    fresh.ensure_indexes()


def made_in(services: Services) -> dict[str, IndexResult]:
    """Make the indexes; return what became of each by collection and name."""
    made = list(create(services.storage.database))
    return {f"{each.definition.collection} {each.definition.name}": each for each in made}


def test_indexes_are_created_once(fresh: Services) -> None:
    """All of them the first time, none of them the second, and each is told of.

    Ten for each type, five for codes and slugs, and seven for accounts and notes.
    """
    first, second = made_in(fresh), made_in(fresh)
    assert len(first) == len(definitions()) == len(MEDIA_TYPES) * 10 + 5 + 7
    assert {made.status for made in first.values()} == {IndexStatus.CREATED}
    assert second.keys() == first.keys()
    assert {(made.status, made.detail) for made in second.values()} == {(IndexStatus.EXISTS, "")}


def test_each_collection_costs_one_listing_and_one_build(stack: Stack, settings: Settings) -> None:
    """A worker far from MongoDB starts as fast as these calls allow."""
    commands = Commands()
    url = stack.environment["MONGODB_CONNECTION_STRING"]
    with MongoClient[RawDocument](url, event_listeners=[commands]) as client:
        list(create(client[settings.mongodb.name]))
        client.drop_database(settings.mongodb.name)
    collections = len({definition.collection for definition in definitions()})
    assert commands.counts["listIndexes"] == commands.counts["createIndexes"] == collections


def test_an_index_that_was_dropped_is_created_again(fresh: Services) -> None:
    """It alone: the others are there."""
    fresh.ensure_indexes()
    fresh.storage.store.collection(MOOD).drop_index("atproto_due")
    created = [name for name, made in made_in(fresh).items() if made.status is IndexStatus.CREATED]
    assert created == ["moods atproto_due"]


def test_an_index_of_the_platform_serves_as_well(fresh: Services) -> None:
    """The same index under a name of its own, which MongoDB would not make twice."""
    fresh.storage.database["@handles"].create_index("handle")
    made = made_in(fresh)["@handles atproto_handle"]
    assert (made.status, made.detail) == (IndexStatus.EXISTS, "as handle_1")


def test_another_index_of_the_same_name_is_refused_with_what_to_do(fresh: Services) -> None:
    """And it keeps none of the others from being made."""
    moods = fresh.storage.store.collection(MOOD)
    moods.create_index("when", name="atproto_due", sparse=True)
    with pytest.raises(PermanentError, match="moods has another index atproto_due"):
        fresh.ensure_indexes()
    made = made_in(fresh)
    refused = made.pop("moods atproto_due")
    assert {each.status for each in made.values()} == {IndexStatus.EXISTS}
    assert refused.status is IndexStatus.REFUSED
    assert "(when 1); sparse" in refused.detail
    assert "should be: (atproto.retryAt 1); partialFilterExpression" in refused.detail
    assert 'db.getCollection("moods").dropIndex("atproto_due")' in refused.detail
    moods.drop_index("atproto_due")
    assert made_in(fresh)["moods atproto_due"].status is IndexStatus.CREATED


@pytest.mark.parametrize("name", ["due", "platforms_own"])
def test_an_index_that_deletes_documents_is_no_substitute(fresh: Services, name: str) -> None:
    """The same field, but with an expiry: MongoDB makes no second one, under either name."""
    fresh.storage.database["atproto_removals"].create_index(
        "retryAt", name=name, expireAfterSeconds=9
    )
    made = made_in(fresh)["atproto_removals due"]
    assert made.status is IndexStatus.REFUSED
    assert f"another index {name}: (retryAt 1); expireAfterSeconds 9" in made.detail


def test_two_documents_of_one_record_are_named(fresh: Services) -> None:
    """No index can be made over them, and which they are is said."""
    same = {"atproto": {"repo": "did:plc:ada", "rkey": "same"}}
    fresh.storage.store.collection(MOOD).insert_many([dict(same), dict(same)])
    made = made_in(fresh)
    refused = made.pop("moods atproto_identity")
    assert {each.status for each in made.values()} == {IndexStatus.CREATED}
    assert refused.status is IndexStatus.REFUSED
    assert "did:plc:ada" in refused.detail
    assert "unset these fields" in refused.detail


def test_a_survey_tells_what_is_missing_and_makes_nothing(fresh: Services) -> None:
    """Twice the same, until they are made."""
    for _ in range(2):
        assert {made.status for made in inspect(fresh.storage.database)} == {IndexStatus.MISSING}
    assert len(list(create(fresh.storage.database))) == len(definitions())
    assert {made.status for made in inspect(fresh.storage.database)} == {IndexStatus.EXISTS}
