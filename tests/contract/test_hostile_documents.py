"""Documents that are anything but right: each published or refused, none in its neighbours' way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import pytest
from bson import ObjectId

from tests.bulk import account, repo
from tests.contract.hostile_documents import NOTHING, Case, cases
from tests.contract.items import MOOD
from tests.contract.wiping import swept
from tests.world import JsonRecord, World, Worlds
from worker.core.ids import as_document_id, message_id
from worker.database.mongo import DocumentFullError, RawDocument
from worker.database.state import mapping
from worker.operations.audit.run import open_audit
from worker.operations.backfill.planner import BackfillPlanner, Scope
from worker.operations.status.counts import ItemCounts
from worker.operations.status.failures import Failures
from worker.sync.batch.engine import BatchRequest


@dataclass(frozen=True)
class Place:
    """A world, the hostile documents in it, and moods that are as they should be."""

    world: World
    way: str
    cases: list[Case]
    neighbours: list[ObjectId]

    def state(self, case: Case) -> RawDocument:
        """Return what a case's `atproto` says."""
        moods = self.world.services.storage.store.collection(MOOD)
        found = moods.find_one({"_id": {"$eq": case.id}}, {"atproto": 1}) or {}
        return mapping(found.get("atproto"))

    def records(self) -> dict[object, JsonRecord]:
        """Return the records of all moods, by what they name."""
        listed = repo(self.world, self.world.ada).records(MOOD.nsid)
        return {record.value["ref"]: dict(record.value) for record in listed}


def sweep(world: World) -> None:
    """Sweep, and sync what is found as workers do, until nothing is due."""
    for _ in range(2):
        for ref in swept(world):
            # As of a task: this ends in the worker's log.
            with suppress(DocumentFullError):
                world.services.sync.engine.sync(ref.type, message_id(ref.id), holder=uuid4().hex)


def backfill(world: World) -> None:
    """Sync everything in batches; a batch that fails would raise."""
    for batch in BackfillPlanner.of(world.services).batches(Scope([MOOD])):
        ids = [message_id(item) for item in batch.ids]
        world.services.sync.batches.sync(BatchRequest(MOOD, batch.owner, ids, uuid4().hex))


@pytest.fixture(scope="module", params=[sweep, backfill])
def place(worlds: Worlds, request: pytest.FixtureRequest) -> Iterator[Place]:
    """Publish hostile documents and their neighbours in each way."""
    publish: Callable[[World], None] = request.param
    with worlds.open(SWEEP_GRACE_SECONDS="0") as world:
        moods = world.services.storage.store.collection(MOOD)
        every, neighbours = list(cases(world.ada)), []
        for number, case in enumerate(every):
            moods.insert_one(case.raw)
            if number % 10 == 0:
                neighbours.append(world.platform.save_mood(f"neighbour {number}", world.ada))
        publish(world)
        yield Place(world, publish.__name__, every, neighbours)


def test_the_neighbours_of_hostile_documents_are_published(place: Place) -> None:
    """All of them, whatever is before, between and after them."""
    states = [place.world.platform.state("mood", item) for item in place.neighbours]
    assert {str(state["status"]) for state in states} == {"synced"}


def test_each_hostile_document_is_published_or_refused_by_field(place: Place) -> None:
    """What is published says what the document says; a refusal names the field."""
    records = place.records()
    judged = [case for case in place.cases if place.way not in case.blind]
    wrong = {
        case.name: said
        for case in judged
        if not is_right(case, said := place.state(case), records.get(str(as_document_id(case.id))))
    }
    assert wrong == {}


def is_right(case: Case, state: RawDocument, record: JsonRecord | None) -> bool:
    """Tell whether a case ended as it should."""
    if case.refused == NOTHING:
        return state == {}
    if case.refused:
        error = mapping(state.get("error"))
        return record is None and case.refused in f"{state.get('reason')} {error.get('message')}"
    held = {name: (record or {}).get(name) for name in case.record or {}}
    return state.get("status") == "synced" and record is not None and held == (case.record or {})


def test_counts_and_lists_of_failures_go_on(place: Place) -> None:
    """Over every kind of state."""
    services = place.world.services
    counts = ItemCounts(services.storage.database, services.storage.store).counts(MOOD)
    assert counts.total == len(place.cases) + len(place.neighbours)
    failures = list(Failures(services.storage.database, services.storage.store).of(MOOD))
    failed = {"atproto.status": {"$in": ["failed", "partial"]}}
    assert len(failures) == services.storage.store.collection(MOOD).count_documents(failed)


def test_an_audit_goes_on(place: Place) -> None:
    """It finds nothing wrong but with what could not be looked at, or noted."""
    services = place.world.services
    with open_audit(services, [MOOD]) as rounds:
        audited = rounds.of_account(account(place.world, place.world.ada))
        others = rounds.of_others()
    assert audited.audit.failure is None
    unnoted = [c.id for c in place.cases if place.way in c.blind or c.refused == NOTHING]
    findings = [*audited.audit.findings, *others.audit.findings]
    assert [f for f in findings if not f.document or f.document.ref.id not in unnoted] == []
