"""The indexes: that every query has one, and that they can be made over what is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.contract.items import MOOD, PAINTING, SECOND, give_account, save, settle, sweep
from tests.fixtures import Opener
from worker.clock import now
from worker.media import MEDIA_TYPES
from worker.services import Services
from worker.settings import Settings


@contextmanager
def profiled(here: Services) -> Iterator[list[Mapping[str, object]]]:
    """Have MongoDB note how it carries out every operation on documents; fills the list."""
    noted: list[Mapping[str, object]] = []
    names = {f"{here.database.name}.{kind.collection}" for kind in MEDIA_TYPES.values()}
    here.database.command("profile", 2)
    try:
        yield noted
    finally:
        here.database.command("profile", 0)
        noted += here.database["system.profile"].find({"ns": {"$in": sorted(names)}})
        here.database.drop_collection("system.profile")


def test_no_query_of_a_sweep_goes_through_a_whole_collection(here: Services) -> None:
    """Not with ten items, and so not with ten million."""
    give_account(here, "auth0|ada")
    for number in range(10):
        settle(here, save(here, item=number), retry_at=now() - SECOND)
    with profiled(here) as operations:
        sweep(here)
        skipped = here.backlog.skipped_of(PAINTING, ["auth0|ada", "art-guest"], 10)
    assert skipped == []
    plans = plans_of(operations)
    assert plans
    assert not [plan for plan in plans if "COLLSCAN" in plan]
    for field in ("atproto.retryAt", "atproto.status", "atproto.reason", "_id"):
        assert [plan for plan in plans if f"{{ {field}: 1" in plan], field


def test_no_query_of_a_run_goes_through_a_whole_collection(here: Services) -> None:
    """Claiming, saving, finishing, and finding who holds an rkey."""
    ref = save(here)
    with profiled(here) as operations:
        settle(here, ref, repo="did:plc:ada", rkey="here")
        here.store.find(MOOD, [ref.id])
        here.store.holder_of(MOOD, "did:plc:ada", "here")
    plans = plans_of(operations)
    assert len(plans) >= 4
    assert not [plan for plan in plans if "COLLSCAN" in plan]


def plans_of(operations: list[Mapping[str, object]]) -> list[str]:
    """Return the plans of the operations that had to look for documents."""
    return [str(operation["planSummary"]) for operation in operations if "planSummary" in operation]


def test_indexes_can_be_made_by_many_workers_at_once(
    settings: Settings, open_services: Opener
) -> None:
    """Every worker makes sure of them when it starts."""
    fresh = open_services(settings)
    start = threading.Barrier(4)

    def ensure(_: int) -> None:
        start.wait()
        fresh.ensure_indexes()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ensure, range(4)))
    names = {str(index["name"]) for index in fresh.store.collection(MOOD).list_indexes()}
    assert {"atproto_identity", "atproto_due", "atproto_unseen", "atproto_skipped"} <= names


def test_legacy_documents_do_not_stand_in_the_way_of_indexes(
    settings: Settings, open_services: Opener
) -> None:
    """Many without a state, and two with the same rkey but no repo."""
    fresh = open_services(settings)
    states: list[object] = [None, "x", {"rkey": "same"}, {"rkey": "same"}, {"rkey": None}, [], {}]
    fresh.store.collection(MOOD).insert_many([{"atproto": state} for state in states])
    fresh.ensure_indexes()
