"""A secondary that lags behind: nothing that the engine decides comes from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymongo
import pytest
from pymongo import WriteConcern

from tests.contract.auditing import Ground, open_ground
from tests.environments import new_settings
from tests.own_mongod import set_of_one
from tests.second_member import SecondMember, second_member
from worker.database.document_refs import find_by_ref
from worker.database.mongo import StoreUnavailableError
from worker.dev.stack import Stack
from worker.media import media_type
from worker.services import build

MOOD = media_type("mood")
_OPTIONS = {
    "secondaryPreferred": "readPreference=secondaryPreferred&w=1",
    "tags": "readPreference=nearest&readPreferenceTags=&readConcernLevel=available",
    "direct": "directConnection=true",
}


@pytest.fixture(scope="module")
def member(
    tmp_path_factory: pytest.TempPathFactory, bare_environ: dict[str, str]
) -> Iterator[SecondMember]:
    """Return the second member of a replica set."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "first").mkdir()
    with (
        set_of_one(folder / "first", bare_environ) as url,
        second_member(url, folder / "second", bare_environ) as member,
    ):
        yield member


@pytest.fixture(params=list(_OPTIONS.values()), ids=list(_OPTIONS))
def ground(
    request: pytest.FixtureRequest, stack: Stack, tmp_path: Path, member: SecondMember
) -> Iterator[Ground]:
    """Return a ground whose URL names the secondary, with options that read from it."""
    settings = new_settings(stack, MONGODB_CONNECTION_STRING=f"{member.url}/?{request.param}")
    with closing(build(settings)) as services:
        services.ensure_indexes()
        yield open_ground(services, tmp_path)
        services.storage.database.client.drop_database(settings.mongodb.name)


def test_what_a_lagging_secondary_lacks_is_published_and_stays(
    ground: Ground, member: SecondMember
) -> None:
    """Neither the run that published it nor a repair takes it for deleted."""
    name = ground.services.storage.database.name
    member.lag()
    mood = ground.mood("unknown there")
    assert member.direct[name]["moods"].find_one({"_id": mood}) is None
    assert ground.state("mood", mood)["status"] == "synced"
    ground.repair(force=True)
    assert str(mood) in {record.ref for record in ground.records("mood")}
    member.catch_up()


def test_a_deletion_that_only_one_member_has_removes_no_record(
    ground: Ground, member: SecondMember
) -> None:
    """It may be rolled back."""
    mood, store = ground.mood("deleted at one"), ground.services.storage.store
    member.set_votes(1)
    member.lag()
    documents = store.collection(MOOD).with_options(write_concern=WriteConcern(w=1))
    documents.delete_one({"_id": mood})
    assert find_by_ref(store, MOOD, str(mood)) is None
    assert find_by_ref(store.in_majority(), MOOD, str(mood))
    ground.repair(force=True)
    engine, user = ground.services.sync.engine, ground.user.subject
    with pymongo.timeout(2), pytest.raises(StoreUnavailableError):
        engine.sync("mood", str(mood), holder="a message", user=user)
    assert str(mood) in {record.ref for record in ground.records("mood")}
    member.catch_up()
    assert engine.sync("mood", str(mood), holder="again", user=user).status == "removed"
    member.set_votes(0)
