"""An unexpected exception of an image decoder: the record is published without its thumbnail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests import pictures, pngs
from tests.bulk import error_of, save_paintings, statuses, sync_batch
from tests.world import World
from worker.core.documents import Failure
from worker.files.thumbnail import ThumbnailSettings
from worker.sync.blobs import BlobBuilder
from worker.sync.engine import Engine
from worker.telemetry.alerts import AffectedItem, Alerts

# Each image raises TypeError, whatever its format is.
UNUSABLE = ThumbnailSettings(size="512")  # type: ignore[arg-type]


class Listener(Alerts):
    """Keeps the alerts of items."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Keep the code of a failure."""
        self.heard.append((item.id, failure.code))

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Keep the class of a new error."""
        if is_new:
            self.heard.append((item.id, type(error).__name__))


@pytest.fixture
def alerts() -> Listener:
    """Listen to alerts."""
    return Listener()


@pytest.fixture
def engine(world: World, alerts: Listener) -> Engine:
    """Return an engine whose decoder raises TypeError."""
    services = world.services
    publisher = services.sync.engine.publisher
    sources, cache = services.media.sources, services.media.thumbnails
    blobs = BlobBuilder(sources, cache, UNUSABLE, max_source_bytes=10_000_000)
    attachments = replace(publisher.attachments, blobs=blobs, alerts=alerts)
    publisher = replace(publisher, attachments=attachments)
    return replace(services.sync.engine, publisher=publisher, alerts=alerts)


@pytest.mark.parametrize("name", ["xmp", "exif", "transparency"])
def test_a_text_with_a_name_that_pillow_uses_prevents_no_record(world: World, name: str) -> None:
    """Pillow takes such texts for metadata, and raises TypeError."""
    text = pictures.chunk(b"iTXt", name.encode() + b"\0\0\0\0\0text")
    image = pngs.Kind(colour=2, depth=8).build({"IHDR": [text]})
    painting = world.publish_painting(f"text-{name}", image)
    assert "thumbnail" in world.record("painting", painting)


def test_a_record_is_published_without_its_thumbnail(
    world: World, engine: Engine, alerts: Listener
) -> None:
    """There is one alert, also after another attempt."""
    (painting,) = save_paintings(world, 1)
    for _ in range(2):
        outcome = engine.sync("painting", painting, holder="message", force=True)
        assert outcome.status == "partial"
    expected = ("partial", "thumbnail", "thumbnail_unexpected")
    assert error_of(world, "painting", painting) == expected
    assert "thumbnail" not in world.record("painting", painting)
    assert alerts.heard == [(str(painting), "TypeError")]


def test_the_thumbnail_follows_when_the_decoder_is_corrected(world: World, engine: Engine) -> None:
    """The item is synced again by hand, and is complete."""
    (painting,) = save_paintings(world, 1)
    engine.sync("painting", painting, holder="message")
    assert world.sync("painting", painting).status == "synced"
    assert "thumbnail" in world.record("painting", painting)


def test_a_batch_publishes_its_records_without_thumbnails(
    world: World, engine: Engine, alerts: Listener
) -> None:
    """There is one alert for each item."""
    paintings = save_paintings(world, 3)
    batches = world.services.sync.batches
    files = replace(batches.batch_files, attachments=engine.publisher.attachments)
    batches = replace(
        batches, publisher=engine.publisher, engine=engine, batch_files=files, alerts=alerts
    )
    outcomes = sync_batch(world, "painting", paintings, batches=batches)
    assert statuses(outcomes) == {"partial": 3}
    assert {error_of(world, "painting", item)[2] for item in paintings} == {"thumbnail_unexpected"}
    assert sorted(alerts.heard) == sorted((str(item), "TypeError") for item in paintings)
