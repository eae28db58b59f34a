"""Files are found under any of their candidate keys, and one request finds them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from tests.bulk import sync_batch
from tests.contract import web_faults as faults
from tests.contract.hooked_sources import with_blobs, with_sources
from tests.contract.source_stores import opened, put
from tests.contract.web_server import Site, serving
from tests.pictures import pixel_art
from tests.refusals import fails_with
from tests.world import World
from worker.core.clock import now
from worker.core.documents import Failure
from worker.files.store import SourceStore
from worker.files.thumbnail import ThumbnailSettings
from worker.media.source_keys import SourceRef
from worker.sync.batch.engine import BatchEngine
from worker.sync.source_files import find_file

FIRST, SECOND, THIRD = (SourceRef("b", ("u", "f", f"{number}.png")) for number in (1, 2, 3))
FILES = (FIRST, SECOND, THIRD)
_SOURCE = "atproto.blobs.thumbnail.source"


@pytest.fixture(params=["local", "web"])
def store(request: pytest.FixtureRequest) -> SourceStore:
    """Return each kind of store in turn."""
    chosen: SourceStore = request.getfixturevalue(request.param)
    return chosen


def test_the_first_existing_file_is_used(store: SourceStore, folder: Path) -> None:
    """In the order of the candidates, with its metadata."""
    put(folder, THIRD.key(), b"third")
    assert find_file(store, FILES, None).key == THIRD.key()
    put(folder, SECOND.key(), b"2")
    found = find_file(store, FILES, None)
    assert (found.ref, found.key, found.stat.size) == (SECOND, SECOND.key(), 1)


@pytest.mark.parametrize("known", [None, "u/f/3.png", "u/f/9.png", "/etc/passwd"])
def test_the_key_of_the_last_sync_is_requested_first(
    site: Site, web: SourceStore, known: str | None
) -> None:
    """Only if it is a candidate: it is never requested otherwise."""
    for ref in FILES:
        put(site.folder, ref.key(), b"x")
    expected = THIRD if known == THIRD.text else FIRST
    assert find_file(web, FILES, known).ref == expected
    assert site.server.requests == [("HEAD", f"/b/{expected.text}")]


def test_all_candidates_are_tried_if_the_key_of_the_last_sync_is_gone(
    site: Site, web: SourceStore
) -> None:
    """In their order, without a second request for that key."""
    put(site.folder, SECOND.key(), b"x")
    assert find_file(web, FILES, THIRD.text).ref == SECOND
    assert [path for _, path in site.server.requests] == [
        f"/b/{ref.text}" for ref in (THIRD, FIRST, SECOND)
    ]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_forbidden_key_is_no_obstacle(site: Site, web: SourceStore, status: int) -> None:
    """A bucket without list permission answers so for missing keys."""
    site.server.missing = status
    put(site.folder, THIRD.key(), b"x")
    assert find_file(web, FILES, None).ref == THIRD
    assert len(site.server.requests) == 3


@pytest.mark.parametrize("file", FILES[:2])
@pytest.mark.parametrize(
    ("status", "code"),
    [(500, "source_unavailable"), (401, "source_refused"), (429, "source_unavailable")],
)
def test_any_other_error_ends_the_search(
    site: Site, web: SourceStore, file: SourceRef, status: int, code: str
) -> None:
    """The file may be there: another one would be the wrong one."""
    put(site.folder, THIRD.key(), b"x")
    site.faults[file.path[-1]] = faults.status(status)
    with fails_with(code):
        find_file(web, FILES, None)
    assert len(site.server.requests) == FILES.index(file) + 1


def test_an_invalid_candidate_ends_the_search(store: SourceStore) -> None:
    """As a file of that name alone."""
    with fails_with("source_key_invalid"):
        find_file(store, (FIRST, SourceRef("b", ("..", "x"))), None)


def test_missing_files_are_listed(store: SourceStore) -> None:
    """Each key with its response."""
    listed = r"no file in bucket 'b': u/f/1.png \(missing\), u/f/2.png \(missing\), u/f/3.png \(m"
    with fails_with("source_missing", match=listed):
        find_file(store, FILES, None)


def test_one_forbidden_file_makes_it_an_error_of_permissions(site: Site, web: SourceStore) -> None:
    """The others are listed too, and the message says what 403 may mean."""
    site.faults["2.png"] = faults.status(403)
    listed = r"u/f/1.png \(missing\), u/f/2.png \(403\), u/f/3.png \(missing\); .* s3:ListBucket"
    with fails_with("source_forbidden", match=listed):
        find_file(web, FILES, None)


@pytest.mark.parametrize("count", [1, 2, 6, 12])
@pytest.mark.parametrize("letter", ["x", "é", "🎨"])
def test_the_list_of_responses_fits_a_saved_failure(
    web: SourceStore, site: Site, count: int, letter: str
) -> None:
    """The ends of long keys are kept, and so is the advice."""
    site.server.missing = 403
    name = letter * (255 // len(letter.encode()))
    files = [SourceRef("b" * 255, (name, name, f"{number}.png")) for number in range(count)]
    with fails_with("source_forbidden") as caught:
        find_file(web, files, None)
    saved = Failure.of(caught.value, now()).message
    assert saved == caught.value.message
    assert [saved.count(f"/{number}.png (403)") for number in range(count)] == [1] * count
    assert saved.endswith("for missing files")


@contextmanager
def served(world: World) -> Iterator[tuple[Site, BatchEngine]]:
    """Serve the files of a world over HTTP, to an engine and batches."""
    media = Path(world.environ["MEDIA_STORE_URL"].removeprefix("file://"))
    with serving(media) as site, opened(site.url) as sources:
        yield site, with_sources(world.services, world.services.sync.batches, sources)


def sync(world: World, batches: BatchEngine, type_name: str, item: ObjectId, path: str) -> str:
    """Sync an item by itself or in a batch, and return its status."""
    if path == "batch":
        (outcome,) = sync_batch(world, type_name, [item], batches=batches)
    else:
        outcome = world.sync(type_name, item, engine=batches.engine, force=True)
    return str(outcome.status)


def heads(site: Site) -> list[str]:
    """Return the ends of the paths that were asked for with HEAD, and forget all requests."""
    paths = [path for method, path in site.server.requests if method == "HEAD"]
    asked = [path.rpartition("%7C")[2].partition("/")[2] for path in paths]
    site.server.requests.clear()
    return asked


def edit(world: World, type_name: str, item: ObjectId) -> None:
    """Change a field of an item that has nothing to do with its files."""
    world.platform.edit(type_name, item, code=ObjectId().binary.hex()[-8:])


@pytest.mark.parametrize("path", ["single", "batch"])
@pytest.mark.parametrize("missing", [403, 404])
def test_later_syncs_request_the_keys_that_matched(world: World, path: str, missing: int) -> None:
    """The image is an older one, the recording is not; both are found with one request each."""
    slug = f"reused-{path}-{missing}"
    world.platform.store(f"{slug}.png", pixel_art(), world.ada)
    world.platform.store(f"{slug}.zip", b"PK", world.ada, "painting")
    item = world.platform.save_painting(slug, world.ada)
    with served(world) as (site, batches):
        site.server.missing = missing
        assert sync(world, batches, "painting", item, path) == "synced"
        assert heads(site) == [f"painting/{slug}.png", f"{slug}.png", f"painting/{slug}.zip"]
        state: dict[str, Any] = world.platform.state("painting", item)
        assert state["blobs"]["thumbnail"]["key"] == f"{world.ada}/{slug}.png"
        assert state["links"] == {"recordingUrl": f"{world.ada}/painting/{slug}.zip"}
        edit(world, "painting", item)
        assert sync(world, batches, "painting", item, path) == "synced"
        assert heads(site) == [f"{slug}.png", f"painting/{slug}.zip"]
    assert "recordingUrl" in world.record("painting", item)


@pytest.mark.parametrize("path", ["single", "batch"])
def test_a_file_that_moved_is_found_again(world: World, path: str) -> None:
    """The stored key is one of several."""
    slug = f"moved-{path}"
    image = world.platform.store(f"{slug}.png", pixel_art(), world.ada)
    item = world.platform.save_painting(slug, world.ada)
    with served(world) as (site, batches):
        assert sync(world, batches, "painting", item, path) == "synced"
        image.rename(world.platform.store(f"{slug}.png", b"", world.ada, "painting"))
        edit(world, "painting", item)
        heads(site)
        assert sync(world, batches, "painting", item, path) == "synced"
        assert heads(site)[:2] == [f"{slug}.png", f"painting/{slug}.png"]
    state: dict[str, Any] = world.platform.state("painting", item)
    assert state["blobs"]["thumbnail"]["key"] == f"{world.ada}/painting/{slug}.png"


@pytest.mark.parametrize("path", ["single", "batch"])
def test_a_forbidden_recording_that_was_never_seen_is_absent(world: World, path: str) -> None:
    """A bucket without list permission would make each painting without one `partial`."""
    slug = f"silent-{path}"
    world.platform.store(f"{slug}.png", pixel_art(), world.ada, "painting")
    item = world.platform.save_painting(slug, world.ada)
    with served(world) as (site, batches):
        site.server.missing = 403
        assert sync(world, batches, "painting", item, path) == "synced"
    assert world.platform.state("painting", item)["links"] == {"recordingUrl": None}
    assert "recordingUrl" not in world.record("painting", item)


@pytest.mark.parametrize("path", ["single", "batch"])
def test_a_forbidden_recording_that_was_seen_keeps_its_link(world: World, path: str) -> None:
    """The permission may have been lost; of another slug, nothing was seen."""
    slug = f"seen-{path}"
    world.platform.store(f"{slug}.png", pixel_art(), world.ada, "painting")
    recording = world.platform.store(f"{slug}.zip", b"PK", world.ada, "painting")
    item = world.platform.save_painting(slug, world.ada)
    with served(world) as (site, batches):
        assert sync(world, batches, "painting", item, path) == "synced"
        site.server.missing = 403
        recording.unlink()
        edit(world, "painting", item)
        assert sync(world, batches, "painting", item, path) == "partial"
        state: dict[str, Any] = world.platform.state("painting", item)
        assert state["error"]["code"] == "source_forbidden"
        assert state["links"] == {"recordingUrl": f"{world.ada}/painting/{slug}.zip"}
        assert "recordingUrl" in world.record("painting", item)
        world.platform.store(f"{slug}-2.png", pixel_art(), world.ada, "painting")
        world.platform.edit("painting", item, slug=f"{slug}-2")
        assert sync(world, batches, "painting", item, path) == "synced"
    assert "recordingUrl" not in world.record("painting", item)


@pytest.mark.parametrize("path", ["single", "batch"])
def test_a_thumbnail_is_kept_while_its_file_is_unchanged(world: World, path: str) -> None:
    """With other settings too, and if another program made it, until the file changes."""
    slug = f"kept-{path}"
    image = world.platform.store(f"{slug}.png", pixel_art(), world.ada, "painting")
    item = world.platform.save_painting(slug, world.ada)
    with served(world) as (_, ours):
        batches = ours
        assert sync(world, batches, "painting", item, path) == "synced"
        first: Any = world.platform.state("painting", item)["blobs"]
        assert "png" not in first["thumbnail"]["source"].rpartition("etag=")[2]
        world.services.media.thumbnails.forget(world.ada)
        blobs = copy(batches.publisher.attachments.blobs)
        blobs.thumbnails = ThumbnailSettings(size=64)
        batches = with_blobs(world.services, batches, blobs)
        for source in (first["thumbnail"]["source"], None):
            world.platform.edit("painting", item, **{_SOURCE: source})
            edit(world, "painting", item)
            assert sync(world, batches, "painting", item, path) == "synced"
            assert world.platform.state("painting", item)["blobs"] == first
        image.write_bytes(pixel_art((5, 5)))
        edit(world, "painting", item)
        assert sync(world, batches, "painting", item, path) == "synced"
    changed: Any = world.platform.state("painting", item)["blobs"]
    assert changed["thumbnail"]["cid"] != first["thumbnail"]["cid"]


PROGRAMS = {
    "JavaScript": "export const x = 1\n",
    "GIF": "GIF89a = 1; // a label",
    "SVG": '<svg xmlns="http://www.w3.org/2000/svg"/>',
    "PDF": "%PDF-1.7",
    "PostScript": "%!PS",
    "non-ASCII": "; ünï🎨",
}


@pytest.mark.parametrize("place", ["document", "mjs", "lisp", "lua"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_is_published_whatever_the_pds_takes_it_for(
    world: World, place: str, program: str
) -> None:
    """Its bytes are unchanged, from the document or from a file."""
    slug = f"p{ObjectId()}"
    item = world.platform.save_piece(slug, world.ada)
    if place == "document":
        world.platform.edit("piece", item, source=program)
    else:
        world.platform.store(f"{slug}.{place}", program.encode(), world.ada, "piece")
    assert world.sync("piece", item).status == "synced"
    record = world.record("piece", item)
    assert world.blob(world.dids[world.ada], record["source"]) == program.encode()
    state = world.platform.state("piece", item)
    assert world.sync("piece", item, force=True).status == "synced"
    assert world.platform.state("piece", item)["blobs"] == state["blobs"]


def test_the_source_in_the_document_comes_before_a_file(world: World) -> None:
    """No file is asked for; without it, the file is used."""
    slug = f"p{ObjectId()}"
    world.platform.store(f"{slug}.mjs", b"// file", world.ada, "piece")
    item = world.platform.save_piece(slug, world.ada)
    did = world.dids[world.ada]
    with served(world) as (site, batches):
        world.platform.edit("piece", item, source="// document")
        assert sync(world, batches, "piece", item, "single") == "synced"
        assert site.server.requests == []
        assert world.blob(did, world.record("piece", item)["source"]) == b"// document"
        world.platform.edit("piece", item, source=None)
        assert sync(world, batches, "piece", item, "single") == "synced"
    assert world.blob(did, world.record("piece", item)["source"]) == b"// file"


def test_a_guests_hostile_slug_reads_no_file(world: World) -> None:
    """The record is published without a thumbnail; the error names the slug."""
    world.platform.store("secret.png", pixel_art(), world.bob, "painting")
    slug = f"{world.bob}/painting/secret"
    item = world.platform.save_painting(slug, None)
    world.platform.edit("painting", item, bucket=world.services.media.site.user_bucket)
    with served(world) as (site, batches):
        assert sync(world, batches, "painting", item, "single") == "partial"
        assert site.server.requests == []
    error: Any = world.platform.state("painting", item)["error"]
    assert error["code"] == "source_key_invalid"
