"""Wiping and forgetting read documents by indexes alone: MongoDB explains each query."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bson import ObjectId

from tests.contract.explaining import MOOD, Watched
from tests.contract.wiping import forgetter, wiper
from worker.core.errors import TransientError
from worker.database.accounts import UnknownAccountError
from worker.database.removals import Removal, Removals
from worker.database.state import ResetMode
from worker.operations.erase.state_reset import StateReset
from worker.pds.repo_snapshot import StoredRecord
from worker.services import Services


@pytest.mark.parametrize("mode", ResetMode)
@pytest.mark.parametrize(("user", "most"), [("auth0|u5", 10), ("art-guest", 50)])
def test_no_query_of_a_wipe_goes_through_a_collection(
    watched: Watched, mode: ResetMode, user: str, most: int
) -> None:
    """MongoDB explains each: indexes alone, and no more documents than are the subject's."""
    clearing = StateReset(watched.store)
    record = StoredRecord("k105", b"", str(ObjectId()), b"")
    with watched.explainer.listening():
        found = clearing.documents_of(MOOD, "did:plc:x", user, {"k105": record, "k": record})
    assert list(found) == ["k105"]
    assert_indexed(watched, most=1)
    with watched.explainer.listening():
        pages = list(clearing.documents_of_owner(MOOD, user, mode))
    assert sum(map(len, pages)) > 0
    assert_indexed(watched, most=most)
    with watched.explainer.listening():
        clearing.not_reset(MOOD, pages[0][:1], mode)
        clearing.reset(MOOD, pages[0][:1], mode)
    assert_indexed(watched, most=1)


def test_no_query_of_forgetting_goes_through_a_collection(
    watched: Watched, shared_services: Services
) -> None:
    """Thumbnails by their owner, removals by their ids, accounts by each of their names."""
    tools = replace(
        forgetter(shared_services),
        wiper=replace(wiper(shared_services), state_reset=StateReset(watched.store)),
        accounts=watched.accounts,
        thumbnails=watched.thumbnails,
        database=watched.database,
    )
    waiting = Removals(watched.database)
    waiting.postpone(Removal("mood", "auth0|gone", id="1"), TransientError("x"), 1, None)
    with watched.explainer.listening():
        forgetting = tools.prepare("auth0|gone")
        assert forgetting.preview().removals == 1
        assert list(forgetting.run()) == []
    assert_indexed(watched, most=1)
    with pytest.raises(UnknownAccountError):  # no data is left
        tools.prepare("auth0|gone")


def assert_indexed(watched: Watched, *, most: int) -> None:
    """Assert that the commands just explained read few documents, found by indexes."""
    assert watched.explainer.explained
    for told in watched.explainer.explained:
        assert "COLLSCAN" not in told.stages, told
        assert told.documents <= most, told
