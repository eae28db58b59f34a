"""Helpers to test the builder of a media type without MongoDB, Redis or a PDS."""

from __future__ import annotations

from bson import ObjectId

from worker.core.documents import Account, ItemRef, MediaDocument, SyncState
from worker.core.fields import Fields
from worker.core.secrets import Secret
from worker.media.base import Draft, MediaType, SiteUrls

SITE = SiteUrls("https://example.com", "user-media", "guest-media")
ADA = Account("auth0|ada", "did:plc:ada", "ada.test", Secret("-"), screen_name="ada")
ID = ObjectId("65f0c0ffee65f0c0ffee65f0")


def draft_of(kind: MediaType, *, guest: bool = False, **fields: object) -> Draft:
    """Build the draft of a document by Ada or a guest; raises PermanentError."""
    document = MediaDocument(
        ref=ItemRef(kind.name, ID),
        owner="art-guest" if guest else ADA.subject,
        is_guest=guest,
        hidden=None,
        fields=Fields(fields),
        state=SyncState(),
    )
    return kind.draft(document, ADA, SITE)
