"""What the status page asks of MongoDB at a million documents: `python -m bench.status_page`.

Starts services of its own and a real `media-atproto web`. All documents are of one type, and all
but a few were published within the last day, which is the most that the plots ever have to count.
Each figure stands beside the same counted by going through the documents, and beside a bare count
of as many index keys.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from bson import ObjectId

from bench.figures import Figure, Section
from bench.machine import machine_of
from bench.place import Place, open_place
from bench.processes import await_true
from bench.report import print_report
from worker.core.clock import now
from worker.core.documents import Status
from worker.database.backlog import PUBLISHED
from worker.database.mongo import RawDocument
from worker.media import MEDIA_TYPES, media_type
from worker.operations.status import Failures, ItemCounts, throughput
from worker.operations.status import PageCursor as ListPlace
from worker.web.snapshots import StatusSnapshots

_MANY, _FEW = 1_000_000, 5_000
_ROUNDS = 3
_TABS = 10
_CHUNK = 10_000
_DAY = timedelta(days=1)
_KIND = media_type("mood")
_LOGIN = ("bench", "password-of-the-bench")
_KEPT = 20  # pages of what is kept
_STARTUP = 60.0
_OTHERS = (Status.FAILED, Status.PARTIAL, Status.PENDING, Status.SKIPPED)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"with {_FEW} documents")
    number = _FEW if parser.parse_args().quick else _MANY
    with open_place(1) as place:
        machine = machine_of(place)
        _fill(place, number)
        sections = [_queries(place, number), _lists(place), _pages(place)]
    print_report(sys.stdout, machine, sections)


def _fill(place: Place, number: int) -> None:
    """Save moods, of a hundred one in each state but synced; make the indexes afterwards."""
    collection = place.services.store.collection(_KIND)
    documents = _documents(number)
    for indexes in list(collection.index_information()):
        if indexes != "_id_":
            collection.drop_index(indexes)
    while chunk := list(islice(documents, _CHUNK)):
        collection.insert_many(chunk, ordered=False)
    place.services.ensure_indexes()


def _documents(number: int) -> Iterator[RawDocument]:
    end = now()
    error = {"step": "document", "message": "a message", "permanent": True, "at": end}
    for place in range(number):
        at = end - _DAY * (place / number)
        state: RawDocument = {"status": "synced", "syncedAt": at, "repo": "did:plc:x"}
        state["rkey"] = f"k{place}"
        if place % 100 < len(_OTHERS):
            state["status"] = str(_OTHERS[place % 100])
            code = f"code_{place % 7 if place % 100 else 0}"
            state |= {"error": {**error, "code": code}, "reason": "no_account"}
        yield {"_id": ObjectId(), "mood": "calm", "when": at, "user": "auth0|a", "atproto": state}


def _queries(place: Place, number: int) -> Section:
    """Measure what the overview asks for, beside the same by documents and a bare count."""
    services = place.services
    collection = services.store.collection(_KIND)
    overview = ItemCounts(services.database, services.store)
    since: RawDocument = {"atproto.syncedAt": {"$gte": now() - 2 * _DAY}}
    minute = {"$dateTrunc": {"date": "$atproto.syncedAt", "unit": "minute"}}
    by_state = {"status": "$atproto.status", "code": "$atproto.error.code"}

    def scan(group: object, match: RawDocument) -> object:
        stages: list[dict[str, Any]] = [
            {"$match": match},
            {"$group": {"_id": group, "count": {"$sum": 1}}},
        ]
        return list(collection.aggregate(stages, hint={"$natural": 1}))

    whole = _seconds(lambda: StatusSnapshots(services).overview())
    counts = _seconds(lambda: overview.counts(_KIND))
    flow = _seconds(lambda: throughput(services.store, MEDIA_TYPES.values(), now()))
    keys = _seconds(lambda: collection.count_documents(since, hint=dict(PUBLISHED)))
    state_scan = _seconds(lambda: scan(by_state, {}))
    flow_scan = _seconds(lambda: scan(minute, since))
    by_scan, bare = "going through the documents", "a bare count of as many index keys"
    return Section(
        name="queries",
        title=f"What the overview asks for, of {number:,} documents",
        method=f"Median of {_ROUNDS} after one that does not count, in turn; nothing is kept.",
        figures=(
            Figure("whole picture", whole, "s", by_scan, state_scan + flow_scan),
            Figure("counts by state and reason", counts, "s", by_scan, state_scan),
            Figure("published by minute and hour", flow, "s", by_scan, flow_scan),
            Figure("published by minute and hour", flow, "s", bare, keys),
        ),
    )


def _lists(place: Place) -> Section:
    failures = Failures(place.services.database, place.services.store)
    every = [item.ref.id for item in failures.of(_KIND, "code_0") if item.status is Status.FAILED]
    passed = len(every) * 9 // 10
    last = ListPlace(Status.FAILED, every[passed - 1])
    first_page = _seconds(lambda: failures.page(_KIND, "code_0", None, 50)) * 1000
    last_page = _seconds(lambda: failures.page(_KIND, "code_0", last, 50)) * 1000
    label = f"page of 50 after {passed:,} items"
    return Section(
        name="lists",
        title="Lists of failures",
        method=f"Median of {_ROUNDS} after one that does not count.",
        figures=(Figure(label, last_page, "ms", "the first page", first_page),),
    )


def _pages(place: Place) -> Section:
    """Measure real pages, for one tab and for many at once; each process has nothing kept yet."""
    with _served(place) as client:
        alone, one = _measured(place, client, 1)
        kept = statistics.median(_seen(client) for _ in range(_KEPT))
    with _served(place) as client:
        slowest, many = _measured(place, client, _TABS)
    return Section(
        name="pages",
        title="The overview as a browser gets it",
        method=f"Real processes that have counted nothing yet; {_TABS} tabs that load at once.",
        figures=(
            Figure("page of what is kept, p50", kept * 1000, "ms", "of what is not", alone * 1000),
            Figure(f"slowest of {_TABS} tabs", slowest, "s", "one tab", alone),
            Figure(f"queries for {_TABS} tabs", many, "", "for one tab", one),
        ),
    )


def _measured(place: Place, client: httpx.Client, tabs: int) -> tuple[float, int]:
    """Load so many tabs at once; return the slowest's seconds, and how many queries there were."""
    before = _commands(place)
    with ThreadPoolExecutor(tabs) as pool:
        slowest = max(pool.map(lambda _: _seen(client), range(tabs)))
    return slowest, _commands(place) - before


def _seen(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.get("/").raise_for_status()
    return time.perf_counter() - began


@contextmanager
def _served(place: Place) -> Iterator[httpx.Client]:
    program = Path(sys.executable).with_name("media-atproto")
    place.processes.environment["WEB_BASIC_AUTH"] = ":".join(_LOGIN)
    popen, log = place.processes.start("web", str(program), "web", "--port", "0")
    try:
        await_true(lambda: "Serving " in log.read_text(), _STARTUP, "the page to be served")
        url = log.read_text().partition("Serving ")[2].strip()
        with httpx.Client(base_url=url, auth=_LOGIN, timeout=120, trust_env=False) as client:
            client.get("/static/style.css").raise_for_status()
            yield client
    finally:
        popen.terminate()
        popen.wait()


def _commands(place: Place) -> int:
    """Return how many aggregations MongoDB has carried out; counts are such as well."""
    told = place.services.database.client.admin.command("serverStatus")
    return int(told["metrics"]["commands"]["aggregate"]["total"])


def _seconds(call: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    once()
    return statistics.median(once() for _ in range(_ROUNDS))


if __name__ == "__main__":
    main()
