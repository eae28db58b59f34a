"""No query goes through a collection: each is explained by MongoDB, on a thousand documents.

A query to add is a line in a table: what it is called, how many documents each of its commands
may read, and the call. Whoever reads few documents of a thousand reads few of a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.contract.explaining import MOOD, Query, Watched
from worker.core.clock import after, now
from worker.core.documents import Account, DocumentId, ItemRef, MediaDocument
from worker.core.settings.engine import SweepSettings
from worker.database.accounts import UnknownAccountError
from worker.database.removals import Removal
from worker.media import MEDIA_TYPES, MediaType, SiteUrls
from worker.operations.audit.owners import OwnedDocuments
from worker.operations.backfill.missing_records import PUBLISHED
from worker.operations.backfill.queries import (
    FAILED,
    PARTIAL,
    PENDING,
    SYNCED,
    UNSEEN,
    BackfillQueries,
    StatusGroup,
)
from worker.operations.backfill.retry import find_named
from worker.operations.status import Match, PageCursor, Search, throughput
from worker.pds.identity import StaticPdsResolver
from worker.queue.names import FRONT, OVERFLOW
from worker.sync.failed_removals import FailedRemovals
from worker.sync.sweep import Sweep
from worker.telemetry.alerts import NULL_ALERTS

DAY = timedelta(days=1)
SPAN = (now() - 1000 * DAY, now() + DAY)
CODES = ("field_invalid", "source_missing")
PAINTING, PIECE = MEDIA_TYPES["painting"], MEDIA_TYPES["piece"]
SITE = SiteUrls("https://x.test", "u", "g")
LIMITS = SweepSettings(limit=1000, window=50, horizon_days=1000, requeue=60, grace=0)

OF_STATUS: dict[str, tuple[int, Query]] = {
    "counts": (0, lambda w: w.overview.counts(MOOD)),
    "errors": (0, lambda w: w.overview.errors(MOOD)),
    "removals": (10, lambda w: w.overview.removals()),
    "counts of what is not there": (0, lambda w: w.overview.counts(PAINTING)),
}
OF_A_PAGE: dict[str, tuple[int, Query]] = {
    # Of a thousand moods 660 have been published, all of them today.
    "throughput": (0, lambda w: throughput(w.store, [MOOD, PAINTING], now())),
    "first failures": (10, lambda w: w.failures.page(MOOD, "field_invalid", None, 10)),
    "next failures": (10, lambda w: w.failures.page(MOOD, "field_invalid", after_first(w), 10)),
    "find by id": (
        1,
        lambda w: search(w, [MOOD, PAINTING], str(first(w))),
    ),
    "find by rkey": (1, lambda w: search(w, [MOOD, PAINTING], "k5")),
    "find by URI": (
        1,
        lambda w: search(w, [MOOD], "at://did:plc:x/computer.aesthetic.mood/k5"),
    ),
    "find by URI with a handle": (
        1,
        lambda w: search(w, [MOOD], "at://h1.test/computer.aesthetic.mood/k5"),
    ),
    "find by code": (1, lambda w: search(w, [PIECE], "c7")),
    "find by slug": (1, lambda w: search(w, [PIECE], "s7")),
    "find by address": (1, lambda w: search(w, [PIECE], "https://x.test/c7")),
    "find by handle and slug": (1, lambda w: search(w, [PIECE], "@h7/s7")),
    "find nothing": (
        0,
        lambda w: search(w, [MOOD, PAINTING], "calm 5"),
    ),
}
OF_FAILURES: dict[str, tuple[int, Query]] = {
    "all": (120, lambda w: list(w.failures.of(MOOD))),
    "some": (10, lambda w: list(w.failures.of(MOOD, limit=10))),
    "by reason": (10, lambda w: list(w.failures.of(MOOD, "field_invalid", 10))),
    # What has no code of its own stands between the others: all that failed is looked at.
    "without a reason": (120, lambda w: list(w.failures.of(MOOD, "(none)", 10))),
    "to retry": (120, lambda w: failed(w, ())),
    "to retry by reason": (110, lambda w: failed(w, CODES)),
    "to retry by id": (1, lambda w: find_named(w.store, [MOOD], [str(first(w))])),
    "revive": (1, lambda w: w.backlog.reset_attempts(MOOD, [first(w)], now())),
}
OF_SWEEP: dict[str, tuple[int, Query]] = {
    "due": (10, lambda w: w.backlog.find_due(MOOD, now(), 10)),
    "due by owner": (100, lambda w: w.backlog.find_due_by_owner(MOOD, now(), 3, 30)),
    # By date those with an ObjectId are passed over, document by document.
    "unseen": (100, lambda w: w.backlog.find_unseen(MOOD, *SPAN, 200)),
    "latest unseen": (
        100,
        lambda w: w.backlog.find_unseen(MOOD, *SPAN, 200, latest_first=True),
    ),
    "waiting for an account": (1, lambda w: list(w.backlog.waiting_for_account(MOOD, 9))),
    "skipped": (10, lambda w: w.backlog.find_skipped(MOOD, ["auth0|u78"], 10)),
    "skipped of guests": (20, lambda w: w.backlog.find_skipped(MOOD, ["art-guest"], 10)),
    "changed": (50, lambda w: w.backlog.find_changed(MOOD, 50)),
    "changed, further on": (51, lambda w: w.backlog.find_changed(MOOD, 50)),
    "mark": (1, lambda w: w.backlog.mark(MOOD, [ItemRef("mood", first(w))], after(60))),
    "mark remake": (1, lambda w: w.backlog.mark_remake(MOOD, [first(w)], after(60))),
    "removals": (1, lambda w: list(w.removals.due())),
    "removal done": (1, lambda w: w.removals.delete(Removal("mood", "auth0|u1", id="1"))),
}
OF_A_RUN: dict[str, tuple[int, Query]] = {
    "find": (1, lambda w: w.store.find(MOOD, [first(w)])),
    "holder of a key": (1, lambda w: w.store.find_by_record(MOOD, "did:plc:x", "k5")),
    "document of a record": (2, lambda w: w.store.find_own(MOOD, "auth0|u1", "k5", "no id")),
    "claim and finish": (1, lambda w: settle(w, first(w))),
    "account": (1, lambda w: w.accounts.find("auth0|u1")),
    "account by DID": (1, lambda w: w.accounts.by_did("did:plc:1")),
    "account by name": (1, lambda w: w.accounts.resolve("@h1")),
    "account by handle": (1, lambda w: w.accounts.resolve("h1.test")),
    # At most as many names as are compared: here all the hundred users begin alike.
    "unknown account": (100, lambda w: unknown(w, "h1x")),
    "accounts": (2, lambda w: list(w.accounts.find_all(["auth0|u1", "auth0|u3"]))),
    "accounts by DID": (2, lambda w: list(w.accounts.by_dids(["did:plc:1", "did:plc:3"]))),
    "usable accounts": (2, lambda w: w.accounts.usable(["auth0|u1", "auth0|u2"])),
    "forget thumbnails": (1, lambda w: w.thumbnails.forget("auth0|u1")),
    "discard thumbnails": (2, lambda w: w.thumbnails.discard(["cid2", "cid3"])),
}
# A status group is read once to count; then an owner's documents of it, ten each here. Of those
# pending there is one more: the one that was revived.
OF_BACKFILL: dict[str, tuple[int, Query]] = {
    "owners of never published": (100, lambda w: owners(w, UNSEEN)),
    "owners of synced": (600, lambda w: owners(w, SYNCED)),
    "owners of pending": (61, lambda w: owners(w, PENDING)),
    "owners of failed": (60, lambda w: owners(w, FAILED)),
    "owners of partial": (60, lambda w: owners(w, PARTIAL)),
    "two owners of never published": (20, lambda w: owners(w, UNSEEN, "auth0|u91", "auth0|u92")),
    "an owner's published": (10, lambda w: documents(w, PUBLISHED, "auth0|u1")),
    "an owner's never published": (10, lambda w: documents(w, UNSEEN, "auth0|u91")),
    "an owner's pending": (10, lambda w: documents(w, PENDING, "auth0|u61")),
    "an owner's failed": (10, lambda w: documents(w, FAILED, "auth0|u67")),
    "an owner's partial": (10, lambda w: documents(w, PARTIAL, "auth0|u73")),
    "guests' never published": (5, lambda w: documents(w, UNSEEN, "art-guest")),
}
OF_AN_AUDIT: dict[str, tuple[int, Query]] = {
    "an owner's": (10, lambda w: list(owned(w).documents(MOOD, "auth0|u1"))),
    "guests'": (50, lambda w: list(owned(w).documents(MOOD, "art-guest"))),
    # The 50 are users with an account: documents of the 95 owners are not read.
    "owners without an account": (50, lambda w: list(owned(w).without_account(MOOD))),
    "accounts": (50, lambda w: list(owned(w).accounts())),
}
OF_A_WHOLE_SWEEP: dict[str, tuple[int, Query]] = {
    # What it finds is marked as pending, so the queries above would find less.
    "all that it sends": (
        101,
        lambda w: sweep(w).run({FRONT: 0, OVERFLOW: 0}, lambda *_: None, lambda *_: None),
    ),
}
OF_CHANGED_ACCOUNTS: dict[str, tuple[int, Query]] = {
    "new accounts": (50, lambda w: w.changed_accounts.mark_items(50)),
    "items in other repos": (10, lambda w: w.changed_accounts.changes.mark_in_other_repos(*of(w))),
    "published items": (10, lambda w: w.changed_accounts.changes.mark_published(*of(w))),
    "items synced since": (
        20,
        lambda w: w.changed_accounts.changes.mark_synced_since(*of(w), now() - DAY),
    ),
}
TABLES = {
    "status": OF_STATUS,
    "page": OF_A_PAGE,
    "failures": OF_FAILURES,
    "sweep": OF_SWEEP,
    "run": OF_A_RUN,
    "backfill": OF_BACKFILL,
    "audit": OF_AN_AUDIT,
    "whole sweep": OF_A_WHOLE_SWEEP,
    "changed accounts": OF_CHANGED_ACCOUNTS,
}
QUERIES = {
    f"{table}: {name}": query
    for table, queries in TABLES.items()
    for name, query in queries.items()
}


@pytest.mark.parametrize("name", QUERIES)
def test_query_reads_what_it_is_about_and_no_more(watched: Watched, name: str) -> None:
    """By an index, and at most as many documents as the table allows."""
    most, query = QUERIES[name]
    with watched.explainer.listening() as explained:
        query(watched)
    assert explained
    assert not [each for each in explained if "COLLSCAN" in each.stages or each.documents > most]


def test_counts_go_by_index_whatever_older_programs_left(watched: Watched) -> None:
    """One array for a state, and an index no longer tells values: keys are counted all the same."""
    collection = watched.store.collection(MOOD)
    odd: list[object] = [[], [{"status": "synced"}], "published", None, {"status": 5}]
    collection.insert_many([{"_id": f"odd {n}", "atproto": state} for n, state in enumerate(odd)])
    try:
        with watched.explainer.listening() as explained:
            counts = watched.overview.counts(MOOD)
        assert [each for each in explained if each.documents] == []
        assert counts.total == 1005
    finally:
        collection.delete_many({"_id": {"$regex": "^odd"}})


def test_a_query_that_goes_through_a_collection_would_be_noticed(watched: Watched) -> None:
    """The stages of its plan say so, and how many documents it reads."""
    with watched.explainer.listening() as explained:
        watched.store.collection(MOOD).find_one({"mood": "none like this"})
        watched.store.collection(MOOD).count_documents({"mood": "none like this"})
        watched.store.collection(MOOD).update_many({"mood": "none like this"}, {"$set": {"a": 1}})
    assert [(each.command, "COLLSCAN" in each.stages) for each in explained] == [
        ("find", True),
        ("aggregate", True),
        ("update", True),
    ]
    assert {each.documents for each in explained} == {1000}


def sweep(watched: Watched) -> Sweep:
    """Return a sweep of all types, without a directory to ask."""
    return Sweep(
        watched.backlog,
        watched.accounts,
        watched.removals,
        FailedRemovals(watched.store, watched.removals),
        watched.changed_accounts,
        StaticPdsResolver(""),
        LIMITS,
        NULL_ALERTS,
    )


def unknown(watched: Watched, name: str) -> None:
    """Look for an account that does not exist, and for similar names."""
    with pytest.raises(UnknownAccountError, match="Did you mean 'h1'"):
        watched.accounts.resolve(name)


def owned(watched: Watched) -> OwnedDocuments:
    """Return the documents of a database by their owners, as an audit reads them."""
    return OwnedDocuments(watched.database, watched.store, watched.accounts)


def search(watched: Watched, kinds: Sequence[MediaType], text: str) -> list[Match]:
    """Search for items by whatever a text may be."""
    return Search(watched.store, watched.accounts, SITE, kinds).find(text)


def first(watched: Watched) -> DocumentId:
    """Return the id of a mood that failed."""
    return next(watched.failures.of(MOOD, limit=1)).ref.id


def after_first(watched: Watched) -> PageCursor:
    """Return the place in the list after the first mood that failed."""
    item = next(watched.failures.of(MOOD, "field_invalid", limit=1))
    return PageCursor(item.status, item.ref.id)


def of(watched: Watched) -> tuple[MediaType, Account]:
    """Return a type, and a user who has published items of it."""
    account = watched.accounts.find("auth0|u1")
    assert account is not None
    return MOOD, account


def settle(watched: Watched, item: DocumentId) -> None:
    """Have a run go over a mood, and leave it as it was."""
    document = watched.store.claim(MOOD, [item], holder="message", lease=100)
    assert isinstance(document, MediaDocument)
    watched.store.save(MOOD, document, document.state)
    watched.store.finish(MOOD, document, document.state)


def owners(watched: Watched, group: StatusGroup, *subjects: str) -> object:
    """Count what a backfill would enqueue of a status group, owner by owner, or of these alone."""
    return list(BackfillQueries(watched.store).owners(MOOD, group, subjects or None))


def failed(watched: Watched, codes: Sequence[str]) -> object:
    """Find the items to retry."""
    return list(BackfillQueries(watched.store).failed(MOOD, codes))


def documents(watched: Watched, group: StatusGroup, owner: str) -> object:
    """Find what a backfill would enqueue of an owner's documents."""
    return list(BackfillQueries(watched.store).documents(MOOD, group, owner))
