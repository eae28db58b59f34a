"""What every store promises: the same tests over a folder and over a web server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.contract.source_stores import ENOUGH, GUEST, KEY, assert_fails, put
from tests.refusals import fails_with
from worker.files.store import SourceKey, SourceStore


@pytest.fixture(params=["local", "web"])
def store(request: pytest.FixtureRequest) -> SourceStore:
    """Return each kind of store in turn."""
    chosen: SourceStore = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(300_000)])
def test_a_file_is_read_as_it_was_uploaded(store: SourceStore, folder: Path, data: bytes) -> None:
    """Byte for byte, under the identity and the size that stat gives."""
    put(folder, KEY, data)
    file, status = store.read(KEY, max_bytes=ENOUGH), store.stat(KEY)
    assert file.data == data
    assert (status.identity, status.size) == (file.identity, len(data))


def test_users_and_guests_have_files_of_their_own(store: SourceStore, folder: Path) -> None:
    """The same bucket and name, with and without an owner."""
    put(folder, KEY, b"user")
    put(folder, GUEST, b"guest")
    assert store.read(KEY, max_bytes=ENOUGH).data == b"user"
    assert store.read(GUEST, max_bytes=ENOUGH).data == b"guest"
    assert store.stat(KEY).identity != store.stat(GUEST).identity


@pytest.mark.parametrize(
    "name", ["a b.png", "a?b#c.png", "100%.png", "a&b=c+d;e@f:g.png", "ü🎨.png", "~x'(1)!*.png"]
)
def test_reserved_characters_in_a_name_are_carried(
    store: SourceStore, folder: Path, name: str
) -> None:
    """What means something in a URL means nothing in a name."""
    key = SourceKey("paintings", ("google-oauth2|1", name))
    put(folder, key, name.encode())
    assert store.read(key, max_bytes=ENOUGH).data == name.encode()


def test_another_version_has_another_identity(store: SourceStore, folder: Path) -> None:
    """Even one of the same size."""
    path = put(folder, KEY, b"one")
    before = store.stat(KEY).identity
    assert store.stat(KEY).identity == before
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert store.stat(KEY).identity not in {before, None}
    assert store.read(KEY, max_bytes=ENOUGH).identity == store.stat(KEY).identity


def test_a_missing_file_is_transient(store: SourceStore) -> None:
    """Its upload may still be on the way."""
    assert_fails(store, "source_missing")
    assert store.exists(KEY) is False


def test_an_uploaded_file_exists(store: SourceStore, folder: Path) -> None:
    """An empty one, too."""
    put(folder, KEY, b"")
    assert store.exists(KEY) is True


def test_a_file_above_the_limit_is_refused(store: SourceStore, folder: Path) -> None:
    """At the limit it is read; above, the error has both numbers."""
    put(folder, KEY, b"x" * 1000)
    assert len(store.read(KEY, max_bytes=1000).data) == 1000
    with fails_with("source_too_large", match=r"has 1000 bytes, and 999 is the limit"):
        store.read(KEY, max_bytes=999)
