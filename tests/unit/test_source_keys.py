"""Which names are refused, and where the others lead: keys, templates and allow-lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import fails_with
from worker.files.location import StoreLocation
from worker.files.store import SourceKey

KEY = SourceKey("paintings", ("auth0|5f", "2024.1.1.png"))
GUEST = SourceKey("paintings", ("2024.1.1.png",))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        (".", "starts with a dot"),
        ("..", "starts with a dot"),
        (".png", "starts with a dot"),
        ("../secret.png", "contains a slash"),
        ("/etc/passwd", "contains a slash"),
        ("a/b.png", "contains a slash"),
        ("a\\b.png", "contains a slash"),
        ("a\0.png", "contains a control character"),
        ("a\n.png", "contains a control character"),
        ("a\x7f.png", "contains a control character"),
        ("a\u2028.png", "contains a control character"),
        ("a\ud800.png", "contains a control character"),
        ("%2e%2e", "contains a percent-escape"),
        ("a%2Fb.png", "contains a percent-escape"),
        ("x" * 256, "is longer than 255 bytes"),
        ("é" * 128, "is longer than 255 bytes"),
    ],
)
@pytest.mark.parametrize(
    ("part", "place"), [("the bucket", 0), ("a path segment", 1), ("a path segment", 2)]
)
def test_a_part_that_could_lead_elsewhere_is_refused(
    part: str, place: int, text: str, fault: str
) -> None:
    """The error is permanent, names the part, and shows its text escaped and cut."""
    parts = ["b", "u", "n"]
    parts[place] = text
    with fails_with("source_key_invalid", match=f"{part} of the source {fault}") as caught:
        SourceKey(parts[0], tuple(parts[1:]))
    assert caught.value.step == "source"
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a b.png", "a%20b.png"),
        ("a?b#c.png", "a%3Fb%23c.png"),
        ("a:b;c@d&e=f+g.png", "a%3Ab%3Bc%40d%26e%3Df%2Bg.png"),
        ("100%.png", "100%25.png"),
        ("ü-🎨.png", "%C3%BC-%F0%9F%8E%A8.png"),
        ("a..b.png", "a..b.png"),
        ("{key}.png", "%7Bkey%7D.png"),
        ("{bucket}", "%7Bbucket%7D"),
    ],
)
def test_reserved_characters_are_encoded(name: str, encoded: str) -> None:
    """What has a meaning in a URL is sent without it."""
    url = StoreLocation.parse("https://media.example").url(SourceKey("b", ("auth0|5f", name)))
    assert url == f"https://media.example/b/auth0%7C5f/{encoded}"


@pytest.mark.parametrize("count", [0, 9])
def test_a_path_has_1_to_8_segments(count: int) -> None:
    """No document leads deeper than the platform stores files."""
    assert SourceKey("b", ("a",) * 8).text == "a/a/a/a/a/a/a/a"
    with fails_with("source_key_invalid", match=f"has {count} segments of 8"):
        SourceKey("b", ("a",) * count)


@pytest.mark.parametrize(
    ("setting", "folder"),
    [
        ("file:///srv/media", "file:///srv/media/paintings/"),
        ("https://media.example/", "https://media.example/paintings/"),
        ("https://M.example:443/files/v1", "https://m.example/files/v1/paintings/"),
        ("https://m.example:8443/{key}", "https://m.example:8443/"),
        ("https://[::1]/x-{bucket}/{key}", "https://[::1]/x-paintings/"),
    ],
)
def test_a_setting_becomes_the_urls_of_users_and_guests(setting: str, folder: str) -> None:
    """A base is completed, a template filled; each segment of the key becomes one of the URL."""
    template = StoreLocation.parse(setting)
    assert template.url(KEY) == f"{folder}auth0%7C5f/2024.1.1.png"
    assert template.url(GUEST) == f"{folder}2024.1.1.png"


def test_a_bucket_may_be_part_of_the_host() -> None:
    """As with S3: one label below an allowed host."""
    template = StoreLocation.parse("https://{bucket}.cdn.example/{key}", ["*.cdn.example"])
    assert template.url(KEY) == "https://paintings.cdn.example/auth0%7C5f/2024.1.1.png"


@pytest.mark.parametrize("bucket", ["a_b", "a b", "evil.com?", "-a", "ü", "a:80", "a@b", "x" * 64])
def test_a_bucket_that_is_no_host_label_is_refused(bucket: str) -> None:
    """It could otherwise end the host, or add a port or a user."""
    template = StoreLocation.parse("https://{bucket}.cdn.example/{key}", ["*.cdn.example"])
    with fails_with("source_key_invalid", match="bucket of the source cannot be part of a host"):
        template.url(SourceKey(bucket, ("a.png",)))


def test_a_bucket_that_leads_to_another_host_is_refused() -> None:
    """The allow-list is checked on the host as it will be asked for."""
    template = StoreLocation.parse(
        "https://{bucket}.cdn.example/{key}", ["good.cdn.example", "*.other.example"]
    )
    template.url(SourceKey("good", ("a.png",)))
    for bucket in ("bad", "bad.good", "x.other"):
        with fails_with("source_host_not_allowed"):
            template.url(SourceKey(bucket, ("a.png",)))


@pytest.mark.parametrize(
    ("entry", "url", "refusal"),
    [
        ("media.example", "https://media.example", ""),
        ("MEDIA.example", "https://media.example:443", ""),
        ("media.example:443", "https://media.example", ""),
        ("media.example", "https://media.example:8443", "not among"),
        ("media.example:8443", "https://media.example:8443", ""),
        ("*.example", "https://media.example", "allowed host"),
        ("*.media.example", "https://a.media.example", ""),
        ("*.media.example", "https://a.b.media.example", "not among"),
        ("*.media.example", "https://media.example", "not among"),
        ("*.media.example", "https://evilmedia.example", "not among"),
        ("a.media.example", "https://media.example", "not among"),
        ("*", "https://media.example", "allowed host"),
        ("media.*.example", "https://media.example", "allowed host"),
        ("https://media.example", "https://media.example", "allowed host"),
        ("", "https://media.example", "allowed host"),
        ("[::1]:8443", "https://[::1]:8443", ""),
    ],
)
def test_an_allow_list_holds_exact_hosts_and_hosts_below(
    entry: str, url: str, refusal: str
) -> None:
    """A host is on the list, or it is not, or the entry itself cannot be on one."""
    if not refusal:
        assert StoreLocation.parse(url, [entry])
        return
    with pytest.raises(ValueError, match=refusal):
        StoreLocation.parse(url, [entry])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("", "must start with file:/// or https://"),
        ("/srv/media", "must start with"),
        ("ftp://media.example", "must start with"),
        ("http://media.example", "must start with"),
        ("s3://bucket", "must start with"),
        ("file:media", "absolute path"),
        ("file://host/media", "absolute path"),
        ("file:///", "must name a folder"),
        ("file:///{bucket}/{key}", "must name a folder"),
        ("https://", "no valid host"),
        ("https:///path", "no valid host"),
        ("https://ex_ample", "no valid host"),
        ("https://media.example.", "no valid host"),
        ("https://münchen.example", "percent-encoded"),
        ("https://media.example/a b", "percent-encoded"),
        ("https://media.example\\@evil.example", "percent-encoded"),
        ("https://media.example/\n", "percent-encoded"),
        ("https://user:secret@media.example", "user name or a password"),
        ("https://media.example?token=secret", "query"),
        ("https://media.example/#x", "fragment"),
        ("https://media.example:0", "port"),
        ("https://media.example:99999", "port"),
        ("https://media.example:{bucket}/{key}", "port"),
        ("https://media.example/a//b", "empty segment"),
        ("https://media.example/../b", "empty segment, a '.'"),
        ("https://media.example/%2e%2e/b", "empty segment, a '.'"),
        ("https://media.example/%00", "control character"),
        ("https://media.example/{bucket}", "without {key}"),
        ("https://media.example/x-{key}", "without {key} as a whole segment"),
        ("https://media.example/{key}/{key}.png", "without {key} as a whole segment"),
        ("https://media.example/{user}/{name}", "unknown placeholder {name}"),
        ("https://media.example/{slug}", "unknown placeholder {slug}"),
        ("https://media.example/%7Bslug%7D", "unknown placeholder {slug}"),
        ("https://media.example/{name", "brace"),
        ("https://media.example/name}", "brace"),
        ("https://{bucket}.example/{key}", "needs a list of allowed hosts"),
        ("https://{key}.example/{key}", "only {bucket} in its host"),
        ("https://[::1/x", "not a URL"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(setting: str, message: str) -> None:
    """With a message that says what is wrong, and without the secrets it may hold."""
    with pytest.raises(ValueError, match=message.replace("{", r"\{")) as caught:
        StoreLocation.parse(setting)
    assert "secret" not in str(caught.value)


def test_plain_http_is_for_development() -> None:
    """It must be allowed by name."""
    template = StoreLocation.parse("http://127.0.0.1:9000", allow_http=True)
    assert template.url(GUEST) == "http://127.0.0.1:9000/paintings/2024.1.1.png"


def test_a_folder_is_the_root_of_its_files() -> None:
    """The part before the first placeholder, decoded."""
    assert StoreLocation.parse("file:///srv/my%20media").root == Path("/srv/my media")
    assert StoreLocation.parse("file:///srv/m/{bucket}/x/{key}").root == Path("/srv/m")
