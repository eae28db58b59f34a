"""Queries over all documents, which take MongoDB minutes for millions of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import pymongo
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from tests.contract.items import MOOD, give_account, save
from worker.core.clock import now
from worker.database.accounts import Accounts
from worker.database.mongo import RawDocument, StoreUnavailableError
from worker.database.state import ResetMode
from worker.database.store import DocumentStore
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.backfill.queries import UNSEEN, BackfillQueries
from worker.operations.erase.state_reset import StateReset
from worker.operations.status.counts import ItemCounts
from worker.operations.status.failures import Failures
from worker.services import Services

ADA, NOBODY, GUEST = "auth0|ada", "auth0|nobody", "art-guest"
PUBLISHED: RawDocument = {
    "status": "synced",
    "repo": "did:plc:a",
    "rkey": "3a",
    "publishedAt": now(),
}
FAILED: RawDocument = {"status": "failed", "error": {"code": "x"}}
Data = Database[RawDocument]
Query = Callable[[Data, DocumentStore], object]


def wiped(_: Data, store: DocumentStore) -> int:
    """Count the documents that a wipe would reset."""
    pages = StateReset(store).documents_of_owner(MOOD, ADA, ResetMode.FORGOTTEN)
    return len(list(chain.from_iterable(pages)))


def audited(database: Data, store: DocumentStore) -> int:
    """Count the documents that an audit reads."""
    return len(list(OwnedDocuments(database, store, Accounts(database)).documents(MOOD, ADA)))


QUERIES: dict[str, tuple[Query, object]] = {
    "backfill: owners": (lambda _, store: len([*BackfillQueries(store).owners(MOOD, UNSEEN)]), 1),
    "backfill: documents": (
        lambda _, store: len([*BackfillQueries(store).documents(MOOD, UNSEEN, NOBODY)]),
        1,
    ),
    "retry": (lambda _, store: len([*BackfillQueries(store).failed(MOOD, ["x"])]), 1),
    "status": (lambda db, store: ItemCounts(db, store).counts(MOOD).total, 3),
    "status: removals": (lambda db, store: ItemCounts(db, store).removals().pending, 0),
    "failures": (lambda db, store: [*Failures(db, store).of(MOOD, "other")], []),
    "audit": (audited, 2),
    "wipe": (wiped, 2),
    "forget": (lambda _, store: StateReset(store).repos_of_owner(MOOD, ADA), {"did:plc:a"}),
    "rotate-keys": (lambda db, _: len([*Accounts(db).read_all()]), 1),
}


@pytest.fixture
def hasty(here: Services) -> Iterator[Data]:
    """A published, a failed and a new mood, for a client that allows a millisecond for a call."""
    give_account(here, ADA)
    save(here, MOOD, user=ADA, atproto=PUBLISHED)
    save(here, MOOD, user=ADA, atproto=FAILED)
    save(here, MOOD, user=NOBODY)
    mongo = here.settings.mongodb
    with MongoClient[RawDocument](mongo.url.reveal(), timeoutMS=1) as client:
        yield client[mongo.name]


@pytest.mark.parametrize(("query", "expected"), QUERIES.values(), ids=QUERIES)
def test_queries_over_all_documents_may_take_longer_than_other_calls(
    hasty: Data, query: Query, expected: object
) -> None:
    """None ends after the time that the client allows for a call."""
    assert query(hasty, DocumentStore(hasty, GUEST)) == expected


@pytest.mark.parametrize("name", ["status", "backfill: owners"])
def test_a_time_limit_of_the_caller_applies_to_long_queries(hasty: Data, name: str) -> None:
    """The status page sets one, because a browser waits for it."""
    query, _ = QUERIES[name]
    with pymongo.timeout(0.000_1), pytest.raises(StoreUnavailableError):
        query(hasty, DocumentStore(hasty, GUEST))
