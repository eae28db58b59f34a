"""The MediaType class, and the drafts of records that media types build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from worker.core.clock import rfc3339
from worker.core.documents import Account, MediaDocument
from worker.media.source_keys import SourceOwner, SourceRef


class BlobTransform(StrEnum):
    """How a blob is created from its source file."""

    THUMBNAIL = "thumbnail"
    AS_IS = "verbatim"


@dataclass(frozen=True, slots=True)
class BlobSpec:
    """The source of a blob, and how to create the blob from it.

    The source is the first existing file of `files`, or `content`: a text in the document, to be
    uploaded as it is.
    """

    files: tuple[SourceRef, ...]
    transform: BlobTransform
    mime_type: str = ""  # of `content`
    content: str | None = None


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A URL that is added to the record only if one of the source files exists."""

    url: str
    files: tuple[SourceRef, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before its blobs are uploaded and the files of its links are checked."""

    nsid: str
    fields: Mapping[str, str]
    blobs: Mapping[str, BlobSpec] = field(default_factory=dict)
    links: Mapping[str, LinkSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteUrls:
    """The base URL and URL templates of the platform, and the buckets of its files."""

    url: str
    user_bucket: str
    guest_bucket: str
    templates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The input of a builder: the document, its account and the site URLs."""

    document: MediaDocument
    account: Account
    site: SiteUrls

    def text(self, name: str, *alternatives: str) -> str:
        """Return a required text field; raises FieldError if missing or invalid."""
        return self.document.fields.text(name, *alternatives)

    def optional(self, name: str) -> str | None:
        """Return an optional text field or None; raises FieldError if invalid."""
        return self.document.fields.optional_text(name)

    @property
    def source_owner(self) -> SourceOwner:
        """Return the owner of the document's source files."""
        default = self.site.guest_bucket if self.document.is_guest else self.site.user_bucket
        bucket = self.document.fields.optional_text("bucket") or default
        subject = None if self.document.is_guest else self.document.owner
        return SourceOwner(subject, bucket, self.site.user_bucket)


Builder = Callable[["BuildContext", "MediaType"], Draft]


@dataclass(frozen=True, slots=True)
class MediaType:
    """Defines how the documents of one MongoDB collection become records.

    `collection` is the MongoDB collection, `nsid` the NSID of the records. `fields` are the
    document fields that the builder reads; changes of other fields are ignored. An item is taken
    down if one of the document fields `takedown_flags` is true. `has_files` states whether records
    may need source files. `batch` is the maximum number of items in one batch. `urls` are the
    default URL templates by record field; `URL_TEMPLATE_<TYPE>_<FIELD>` overrides a template.
    `additions` are optional record fields that records of older programs may lack; they are not
    written again to add such a field.
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
    additions: tuple[str, ...] = ()

    def draft(self, document: MediaDocument, account: Account, site: SiteUrls) -> Draft:
        """Build the draft of a record; raises PermanentError for an invalid document."""
        return self.build(BuildContext(document, account, site), self)

    def record(self, context: BuildContext, fields: Mapping[str, str | None]) -> Mapping[str, str]:
        """Return `fields` without None values, plus `$type`, `when` and `ref`."""
        when = rfc3339(context.document.fields.moment("when"))
        own = {name: value for name, value in fields.items() if value is not None}
        return {"$type": self.nsid, **own, "when": when, "ref": str(context.document.ref.id)}

    def files(
        self, context: BuildContext, slug: str, mime_types: Mapping[str, str]
    ) -> tuple[SourceRef, ...]:
        """Return the candidates for a file of the document's owner, in order.

        `mime_types` maps the possible extensions, such as `.png`, to MIME types. The folder is the
        name of the type. See `SourceOwner.candidates`.
        """
        return context.source_owner.candidates(slug, self.name, mime_types)

    def link(self, context: BuildContext, name: str, **values: str) -> str:
        """Build the URL for the record field `name` from its URL template.

        Slashes in the value `slug` are kept, because a slug may be a path.
        """
        safe = {"slug": "/"}
        quoted = {key: quote(value, safe=safe.get(key, "")) for key, value in values.items()}
        return self._template(context.site, name).format(site=context.site.url, **quoted)

    def links_handle(self, site: SiteUrls) -> bool:
        """Return whether a URL template contains `{handle}`, the account's screen name."""
        return any("{handle}" in self._template(site, name) for name in self.urls)

    def _template(self, site: SiteUrls, name: str) -> str:
        return site.templates.get(f"{self.name}_{name}".upper(), self.urls[name])
