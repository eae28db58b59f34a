"""The candidate keys of each kind of file, in order, and hostile slugs."""

from __future__ import annotations

import pytest
from bson import ObjectId

from tests.refusals import fails_with
from worker.core.clock import now
from worker.core.documents import Account, ItemRef, MediaDocument, SyncState
from worker.core.fields import Fields
from worker.core.secrets import Secret
from worker.files.store import SourceKey
from worker.media import media_type
from worker.media.base import Draft, SiteUrls
from worker.media.source_keys import SourceRef

SITE = SiteUrls("https://aesthetic.computer", "users", "guests")
SUB = "auth0|63effe"
STAMP = "2025.3.12.20.53.34.123"


def draft(
    type_name: str, slug: str, *, subject: str | None = SUB, bucket: str | None = None
) -> Draft:
    """Build the draft of an item of a user, or of a guest if `subject` is None."""
    fields = {"slug": slug, "code": "abc", "when": now(), "bucket": bucket}
    document = MediaDocument(
        ItemRef(type_name, ObjectId()),
        subject or "art-guest",
        subject is None,
        None,
        Fields(fields),
        SyncState(),
    )
    account = Account(document.owner, "did:plc:a", "a.test", Secret("x"), "ada")
    return media_type(type_name).draft(document, account, SITE)


def images(slug: str, *, subject: str | None = SUB, bucket: str | None = None) -> list[str]:
    """Return the candidates of a painting's image, as `bucket:key`."""
    made = draft("painting", slug, subject=subject, bucket=bucket)
    return texts(made.blobs["thumbnail"].files)


def recordings(slug: str, *, subject: str | None = SUB) -> list[str]:
    """Return the candidates of a painting's recording."""
    links = draft("painting", slug, subject=subject).links
    return texts(links["recordingUrl"].files) if links else []


def texts(files: tuple[SourceRef, ...]) -> list[str]:
    """Return candidates as `bucket:key`, each of them valid."""
    assert [file.text for file in files] == [file.key().text for file in files]
    return [f"{file.bucket}:{file.text}" for file in files]


@pytest.mark.parametrize(
    ("slug", "keys"),
    [
        (STAMP, [f"{SUB}/painting/{STAMP}.png", f"{SUB}/{STAMP}.png"]),
        (f"{SUB}/painting/{STAMP}", [f"{SUB}/painting/{STAMP}.png"]),
        (f"{SUB}/{STAMP}", [f"{SUB}/{STAMP}.png"]),
        (
            f"painting/{STAMP}",
            [f"{SUB}/painting/painting/{STAMP}.png", f"{SUB}/painting/{STAMP}.png"],
        ),
        (SUB, [f"{SUB}/painting/{SUB}.png", f"{SUB}/{SUB}.png"]),
        (f"{SUB}x/y", [f"{SUB}/painting/{SUB}x/y.png", f"{SUB}/{SUB}x/y.png"]),
    ],
)
def test_a_users_image_is_looked_for_in_its_folder_first(slug: str, keys: list[str]) -> None:
    """A slug that begins with the user's own prefix has one key only."""
    assert images(slug) == [f"users:{key}" for key in keys]
    assert images(slug, bucket="b") == [f"b:{key}" for key in keys]


@pytest.mark.parametrize("slug", [STAMP, f"2025/03/12/{STAMP}", "auth0|bob/painting/x"])
def test_a_guests_image_is_at_its_slug(slug: str) -> None:
    """In the guests' bucket, or in the one that the document names."""
    assert images(slug, subject=None) == [f"guests:{slug}.png"]
    assert images(slug, subject=None, bucket="b") == [f"b:{slug}.png"]


@pytest.mark.parametrize(
    ("slug", "image", "recording"),
    [
        ("i", ["painting/i", "i"], ["painting/i", "i"]),
        ("i:r", ["painting/i", "i"], ["painting/r", "r"]),
        (f"{SUB}/painting/i:r", ["painting/i"], ["painting/r", "r"]),
        (f"i:{SUB}/painting/r", ["painting/i", "i"], ["painting/r"]),
        (f"{SUB}/painting/i:{SUB}/painting/r", ["painting/i"], ["painting/r"]),
        (f"{SUB}/painting/i", ["painting/i"], ["painting/i"]),
    ],
)
@pytest.mark.parametrize("subject", [SUB, "oidc:x:1"])
def test_a_recording_is_beside_its_image_or_named_after_a_colon(
    slug: str, image: list[str], recording: list[str], subject: str
) -> None:
    """Both parts may begin with the user's own prefix, which may contain colons itself."""
    slug = slug.replace(SUB, subject)
    assert images(slug, subject=subject) == [f"users:{subject}/{key}.png" for key in image]
    assert recordings(slug, subject=subject) == [f"users:{subject}/{key}.zip" for key in recording]


def test_a_guests_recording_is_at_its_own_slug() -> None:
    """Beside the image, if the slug does not name it."""
    assert recordings("i", subject=None) == ["guests:i.zip"]
    assert images("i:r", subject=None) == ["guests:i.png"]
    assert recordings("i:2025/r", subject=None) == ["guests:2025/r.zip"]


def pieces(slug: str, *, subject: str | None = SUB) -> list[str]:
    """Return the candidates of a piece's program."""
    return texts(draft("piece", slug, subject=subject, bucket="b").blobs["source"].files)


@pytest.mark.parametrize(
    ("slug", "keys"),
    [
        ("melody", ["piece/melody", "melody"]),
        ("2025/03/12/m1", ["piece/2025/03/12/m1", "2025/03/12/m1"]),
        (f"{SUB}/2025/03/12/m1", ["2025/03/12/m1"]),
    ],
)
def test_a_users_program_is_tried_with_each_extension_at_all_keys(
    slug: str, keys: list[str]
) -> None:
    """JavaScript before Lisp and Lua."""
    extensions = ("mjs", "lisp", "lua")
    assert pieces(slug) == [f"b:{SUB}/{key}.{each}" for each in extensions for key in keys]


def test_a_guests_program_is_at_its_slug() -> None:
    """With each extension, of which each has a MIME type."""
    made = draft("piece", "2025/03/12/m1", subject=None, bucket="b")
    files = made.blobs["source"].files
    assert texts(files) == [f"b:2025/03/12/m1.{each}" for each in ("mjs", "lisp", "lua")]
    assert [file.mime_type for file in files] == ["text/javascript", "text/plain", "text/plain"]


def test_a_piece_without_source_and_bucket_has_no_program() -> None:
    """It may be one of the platform's own."""
    assert draft("piece", "melody").blobs == {}


@pytest.mark.parametrize(
    "slug",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/./x",
        "a//x",
        "a/",
        ".hidden",
        "a/.hidden/x",
        "a\\..\\x",
        "a\0",
        "a\n/x",
        "a\u2028x",
        "%2e%2e/x",
        "a%2Fx",
        "x" * 256,
        "a/b/c/d/e/f/g/h/i",
    ],
)
@pytest.mark.parametrize("prefix", ["", f"{SUB}/", "auth0|bob/"])
@pytest.mark.parametrize("subject", [SUB, None])
@pytest.mark.parametrize("field", ["image", "recording", "program"])
def test_a_hostile_slug_is_refused(slug: str, prefix: str, subject: str | None, field: str) -> None:
    """For users and guests, with and without a prefix, for each kind of file."""
    slug = prefix + slug
    if not slug:
        return  # a missing field
    if field == "program":
        files = draft("piece", slug, subject=subject, bucket="b").blobs["source"].files
    elif field == "image":
        files = draft("painting", slug, subject=subject).blobs["thumbnail"].files
    else:
        files = draft("painting", f"i:{slug}", subject=subject).links["recordingUrl"].files
    for file in files:
        with fails_with("source_key_invalid"):
            file.key()


@pytest.mark.parametrize("slug", ["auth0|bob/painting/x", "auth0|bob/x", "a/b", f"{SUB}/x"])
@pytest.mark.parametrize("bucket", ["users", "USERS"])
def test_a_guests_slug_never_leads_into_a_folder_of_the_users_bucket(
    slug: str, bucket: str
) -> None:
    """A plain name there is as in any other bucket."""
    for made in (
        draft("painting", slug, subject=None, bucket=bucket),
        draft("painting", f"i:{slug}", subject=None, bucket=bucket),
    ):
        files = [
            *made.blobs["thumbnail"].files,
            *(f for link in made.links.values() for f in link.files),
        ]
        with fails_with("source_key_invalid", match="contains a slash"):
            files[-1].key()
    assert images("x", subject=None, bucket=bucket) == [f"{bucket}:x.png"]


@pytest.mark.parametrize("slug", ["auth0|bob/painting/x", "auth0|bob/x", "x", f"{SUB}/x"])
def test_all_keys_of_a_user_are_below_the_users_prefix(slug: str) -> None:
    """Another user's prefix is a folder like any other."""
    for made in (draft("painting", slug), draft("painting", f"i:{slug}")):
        for file in (*made.blobs["thumbnail"].files, *made.links["recordingUrl"].files):
            assert file.key().path[0] == SUB
            assert "bob" not in file.key().path[0]


@pytest.mark.parametrize("subject", ["auth0|a/b", "..", ".", "a\\b", "a\0"])
@pytest.mark.parametrize("slug", ["x", "{}/x"])
def test_a_subject_that_is_no_single_segment_is_refused(subject: str, slug: str) -> None:
    """It could otherwise be a folder of another user."""
    files = draft("painting", slug.format(subject), subject=subject).blobs["thumbnail"].files
    for file in files:
        with fails_with("source_key_invalid"):
            file.key()


def test_a_candidate_becomes_the_key_of_a_file() -> None:
    """With the same text, under which a document's state keeps it."""
    ref = SourceRef("b", ("u", "painting", "x.png"))
    assert ref.key() == SourceKey("b", ("u", "painting", "x.png"))
    assert ref.key().text == ref.text == "u/painting/x.png"
