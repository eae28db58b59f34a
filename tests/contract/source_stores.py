"""What the tests of all stores share: keys, uploads, and stores that are closed again."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.refusals import fails_with
from worker.core.errors import MediaError
from worker.core.net.addresses import parse_networks
from worker.files.location import StoreLocation
from worker.files.opening import open_store
from worker.files.store import SourceKey, SourceStore

KEY = SourceKey("paintings", ("auth0|5f", "slug.png"))
GUEST = SourceKey("paintings", ("slug.png",))
NAME = "slug.png"
ENOUGH = 1 << 20
SHORT, LONG = 0.3, 30.0
LOOPBACK = ("127.0.0.0/8", "::1")


def put(folder: Path, key: SourceKey, data: bytes) -> Path:
    """Upload a file into the folder behind a store."""
    path = folder.joinpath(key.bucket, *key.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@contextmanager
def opened(
    url: str,
    *,
    deadline: float = LONG,
    networks: Sequence[str] = LOOPBACK,
    tls: ssl.SSLContext | None = None,
) -> Iterator[SourceStore]:
    """Open the store at a URL, by default one of this machine; close it at the end."""
    template = StoreLocation.parse(url, allow_http=True)
    allowed = parse_networks(networks)
    store = open_store(template, deadline=deadline, networks=allowed, tls=tls)
    try:
        yield store
    finally:
        store.close()


def assert_fails(store: SourceStore, code: str) -> None:
    """Check that stat and read raise the same error, and that it holds no secret."""
    for call in (lambda: store.stat(KEY), lambda: store.read(KEY, max_bytes=ENOUGH)):
        with fails_with(code, match=r"slug\.png") as caught:
            call()
        assert caught.value.step == "source"
        assert "secret" not in caught.value.message


def outcome(store: SourceStore, key: SourceKey = GUEST) -> bytes | str:
    """Return what reading leads to: the bytes, or the code of the error."""
    try:
        return store.read(key, max_bytes=ENOUGH).data
    except MediaError as error:
        return error.code
