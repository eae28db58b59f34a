"""Each run over an item is logged once and counted once.

Nothing delivers a message twice here; workers, which may, are tested in
tests/acceptance/test_metrics.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing

import pytest
from prometheus_client import CollectorRegistry

from tests.environments import new_settings
from tests.fixtures import platform_of, sign_up
from tests.pictures import pixel_art
from worker.dev.stack import Stack
from worker.services import Services, build
from worker.telemetry.prometheus import PrometheusMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    """Return a registry in which nothing is counted yet."""
    return CollectorRegistry()


@pytest.fixture
def counting(stack: Stack, registry: CollectorRegistry) -> Iterator[Services]:
    """Return services that count in the registry."""
    with closing(build(new_settings(stack), metrics=PrometheusMetrics(registry))) as services:
        yield services
        services.storage.database.client.drop_database(services.storage.database.name)


def test_each_run_is_logged_and_counted_once(
    counting: Services, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A painting that is published, and a mood that is too long."""
    platform = platform_of(counting)
    user = sign_up(platform).subject
    platform.store("counted.png", pixel_art(), user)
    items = {
        "painting": platform.save_painting("counted", user),
        "mood": platform.save_mood("z" * 5001, user),
    }
    with caplog.at_level(logging.INFO, logger="worker.sync.item_log"):
        for type_name, item in items.items():
            counting.sync.engine.sync(type_name, str(item), holder="message")

    lines = [each for each in caplog.records if each.name == "worker.sync.item_log"]
    assert [(each.levelname, each.getMessage()) for each in lines] == [
        ("INFO", "item synced"),
        ("WARNING", "item failed"),
    ]
    published = {"type": "painting", "lane": "live"}
    samples: list[tuple[str, dict[str, str]]] = [
        ("items_total", {**published, "outcome": "synced"}),
        ("save_to_record_seconds_count", published),
        ("items_total", {"type": "mood", "lane": "live", "outcome": "failed"}),
        ("failures_total", {"type": "mood", "code": "lexicon_violation"}),
        ("pds_calls_total", {"method": "com.atproto.repo.putRecord", "status": "200"}),
        ("pds_calls_total", {"method": "com.atproto.repo.uploadBlob", "status": "200"}),
        ("blobs_total", {}),
    ]
    counts = [registry.get_sample_value(f"media_atproto_{name}", of) for name, of in samples]
    assert counts == [1] * len(samples)
    blobs = platform.state("painting", items["painting"])["blobs"]
    assert isinstance(blobs, dict)
    size = registry.get_sample_value("media_atproto_blob_bytes_total")
    assert size == blobs["thumbnail"]["size"]


def test_a_partial_item_counts_as_a_retry_while_it_is_retried(
    counting: Services, registry: CollectorRegistry
) -> None:
    """A failure is counted once no retry follows; each item has one first publication."""
    platform = platform_of(counting)
    painting = platform.save_painting("never-arrived", sign_up(platform).subject)
    for holder in ("first", "second"):
        counting.sync.engine.sync("painting", str(painting), holder=holder)
    missing = {"type": "painting", "code": "source_missing"}
    assert registry.get_sample_value("media_atproto_retries_total", missing) == 2
    assert registry.get_sample_value("media_atproto_failures_total", missing) is None
    published = {"type": "painting", "lane": "live"}
    count = registry.get_sample_value("media_atproto_save_to_record_seconds_count", published)
    assert count == 1
