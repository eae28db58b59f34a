"""What blobs are made of, and how much of it a process holds at once."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from threading import Barrier, Lock
from typing import cast

import pytest
from bson import ObjectId
from PIL import Image

from tests import pictures
from tests.refusals import fails_with
from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.documents import Account, BlobState, Failure, ItemRef, MediaDocument, SyncState
from worker.core.errors import MediaError, PermanentError
from worker.core.fields import Fields
from worker.core.secrets import Secret
from worker.database.store import DocumentStore
from worker.database.thumbnail_cache import CachedThumbnail
from worker.files.location import StoreLocation
from worker.files.opening import open_store
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore
from worker.files.thumbnail import Thumbnail, ThumbnailSettings
from worker.media import SiteUrls, media_type
from worker.media.base import BlobSpec, BlobTransform
from worker.media.source_keys import SourceRef
from worker.media.validation import BlobRule, load_lexicons
from worker.sync.attachments import AttachmentBuilder
from worker.sync.blobs import BlobBuilder, Content
from worker.sync.run import Run
from worker.telemetry.alerts import NULL_ALERTS

LIMIT = 400_000
RULE = BlobRule(("*/*",), 100_000)


class Watched(SourceStore):
    """A real folder; tells what is read, and counts bytes until their thumbnail is kept."""

    def __init__(self, folder: Path, stat: Callable[[SourceStat], SourceStat]) -> None:
        template = StoreLocation.parse(folder.as_uri())
        self._store = open_store(template, deadline=10)
        self._stat = stat
        self._lock = Lock()
        self.limits: list[int] = []
        self.held = self.most = 0
        self.together: Barrier | None = None

    def stat(self, key: SourceKey) -> SourceStat:
        """Look at a file, as the test would have it."""
        return self._stat(self._store.stat(key))

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Read a file, and count it."""
        self.limits.append(max_bytes)
        file = self._store.read(key, max_bytes=max_bytes)
        with self._lock:
            self.held += len(file.data)
            self.most = max(self.most, self.held)
        if self.together:
            self.together.wait(timeout=60)
        return file

    def close(self) -> None:
        """Close the folder."""

    def get(self, identity: str, settings: ThumbnailSettings) -> CachedThumbnail | None:
        """Have no thumbnail."""
        return None

    def put(
        self, identity: str, settings: ThumbnailSettings, thumbnail: Thumbnail, *, owner: str
    ) -> CachedThumbnail:
        """Take a thumbnail: its file has been let go."""
        with self._lock:
            self.held = 0
        return CachedThumbnail.of(thumbnail)


def opened(
    folder: Path, stat: Callable[[SourceStat], SourceStat] = lambda told: told
) -> tuple[Watched, BlobBuilder]:
    """Return a folder that is watched, and a maker of blobs over it."""
    watched = Watched(folder, stat)
    return watched, BlobBuilder(watched, watched, ThumbnailSettings(size=8), max_source_bytes=LIMIT)


def save(folder: Path, name: str, size: int) -> BlobSpec:
    """Store an image of so many bytes; return the wish for its thumbnail."""
    extra = pictures.chunk(b"prVt", bytes(size))
    image = pictures.png((1, 1), depth=8, colour=0, rows=struct.pack("2B", 0, 9), extra=extra)
    path = folder / "bucket" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(image[-size:] if len(image) < size else image)
    return BlobSpec((SourceRef("bucket", (name,)),), BlobTransform.THUMBNAIL)


def make(maker: BlobBuilder, wishes: list[BlobSpec]) -> list[Content | BlobState]:
    """Make blobs, each in a thread."""
    with ThreadPoolExecutor(len(wishes)) as pool:
        return list(pool.map(lambda wish: maker.prepare(wish, RULE, BlobState(), "me"), wishes))


def test_large_images_are_held_one_after_the_other(tmp_path: Path) -> None:
    """However many threads there are, files have no more room than one may need."""
    wishes = [save(tmp_path, f"{number}.png", 250_000) for number in range(6)]
    watched, maker = opened(tmp_path)
    made = make(maker, wishes)
    assert all(isinstance(content, Content) for content in made)
    assert watched.most <= LIMIT


def test_small_images_are_read_at_once(tmp_path: Path) -> None:
    """The store takes its time for each: none begins to be decoded before all are here."""
    wishes = [save(tmp_path, f"{number}.png", 90_000) for number in range(4)]
    watched, maker = opened(tmp_path)
    watched.together = Barrier(4)
    make(maker, wishes)
    assert watched.most > 3 * 90_000


def test_an_image_that_grows_is_tried_again(tmp_path: Path) -> None:
    """It is not read beyond the room that was made for it."""
    wish = save(tmp_path, "grows.png", 1000)
    watched, maker = opened(tmp_path, lambda told: SourceStat(told.identity, 10))
    with fails_with("source_unavailable", match="grown"):
        maker.prepare(wish, RULE, BlobState(), "me")
    assert watched.limits == [10]


def test_a_file_that_its_lexicon_does_not_allow_is_not_read(tmp_path: Path) -> None:
    """A batch holds many until they are sent."""
    save(tmp_path, "large.mjs", 150_000)
    wish = BlobSpec((SourceRef("bucket", ("large.mjs",)),), BlobTransform.AS_IS)
    watched, maker = opened(tmp_path)
    with pytest.raises(PermanentError, match="its lexicon allows 100000"):
        maker.prepare(wish, RULE, BlobState(), "me")
    assert watched.limits == []
    unsure, maker = opened(tmp_path, lambda told: SourceStat(told.identity, None))
    with pytest.raises(PermanentError, match="its lexicon allows 100000"):
        maker.prepare(wish, RULE, BlobState(), "me")
    assert unsure.limits == [100_000]


ADOPTED = BlobState("bafyforeign", "image/png", 9)


@pytest.mark.parametrize("knows_versions", [True, False])
def test_a_thumbnail_of_another_program_is_kept(tmp_path: Path, *, knows_versions: bool) -> None:
    """With its bytes; from then on it is one of this version of the file."""
    wish = save(tmp_path, "theirs.png", 1000)
    known = (lambda told: told) if knows_versions else (lambda told: SourceStat(None, told.size))
    _, maker = opened(tmp_path, known)
    kept = maker.prepare(wish, RULE, ADOPTED, "me")
    assert isinstance(kept, BlobState)
    assert kept.source
    assert kept == replace(ADOPTED, source=kept.source, key="theirs.png")
    save(tmp_path, "theirs.png", 2000)
    assert isinstance(maker.prepare(wish, RULE, kept, "me"), Content)


def test_a_file_that_another_program_uploaded_is_compared(tmp_path: Path) -> None:
    """It is kept if its bytes are the same, and uploaded if they are not."""
    save(tmp_path, "theirs.mjs", 1000)
    wish = BlobSpec((SourceRef("bucket", ("theirs.mjs",), "text/plain"),), BlobTransform.AS_IS)
    _, maker = opened(tmp_path)
    content = maker.prepare(wish, RULE, ADOPTED, "me")
    assert isinstance(content, Content)
    assert (content.mime_type, content.key) == ("text/plain", "theirs.mjs")
    same = replace(ADOPTED, cid=cid_of_blob(content.data))
    kept = replace(same, source=content.source, key="theirs.mjs")
    assert maker.prepare(wish, RULE, same, "me") == kept


def test_a_text_in_the_document_is_compared_without_a_file(tmp_path: Path) -> None:
    """A key and an error of an earlier file are gone."""
    wish = BlobSpec((), BlobTransform.AS_IS, "text/javascript", "export {}")
    watched, maker = opened(tmp_path)
    content = maker.prepare(wish, RULE, ADOPTED, "me")
    assert content == Content(b"export {}", "text/javascript", "document")
    failure = Failure("source", "source_missing", "no file", permanent=False, at=now())
    earlier = replace(ADOPTED, cid=cid_of_blob(b"export {}"), key="a.mjs", error=failure)
    kept = maker.prepare(wish, RULE, earlier, "me")
    assert kept == replace(earlier, source="document", key=None, error=None)
    assert watched.limits == []


def test_an_error_that_is_kept_holds_no_file(tmp_path: Path) -> None:
    """Its frames would: a batch keeps its errors until the end."""
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "broken.png").write_bytes(b"no image")
    fields = {"slug": "broken", "code": "abc", "bucket": "bucket", "when": datetime.now(UTC)}
    kind, item = media_type("painting"), ItemRef("painting", ObjectId())
    document = MediaDocument(
        item,
        "art-guest",
        is_guest=True,
        hidden=None,
        fields=Fields(fields),
        state=SyncState(),
    )
    account = Account("art-guest", "did:plc:a", "guests.test", Secret("x"))
    draft = kind.draft(document, account, SiteUrls("https://a.example", "users", "guests"))
    run = Run(cast("DocumentStore", None), kind, document)
    _, maker = opened(tmp_path)
    error = AttachmentBuilder(maker, load_lexicons(), NULL_ALERTS).prepare(run, draft)["thumbnail"]
    assert isinstance(error, MediaError)
    assert error.code == "image_unreadable"
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


def test_a_new_recipe_keeps_the_thumbnail_of_an_unchanged_file(tmp_path: Path) -> None:
    """Whether the store names the version of a file, or it must be read for it."""
    spec = save(tmp_path, "kept.png", 1000)
    for stat in (lambda told: told, lambda told: SourceStat(None, told.size)):
        _, builder = opened(tmp_path, stat)
        known = known_blob(builder.prepare(spec, RULE, BlobState(), "me"))
        watched, larger = Watched(tmp_path, stat), ThumbnailSettings(size=16)
        other = BlobBuilder(watched, watched, larger, max_source_bytes=LIMIT)
        assert other.prepare(spec, RULE, known, "me") == known


@pytest.mark.parametrize("only", ["image/png", "image/jpeg"])
def test_a_thumbnail_has_a_format_that_the_lexicon_accepts(tmp_path: Path, only: str) -> None:
    """Whatever the image is: a black pixel would be a PNG, a photograph a JPEG."""
    spec = save(tmp_path, "pixel.png", 1000)
    photo = tmp_path / "bucket" / "photo.png"
    photo.write_bytes(pictures.photo("PNG", (40, 30)))
    wishes = [spec, BlobSpec((SourceRef("bucket", ("photo.png",)),), BlobTransform.THUMBNAIL)]
    _, builder = opened(tmp_path)
    rule = BlobRule((only,), 100_000)
    for wish in wishes:
        content = builder.prepare(wish, rule, BlobState(), "me")
        assert isinstance(content, Content)
        with Image.open(BytesIO(content.data)) as image:
            assert image.get_format_mimetype() == content.mime_type == only


def known_blob(content: Content | BlobState) -> BlobState:
    """Return the state of content that was uploaded."""
    assert isinstance(content, Content)
    cid = cid_of_blob(content.data)
    return BlobState(cid, content.mime_type, len(content.data), content.source, key=content.key)
