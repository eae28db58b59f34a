"""The items that failed, as a person is told of them, from a real MongoDB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.contract.failing import fail
from tests.contract.items import MOOD, PAINTING, save, settle
from worker.core.clock import now
from worker.core.documents import Status
from worker.core.errors import PermanentError
from worker.operations.status import NO_CODE, FailedItem, Failures, ItemCounts, throughput
from worker.services import Services


@pytest.fixture
def listed(here: Services) -> Failures:
    """The failures of an empty database."""
    return Failures(here.storage.database, here.storage.store)


@pytest.fixture
def overview(here: Services) -> ItemCounts:
    """Its overview."""
    return ItemCounts(here.storage.database, here.storage.store)


def test_failed_items_are_listed_with_what_a_person_needs(here: Services, listed: Failures) -> None:
    """Whose it is by name, what went wrong where, since when, after how many attempts."""
    here.storage.database["@handles"].insert_one({"_id": "auth0|ada", "handle": "ada"})
    before = now()
    refs = [fail(here), fail(here, status=Status.PARTIAL), fail(here, save(here, PAINTING))]
    for settled in Status:
        if settled not in {Status.FAILED, Status.PARTIAL}:
            settle(here, save(here), status=settled)
    first, second = listed.of(MOOD)
    assert [first.ref, second.ref] == refs[:2]
    assert (first.status, second.status) == (Status.FAILED, Status.PARTIAL)
    assert (first.owner, first.handle, first.attempts) == ("auth0|ada", "ada", 1)
    assert first.error is not None
    assert (first.error.step, first.error.code) == ("document", "field_invalid")
    assert before <= first.error.at <= now()


@pytest.mark.parametrize("user", [None, "", "art-guest"])
def test_guests_items_are_the_guests(here: Services, listed: Failures, user: str | None) -> None:
    """However their documents say so; nobody has given the account a name."""
    fail(here, save(here, user=user))
    (item,) = listed.of(MOOD)
    assert (item.owner, item.handle) == ("art-guest", None)


def test_failures_can_be_asked_for_by_reason_and_up_to_a_limit(
    here: Services, listed: Failures
) -> None:
    """More than are read at a time, and none twice."""
    many = [fail(here, save(here, item=number)) for number in range(1, 601)]
    other = fail(here, code="worker_lost")
    assert [item.ref for item in listed.of(MOOD, "field_invalid")] == many
    assert [item.ref for item in listed.of(MOOD, "field_invalid", 3)] == many[:3]
    assert [item.ref for item in listed.of(MOOD, "worker_lost")] == [other]
    assert {item.ref for item in listed.of(MOOD)} == {*many, other}
    assert not list(listed.of(MOOD, "no_such_code"))


@pytest.mark.parametrize("error", [None, "text", {}, {"code": 7}])
def test_an_error_that_cannot_be_read_is_counted_as_one_without_a_code(
    here: Services, overview: ItemCounts, listed: Failures, error: object
) -> None:
    """It is a failure all the same, and is listed."""
    ref = save(here, atproto={"status": "failed", "error": error})
    assert overview.counts(MOOD).errors == {(NO_CODE, Status.FAILED): 1}
    for items in (listed.of(MOOD), listed.of(MOOD, NO_CODE)):
        assert [(item.ref, item.error) for item in items] == [(ref, None)]


def test_counting_and_listing_agree(here: Services, overview: ItemCounts, listed: Failures) -> None:
    """Whatever the items' codes are."""
    for code in ("field_invalid", "KeyError", "pds_refused"):
        for status in (Status.FAILED, Status.PARTIAL):
            fail(here, code=code, status=status)

    def key(item: FailedItem) -> tuple[str, Status]:
        return (item.error.code if item.error else NO_CODE, item.status)

    assert Counter(map(key, listed.of(MOOD))) == overview.errors(MOOD).errors


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        (
            "atproto_trouble",
            lambda here: ItemCounts(here.storage.database, here.storage.store).counts(MOOD),
        ),
        (
            "atproto_trouble",
            lambda here: list(Failures(here.storage.database, here.storage.store).of(MOOD)),
        ),
        ("atproto_published", lambda here: throughput(here.storage.store, [MOOD], now())),
    ],
    ids=["counts", "failures", "throughput"],
)
def test_missing_index_is_named(
    here: Services, index: str, ask: Callable[[Services], object]
) -> None:
    """The query is not sent: it would read every document."""
    here.storage.store.collection(MOOD).drop_index(index)
    try:
        with pytest.raises(PermanentError, match="run media-atproto init"):
            ask(here)
    finally:
        here.ensure_indexes()
