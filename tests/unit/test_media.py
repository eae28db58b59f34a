"""Each media type's draft: exactly the fields of its record, from documents as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import ObjectId

from worker.core.documents import Account, ItemRef, MediaDocument, SyncState
from worker.core.errors import PermanentError
from worker.core.fields import FieldError, Fields
from worker.core.secrets import Secret
from worker.media import media_type
from worker.media.base import Draft, SiteUrls

ID = ObjectId("65f0c0ffee65f0c0ffee65f0")
WHEN = datetime(2024, 3, 12, 20, 53, 34, 123000, tzinfo=UTC)
STAMP = "2024-03-12T20:53:34.123Z"
SITE = SiteUrls("https://aesthetic.computer", "user-bucket", "guest-bucket")
ACCOUNT = Account("auth0|1", "did:plc:a", "ada.test", Secret("x"), screen_name="ada")


def draft(
    type_name: str,
    *,
    guest: bool = False,
    account: Account = ACCOUNT,
    site: SiteUrls = SITE,
    **fields: object,
) -> Draft:
    """Build the draft of a document with these fields."""
    document = MediaDocument(
        ref=ItemRef(type_name, ID),
        owner="art-guest" if guest else "auth0|1",
        is_guest=guest,
        hidden=None,
        fields=Fields({"when": WHEN, **fields}),
        state=SyncState(),
    )
    return media_type(type_name).draft(document, account, site)


def test_a_painting_has_its_links_thumbnail_and_recording() -> None:
    """A user's recording may be beside the image."""
    made = draft("painting", slug="sunset", code="abc", bucket="b")
    assert made.fields == {
        "$type": "computer.aesthetic.painting",
        "slug": "sunset",
        "code": "abc",
        "imageUrl": "https://aesthetic.computer/media/paintings/abc",
        "acUrl": "https://aesthetic.computer/#abc",
        "when": STAMP,
        "ref": str(ID),
    }
    assert made.links["recordingUrl"].url.endswith("/media/paintings/abc.zip")


def test_a_combined_slug_is_kept_whole() -> None:
    """`imageSlug:recordingSlug`, of which each part names a file."""
    made = draft("painting", slug="img:rec", code="abc", bucket="b")
    assert made.fields["slug"] == "img:rec"


@pytest.mark.parametrize("name", ["mood", "text"])
def test_a_mood_is_its_text_under_either_name(name: str) -> None:
    """Old documents keep the text under `text`."""
    fields: dict[str, Any] = {name: "quiet"}
    made = draft("mood", **fields)
    assert made.fields == {
        "$type": "computer.aesthetic.mood",
        "mood": "quiet",
        "text": "quiet",
        "when": STAMP,
        "ref": str(ID),
    }


def test_a_users_piece_is_addressed_under_the_handle() -> None:
    """A piece in a bucket has its program as a blob."""
    made = draft("piece", slug="melody", code="m1", bucket="b")
    assert made.fields["acUrl"] == "https://aesthetic.computer/@ada/melody"
    assert made.fields["code"] == "m1"
    assert made.blobs["source"].content is None


def test_a_guests_piece_is_addressed_by_its_slug() -> None:
    """Not by its code."""
    made = draft("piece", guest=True, slug="melody", code="m1", bucket="b")
    assert made.fields["acUrl"] == "https://aesthetic.computer/melody"


@pytest.mark.parametrize("guest", [True, False])
@pytest.mark.parametrize("slug", ["2025/03/12/m1", "auth0|1/2025/03/12/m1"])
def test_a_piece_whose_slug_is_a_path_is_addressed_by_its_code(slug: str, *, guest: bool) -> None:
    """Its source may be in a file; without a code the link could contain the owner's subject."""
    made = draft("piece", guest=guest, slug=slug, code="m1", bucket="b")
    assert made.fields["acUrl"] == "https://aesthetic.computer/m1"
    assert "acUrl" not in draft("piece", guest=guest, slug=slug, bucket="b").fields
    assert "acUrl" not in draft("piece", guest=guest, slug=slug, source="export {}").fields


@pytest.mark.parametrize("guest", [True, False])
def test_a_piece_of_the_piece_store_has_its_source_and_is_addressed_by_its_code(
    *, guest: bool
) -> None:
    """No file is named; the template of the address can be replaced."""
    stored: dict[str, Any] = {"slug": "a/melody", "code": "m1", "source": "export {}"}
    made = draft("piece", guest=guest, **stored)
    assert made.fields["acUrl"] == "https://aesthetic.computer/m1"
    assert made.blobs["source"].files == ()
    assert made.blobs["source"].content == "export {}"
    assert made.blobs["source"].mime_type == "text/javascript"
    site = SiteUrls("https://x", "u", "g", {"PIECE_CODEACURL": "{site}/p/{code}"})
    assert draft("piece", site=site, **stored).fields["acUrl"] == "https://x/p/m1"


def test_a_stored_piece_without_a_code_is_addressed_by_its_slug() -> None:
    """As an upload."""
    made = draft("piece", slug="melody", source="export {}")
    assert made.fields["acUrl"] == "https://aesthetic.computer/@ada/melody"


def test_a_piece_may_lack_code_bucket_and_handle() -> None:
    """Optional fields are left out, never empty."""
    account = Account("auth0|1", "did:plc:a", "ada.test", Secret("x"))
    made = draft("piece", account=account, slug="melody")
    assert made.fields.keys() == {"$type", "slug", "when", "ref"}
    assert made.blobs == {}


def test_a_kidlisp_program_carries_its_source() -> None:
    """Code, source and permalink."""
    made = draft("kidlisp", code="cow", source="(wipe blue)")
    assert made.fields["source"] == "(wipe blue)"
    assert made.fields["acUrl"] == "https://aesthetic.computer/$cow"


def test_values_are_percent_encoded_in_urls() -> None:
    """A code is data: it cannot add a path or a query."""
    made = draft("painting", slug="s", code="a/../b?c#d é", bucket="b")
    assert made.fields["imageUrl"] == (
        "https://aesthetic.computer/media/paintings/a%2F..%2Fb%3Fc%23d%20%C3%A9"
    )


def test_a_url_template_can_be_replaced() -> None:
    """Hosts and paths of another platform are settings."""
    site = SiteUrls("https://x", "u", "g", {"KIDLISP_ACURL": "https://lisp.example/{code}"})
    made = draft("kidlisp", site=site, code="cow", source="()")
    assert made.fields["acUrl"] == "https://lisp.example/cow"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"code": "a"}, "slug"),
        ({"slug": "s"}, "code"),
        ({"slug": "s", "code": ""}, "code"),
        ({"slug": 7, "code": "a"}, "slug"),
        ({"slug": "s", "code": "a", "when": None}, "when"),
        ({"slug": "s", "code": "a", "when": "yesterday"}, "when"),
        ({"slug": "s", "code": "a", "bucket": ["b"]}, "bucket"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], named: str) -> None:
    """Missing, empty or of the wrong type: the error says which field."""
    with pytest.raises(FieldError) as refused:
        draft("painting", **fields)
    assert refused.value.field == named


def test_an_unknown_type_is_refused_with_the_names_there_are() -> None:
    """A typo in a producer is found by reading one line."""
    with pytest.raises(PermanentError, match="kidlisp, mood, painting, piece") as refused:
        media_type("paintng")
    assert refused.value.code == "unknown_type"
