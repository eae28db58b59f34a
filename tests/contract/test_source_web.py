"""The defences of a store that is a web server, against one that misbehaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract import web_faults as faults
from tests.contract.certificates import make_certificate
from tests.contract.source_stores import ENOUGH, GUEST, KEY, NAME, SHORT, assert_fails, opened, put
from tests.contract.web_server import Fault, Site, serving
from tests.refusals import fails_with
from worker.core.errors import MediaError
from worker.files.store import SourceStore


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.status(403), "source_forbidden"),
        (faults.status(404), "source_missing"),
        (faults.status(410), "source_missing"),
        (faults.status(401), "source_refused"),
        (faults.status(400), "source_refused"),
        (faults.status(206), "source_refused"),
        (faults.status(408), "source_unavailable"),
        (faults.status(429), "source_unavailable"),
        (faults.status(500), "source_unavailable"),
        (faults.status(503), "source_unavailable"),
        (faults.status(301), "source_redirected"),
        (faults.redirect, "source_redirected"),
        (faults.hang_up, "source_unavailable"),
        (faults.garble, "source_unavailable"),
    ],
)
def test_a_failure_has_a_name_that_says_what_to_do(
    web: SourceStore,
    site: Site,
    fault: Fault,
    code: str,
) -> None:
    """For read and stat alike, and nothing secret is in the message."""
    site.faults[NAME] = fault
    assert_fails(web, code)


@pytest.mark.parametrize("number", [401, 403, 429, 500, 503])
def test_whether_a_file_exists_is_unknown_when_the_server_does_not_say(
    web: SourceStore, site: Site, number: int
) -> None:
    """Only "not there" means not there: not an outage, nor a lost permission."""
    site.faults[NAME] = faults.status(number)
    with pytest.raises(MediaError):
        web.exists(KEY)
    site.faults[NAME] = faults.status(410)
    assert web.exists(KEY) is False


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        (faults.cut_body, "source_unavailable", "is incomplete or not HTTP"),
        (faults.cut_chunks, "source_unavailable", "is incomplete or not HTTP"),
        (faults.flood, "source_too_large", str(ENOUGH)),
        (faults.announce_gigabytes, "source_too_large", str(ENOUGH)),
    ],
)
def test_a_truncated_or_endless_body_is_no_file(
    web: SourceStore, site: Site, fault: Fault, code: str, message: str
) -> None:
    """Half an image must not become a thumbnail; nor is more read than the limit."""
    site.faults[NAME] = fault
    with fails_with(code, match=message):
        web.read(KEY, max_bytes=ENOUGH)


@pytest.mark.parametrize("fault", [faults.drip_body, faults.drip_headers, faults.say_nothing])
def test_the_deadline_covers_the_whole_exchange(site: Site, fault: Fault) -> None:
    """Each byte comes in time; all of them together would take 20 seconds, or for ever."""
    site.faults[NAME] = fault
    late = fails_with("source_timeout", match=r"within 0\.3 s")
    with opened(site.url, deadline=SHORT) as hasty, late:
        hasty.read(KEY, max_bytes=ENOUGH)


def test_redirects_and_their_secrets_go_nowhere(web: SourceStore, site: Site) -> None:
    """The location is neither followed nor told."""
    site.faults[NAME] = faults.redirect
    with fails_with("source_redirected", match="answered 302") as caught:
        web.read(KEY, max_bytes=ENOUGH)
    assert "elsewhere" not in caught.value.message
    assert len(site.server.requests) == 1


def test_a_compressed_body_is_refused(web: SourceStore, site: Site) -> None:
    """It would be published in place of what was uploaded."""
    site.faults[NAME] = faults.compress
    with fails_with("source_refused", match="'gzip'"):
        web.read(KEY, max_bytes=ENOUGH)
    assert site.server.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "content_type",
    ["text/html", "Text/HTML; charset=utf-8", "application/json", "multipart/mixed; boundary=x"],
)
def test_a_page_in_place_of_a_file_is_refused(
    web: SourceStore, site: Site, content_type: str
) -> None:
    """Of an error, a login, or an app that answers to every path: with status 200."""
    site.faults[NAME] = faults.typed(content_type)
    assert_fails(web, "source_refused")


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/octet-stream", "text/javascript; charset=utf-8"]
)
def test_what_a_store_calls_a_file_is_read(web: SourceStore, site: Site, content_type: str) -> None:
    """The bytes say what it is, not its label."""
    site.faults[NAME] = faults.typed(content_type)
    assert web.read(KEY, max_bytes=ENOUGH).data == b"<html>"
    assert web.exists(KEY) is True


@pytest.mark.parametrize("number", [405, 501])
def test_a_server_without_head_is_asked_with_get(
    web: SourceStore, site: Site, folder: Path, number: int
) -> None:
    """And the body is left where it is."""
    put(folder, KEY, b"x" * 100)
    site.faults[NAME] = faults.no_head(number)
    assert web.stat(KEY).size == 100
    assert web.stat(KEY).identity == web.read(KEY, max_bytes=100).identity
    assert [method for method, _ in site.server.requests][:2] == ["HEAD", "GET"]


def test_a_date_and_a_size_name_a_version_too(web: SourceStore, site: Site) -> None:
    """Also when the size is only known after reading."""
    site.faults[NAME] = faults.dated
    identity = web.read(KEY, max_bytes=ENOUGH).identity
    assert identity.endswith("size=5 modified=Mon, 01 Jan 2024 00:00:00 GMT")
    assert web.stat(KEY).identity == identity


def test_without_any_mark_the_bytes_name_themselves(web: SourceStore, site: Site) -> None:
    """From stat none, from read one made from the bytes."""
    site.faults[NAME] = faults.bare
    first, second = (web.read(KEY, max_bytes=ENOUGH).identity for _ in range(2))
    assert web.stat(KEY).identity is None
    assert first == second
    assert "sha256=" in first


def test_one_connection_serves_many_reads(web: SourceStore, site: Site, folder: Path) -> None:
    """Also after a file that was not there."""
    put(folder, KEY, b"x")
    for _ in range(3):
        web.read(KEY, max_bytes=ENOUGH)
        assert web.exists(GUEST) is False
    assert site.server.connections == 1


def test_a_server_that_is_down_is_transient(folder: Path) -> None:
    """Nothing listens on the port any more."""
    with serving(folder) as gone:
        url = gone.url
    with opened(url) as store, fails_with("source_unavailable", match="refused"):
        store.read(KEY, max_bytes=ENOUGH)


def test_over_tls_files_are_read_and_deadlines_kept(folder: Path) -> None:
    """With a certificate that we trust."""
    put(folder, KEY, b"secure")
    ours, theirs = make_certificate(folder.parent)
    with serving(folder, ours) as site:
        with opened(site.url, tls=theirs) as store:
            assert store.read(KEY, max_bytes=ENOUGH).data == b"secure"
        site.faults[NAME] = faults.drip_headers
        hasty = opened(site.url, tls=theirs, deadline=SHORT)
        with hasty as store, fails_with("source_timeout"):
            store.read(KEY, max_bytes=ENOUGH)


def test_a_certificate_that_nobody_vouches_for_is_refused(folder: Path) -> None:
    """The message says that it is the certificate."""
    ours, _ = make_certificate(folder.parent)
    untrusted = fails_with("source_unavailable", match="CERTIFICATE_VERIFY_FAILED")
    with serving(folder, ours) as site, opened(site.url) as store, untrusted:
        store.stat(KEY)
