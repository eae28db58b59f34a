"""How the platform stands, as Prometheus is told: from a real MongoDB and Redis."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from bson import ObjectId
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.failing import fail, pend
from tests.contract.items import save, settle
from worker.core.clock import now
from worker.core.documents import Status
from worker.core.net.client import ClientLimits
from worker.core.rate_limits import Cost, Rates, Resource
from worker.core.secrets import Secret
from worker.operations.watch.checkpoint import CheckpointStore, CheckpointUpdate
from worker.pds.rate_limiter import Workload
from worker.services import Services, build
from worker.services.timeouts import Timeouts
from worker.web.snapshots import StatusSnapshots

HOUR = timedelta(hours=1)


def on_queue(here: Services, url: str) -> Services:
    """Return the same platform with its queue at `url`, asked as the status page asks."""
    limits = replace(here.settings.pds, rates=Rates.parse("* points_hour=100"))
    settings = replace(here.settings, redis_url=Secret(url), pds=limits)
    patience = Timeouts(
        pds=4, redis=2, once=True, limits=ClientLimits(seconds=8, max_bytes=1_000_000)
    )
    return build(settings, timeouts=patience)


def told(here: Services, url: str) -> dict[tuple[str, ...], float]:
    """Return the figures of a platform whose queue is at `url`, by name and label values."""
    with closing(on_queue(here, url)) as services:
        text = StatusSnapshots(services).metrics().text().decode()
    return {
        (sample.name.removeprefix("media_atproto_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_documents_are_told_by_type_and_state(here: Services, queue_url: str) -> None:
    """Each state has a figure, though there is nothing in it."""
    settle(here, save(here), status=Status.SYNCED)
    save(here)
    figures = told(here, queue_url)
    assert figures["documents", "synced", "mood"] == 1
    assert figures["documents", "never", "mood"] == 1
    assert figures["documents", "failed", "mood"] == 0
    assert figures["documents", "synced", "painting"] == 0
    assert figures["up", "mongodb"] == 1


def test_the_oldest_pending_item_is_told_by_its_age(here: Services, queue_url: str) -> None:
    """From its first error; an item without one has no age, however old its document is."""
    pend(here, save(here, item=ObjectId.from_datetime(now() - HOUR)))
    assert told(here, queue_url)["oldest_pending_seconds", "mood"] == 0
    fail(here, status=Status.PENDING, failing_since=now() - HOUR)
    assert 3600 <= told(here, queue_url)["oldest_pending_seconds", "mood"] < 3900


def test_what_is_left_of_a_budget_is_told_where_least_is(here: Services, queue_url: str) -> None:
    """Of all accounts at a PDS one figure, and no account's name."""
    with closing(on_queue(here, queue_url)) as services:
        limiter = services.pds.rate_limiter.for_host("pds.example", Workload.LIVE)
        limiter.acquire("write", [Cost(Resource.POINTS, 30, "did:plc:ada")])
        limiter.acquire("write", [Cost(Resource.POINTS, 75, "did:plc:bob")])
    figures = told(here, queue_url)
    assert figures["budget_left_ratio", "points_hour", "pds.example"] == pytest.approx(0.25)
    assert not [key for key in figures if any("did:" in part for part in key)]


def test_queues_are_told(here: Services, queue_url: str) -> None:
    """As they are in Redis, those who wait behind included."""
    with redis.Redis.from_url(queue_url) as client:
        client.lpush("live", "{}", "{}")
        client.hset("unacked", "tag", "[]")
    figures = told(here, queue_url)
    assert figures["queue_messages", "live"] == 2
    assert figures["in_hand_messages",] == 1
    assert figures["parked_accounts",] == 0


def test_a_redis_that_is_away_leaves_the_documents_told(here: Services) -> None:
    """And says which part is missing."""
    figures = told(here, "redis://127.0.0.1:1/0")
    assert (figures["up", "mongodb"], figures["up", "redis"]) == (1, 0)
    assert figures["documents", "never", "mood"] == 0
    assert not [key for key in figures if key[0] == "queue_messages"]


def test_a_watch_is_told_by_when_it_last_moved(here: Services, queue_url: str) -> None:
    """Where there never was one, nothing is."""
    assert ("watch_age_seconds",) not in told(here, queue_url)
    CheckpointStore(here.storage.database).save(CheckpointUpdate({"_data": "82"}))
    figures = told(here, queue_url)
    assert 0 <= figures["watch_age_seconds",] < 60
    assert figures["watch_lag_seconds",] == 0
