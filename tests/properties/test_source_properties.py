"""What holds for every name a document may hold: it is refused, or it stays in its place."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from worker.core.errors import PermanentError
from worker.files.location import StoreLocation
from worker.files.store import SourceKey

PIECES = st.sampled_from(["..", ".", "/", "\\", "%2e", "%", "?", "#", "\0", "@", ":", "//", "~"])
NAMES = st.lists(PIECES | st.text(max_size=4), max_size=6).map("".join)
WEB = StoreLocation.parse("https://media.example/files")
FOLDER = StoreLocation.parse("file:///srv/media")


SAFE = st.sampled_from(["paintings", "auth0|5f", "ü.png"])
KEYS = st.tuples(NAMES, SAFE, SAFE) | st.tuples(SAFE, NAMES, SAFE) | st.tuples(SAFE, SAFE, NAMES)


def key_or_none(parts: tuple[str, str, str]) -> SourceKey | None:
    """Return the key of a bucket, a user and a name, None if it is refused."""
    try:
        return SourceKey(parts[0], parts[1:])
    except PermanentError:
        return None


@given(KEYS)
def test_a_url_has_exactly_the_segments_of_its_key(parts: tuple[str, str, str]) -> None:
    """Host and structure are the template's; decoding the segments gives the key back."""
    key = key_or_none(parts)
    if key is not None:
        url = urlsplit(WEB.url(key))
        assert (url.netloc, url.query, url.fragment) == ("media.example", "", "")
        assert [unquote(segment) for segment in url.path.split("/")] == ["", "files", *parts]


@given(KEYS)
def test_a_path_stays_below_its_root(parts: tuple[str, str, str]) -> None:
    """However the names are put together, it has the root and then exactly them."""
    key = key_or_none(parts)
    if key is not None:
        path = os.path.normpath("/" + "/".join(FOLDER.path(key)))
        assert path.split("/") == ["", "srv", "media", *parts]
