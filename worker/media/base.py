"""What a media type is: where its documents live, and how one becomes a draft of a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from worker.core.clock import rfc3339
from worker.core.documents import Account, MediaDocument
from worker.core.errors import PermanentError
from worker.files.store import SourceKey


class BlobTransform(StrEnum):
    """How a blob is made from its source file."""

    THUMBNAIL = "thumbnail"
    AS_IS = "verbatim"


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A file of the store by the names that the document gives, which may be hostile."""

    bucket: str
    user: str | None
    name: str

    def key(self) -> SourceKey:
        """Return the file's key; raises SourceKeyInvalid."""
        return SourceKey(self.bucket, self.user, self.name)


@dataclass(frozen=True, slots=True)
class BlobSpec:
    """A blob that the record should have: its source file and how to make it.

    `mime_type` is what a verbatim file is sent as.
    """

    file: SourceRef
    transform: BlobTransform
    mime_type: str = ""


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A URL that the record should have if, and only if, the source file exists."""

    url: str
    file: SourceRef


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before its blobs are uploaded and its links looked up: pure data."""

    nsid: str
    fields: Mapping[str, str]
    blobs: Mapping[str, BlobSpec] = field(default_factory=dict)
    links: Mapping[str, LinkSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteUrls:
    """The platform's addresses: public URLs by template, and the buckets of its store."""

    url: str
    user_bucket: str
    guest_bucket: str
    templates: Mapping[str, str] = field(default_factory=dict)

    def link(self, template: str, **values: str) -> str:
        """Fill a URL template; each value is percent-encoded."""
        quoted = {name: quote(value, safe="") for name, value in values.items()}
        return template.format(site=self.url, **quoted)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a builder works from: the document, its account and the site."""

    document: MediaDocument
    account: Account
    site: SiteUrls

    def text(self, name: str, *alternatives: str) -> str:
        """Return a required text of the document."""
        return self.document.fields.text(name, *alternatives)

    def optional(self, name: str) -> str | None:
        """Return an optional text of the document."""
        return self.document.fields.optional_text(name)

    def file(self, name: str) -> SourceRef:
        """Return a file of this item's owner in the store."""
        default = self.site.guest_bucket if self.document.is_guest else self.site.user_bucket
        bucket = self.document.fields.optional_text("bucket") or default
        user = None if self.document.is_guest else self.document.owner
        return SourceRef(bucket=bucket, user=user, name=name)


Builder = Callable[["BuildContext", "MediaType"], Draft]


@dataclass(frozen=True, slots=True)
class MediaType:
    """One kind of media.

    `collection` is MongoDB's, `nsid` the record's; `fields` are those the builder reads (a
    change of any other is no change of the item); `takedown_flags` those that take an item down;
    `has_files` tells that records may need files of the store; `batch` is how many items are
    published together: fewer, where each takes long;
    `urls` the default URL templates by record field, each of which the environment can
    replace as `URL_TEMPLATE_<TYPE>_<FIELD>`.
    """

    name: str
    collection: str
    nsid: str
    fields: tuple[str, ...]
    build: Builder
    takedown_flags: tuple[str, ...] = ("nuked",)
    guests: bool = True
    has_files: bool = False
    batch: int = 100
    urls: Mapping[str, str] = field(default_factory=dict)

    def draft(self, document: MediaDocument, account: Account, site: SiteUrls) -> Draft:
        """Build the draft of a document's record; raises PermanentError naming a bad field."""
        return self.build(BuildContext(document, account, site), self)

    def record(self, context: BuildContext, fields: Mapping[str, str | None]) -> Mapping[str, str]:
        """Complete a record's own fields with those every type has; drop what is None."""
        when = rfc3339(context.document.fields.moment("when"))
        own = {name: value for name, value in fields.items() if value is not None}
        return {"$type": self.nsid, **own, "when": when, "ref": str(context.document.ref.id)}

    def link(self, context: BuildContext, name: str, **values: str) -> str:
        """Fill this type's URL template of a record field."""
        override = f"{self.name}_{name}".upper()
        template = context.site.templates.get(override, self.urls[name])
        return context.site.link(template, **values)


class UnknownTypeError(PermanentError):
    """No media type has this name."""

    step = "document"
    code = "unknown_type"
