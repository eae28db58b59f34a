"""The thumbnail cache against a real MongoDB."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from pymongo import MongoClient
from pymongo.collection import Collection

from tests import pictures
from worker.core.cid import cid_of_blob
from worker.core.errors import TransientError
from worker.database.mongo import RawDocument
from worker.database.thumbnail_cache import (
    COLLECTION,
    INDEXES,
    ThumbnailCache,
    ThumbnailCacheUnavailableError,
)
from worker.files.thumbnail import Thumbnail, ThumbnailSettings, make_thumbnail
from worker.services import Services

SETTINGS = ThumbnailSettings(size=32)
IDENTITY = 'https://media.example/paintings/auth0%7C5f/slug.png etag="1"'
OWNER = "auth0|5f"

Entries = Collection[RawDocument]


@pytest.fixture
def cache(here: Services) -> ThumbnailCache:
    """Return a cache that is empty."""
    return here.media.thumbnails


@pytest.fixture
def entries(here: Services) -> Entries:
    """Return the collection of its entries."""
    return here.storage.database[COLLECTION]


@pytest.fixture(scope="module")
def thumbnail() -> Thumbnail:
    """Return a thumbnail as it is made."""
    return make_thumbnail(pictures.photo(), SETTINGS)


def test_what_was_put_is_got(cache: ThumbnailCache, thumbnail: Thumbnail) -> None:
    """The same thumbnail, with the CID it will have as a blob."""
    assert cache.get(IDENTITY, SETTINGS) is None
    put = cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER)
    assert cache.get(IDENTITY, SETTINGS) == put
    assert (put.thumbnail, put.cid) == (thumbnail, cid_of_blob(thumbnail.data))


def test_an_entry_says_what_it_is_of_and_whose(
    cache: ThumbnailCache, entries: Entries, thumbnail: Thumbnail
) -> None:
    """For the operator, and for erasure."""
    cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER)
    entry = entries.find_one() or {}
    created = entry.pop("createdAt")
    assert isinstance(created, datetime)
    assert created <= datetime.now(UTC)
    assert len(str(entry.pop("_id"))) == 64
    assert entry == {
        "data": thumbnail.data,
        "mimeType": "image/jpeg",
        "size": len(thumbnail.data),
        "cid": cid_of_blob(thumbnail.data),
        "source": IDENTITY,
        "owner": OWNER,
    }


def test_other_versions_and_settings_have_entries_of_their_own(
    cache: ThumbnailCache, thumbnail: Thumbnail
) -> None:
    """A change of the image or of the recipe never finds an old thumbnail."""
    cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER)
    assert cache.get(IDENTITY + "2", SETTINGS) is None
    assert cache.get(IDENTITY, ThumbnailSettings(size=64)) is None
    assert cache.get(IDENTITY, ThumbnailSettings(size=32, background=(1, 1, 1))) is None
    assert cache.get(IDENTITY, ThumbnailSettings(size=32, max_pixels=5)) is not None


def test_writers_at_the_same_moment_leave_one_entry(
    cache: ThumbnailCache, entries: Entries, thumbnail: Thumbnail
) -> None:
    """Neither of them fails, however often they meet."""

    def put(number: int) -> str:
        return cache.put(f"{IDENTITY}{number // 8}", SETTINGS, thumbnail, owner=OWNER).cid

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(put, range(160)))) == 1
    assert entries.count_documents({}) == 20


@pytest.mark.parametrize(
    "damage",
    [
        {"data": b"other bytes"},
        {"data": "text"},
        {"size": 5},
        {"cid": "bafkrei"},
        {"mimeType": None},
        {"data": b"", "size": 0},
    ],
)
def test_a_damaged_entry_is_no_entry_and_is_replaced(
    cache: ThumbnailCache, entries: Entries, thumbnail: Thumbnail, damage: dict[str, object]
) -> None:
    """Bytes that are not those of the CID are never uploaded."""
    cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER)
    entries.update_one({}, {"$set": damage})
    assert cache.get(IDENTITY, SETTINGS) is None
    cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER)
    assert cache.get(IDENTITY, SETTINGS) is not None


def test_an_owner_is_forgotten_and_no_one_else(
    cache: ThumbnailCache, entries: Entries, thumbnail: Thumbnail
) -> None:
    """The number that is returned is that of the entries that are gone."""
    for number in range(3):
        cache.put(f"{IDENTITY}{number}", SETTINGS, thumbnail, owner=OWNER)
    cache.put(f"{IDENTITY}3", SETTINGS, thumbnail, owner="auth0|other")
    assert cache.forget(OWNER) == 3
    assert cache.forget(OWNER) == 0
    assert [entry["owner"] for entry in entries.find()] == ["auth0|other"]


def test_thumbnails_are_discarded_by_the_cids_of_their_blobs(
    cache: ThumbnailCache, entries: Entries, thumbnail: Thumbnail
) -> None:
    """Under all settings; other images stay."""
    other = make_thumbnail(pictures.photo("PNG"), ThumbnailSettings(size=16))
    for identity in (IDENTITY, f"{IDENTITY}2"):
        put = cache.put(identity, SETTINGS, thumbnail, owner=OWNER)
    kept = cache.put(f"{IDENTITY}3", SETTINGS, other, owner=OWNER)
    cache.discard([])
    cache.discard([put.cid, "bafkreinone"])
    assert entries.distinct("cid") == [kept.cid]


def test_thumbnails_expire_after_a_month(
    cache: ThumbnailCache, entries: Entries, thumbnail: Thumbnail
) -> None:
    """MongoDB deletes them, within a minute after that, whatever became of their records."""
    cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER)
    index = entries.index_information()["expiry"]
    assert (index["key"], index["expireAfterSeconds"]) == ([("createdAt", 1)], 30 * 86_400)
    assert entries.count_documents({"createdAt": {"$type": "date"}}) == 1


def test_forgetting_uses_an_index(cache: ThumbnailCache, entries: Entries) -> None:
    """However many entries others have; asking for the indexes again does nothing."""
    entries.create_indexes(list(INDEXES))
    plan = str(entries.find({"owner": OWNER}).explain())
    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan


def test_without_the_database_thumbnails_are_neither_found_nor_saved(
    thumbnail: Thumbnail, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so without the address of the server; only erasure raises an error."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"mongodb://user:secret@127.0.0.1:{unused.getsockname()[1]}"
        with MongoClient[RawDocument](url, serverSelectionTimeoutMS=50) as client:
            cache = ThumbnailCache(client["media"]["thumbnails"])
            assert cache.get(IDENTITY, SETTINGS) is None
            assert cache.put(IDENTITY, SETTINGS, thumbnail, owner=OWNER).thumbnail == thumbnail
            with pytest.raises(ThumbnailCacheUnavailableError, match="ServerSelection") as caught:
                cache.forget(OWNER)
            with pytest.raises(ThumbnailCacheUnavailableError):
                cache.discard(["bafkrei"])
    assert isinstance(caught.value, TransientError)
    assert caught.value.code == "thumbnail_cache_unavailable"
    assert caplog.text.count("ServerSelectionTimeoutError") == 2
    assert "127.0.0.1" not in caught.value.message + caplog.text
