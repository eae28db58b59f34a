"""No query of an audit goes through a collection that it does not need all of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.explaining import MOOD, Watched, open_watched, populate
from tests.environments import new_settings
from worker import indexes
from worker.audit.owned import Owned
from worker.stack import Stack


@pytest.fixture(scope="module")
def watched(stack: Stack) -> Iterator[Watched]:
    """A thousand moods of a hundred users, half of them with accounts, and every index."""
    settings = new_settings(stack)
    with open_watched(settings) as opened:
        indexes.ensure(opened.database)
        populate(opened.database)
        yield opened
        opened.database.client.drop_database(settings.mongodb_name)


@pytest.fixture
def owned(watched: Watched) -> Owned:
    """The documents in that database."""
    return Owned(watched.database, watched.store, watched.accounts)


@pytest.mark.parametrize(("owner", "count"), [("auth0|u1", 10), ("art-guest", 50)])
def test_documents_are_found_by_their_owner(
    watched: Watched, owned: Owned, owner: str, count: int
) -> None:
    """Only theirs are read."""
    with watched.explainer.listening() as explained:
        found = list(owned.documents(MOOD, owner))
    assert len(found) == count
    (plan,) = explained
    assert plan.documents == count
    assert "IXSCAN atproto_owner" in plan.stages


def test_owners_are_found_without_their_documents(watched: Watched, owned: Owned) -> None:
    """By the index alone."""
    with watched.explainer.listening() as explained:
        found = list(owned.without_account(MOOD))
    assert len(found) == 46  # of 95 owners those without an account; and nobody
    plans = [plan for plan in explained if plan.command == "aggregate"]
    assert [plan.documents for plan in plans] == [0]
    assert "DISTINCT_SCAN atproto_owner" in plans[0].stages


def test_accounts_are_gone_through_by_index(watched: Watched, owned: Owned) -> None:
    """Users without an account are not read."""
    with watched.explainer.listening() as explained:
        accounts = list(owned.accounts())
    assert len({account.did for account in accounts}) == len(accounts) == 50
    assert max(plan.documents for plan in explained) == 50
    assert not any("COLLSCAN" in plan.stages for plan in explained)
