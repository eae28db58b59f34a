"""The definition of a media type, and the drafts of records that it builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import quote

from worker.core.clock import rfc3339
from worker.core.documents import Account, MediaDocument
from worker.files.store import SourceKey


class BlobTransform(StrEnum):
    """How a blob is created from its source file."""

    THUMBNAIL = "thumbnail"
    AS_IS = "verbatim"


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A file of the store, by the unchecked names in the document."""

    bucket: str
    user: str | None
    name: str

    def key(self) -> SourceKey:
        """Return the key of the file; raises PermanentError for invalid names."""
        return SourceKey(self.bucket, self.user, self.name)


@dataclass(frozen=True, slots=True)
class BlobSpec:
    """A blob of the record: its source file and how to create it."""

    file: SourceRef
    transform: BlobTransform
    mime_type: str = ""  # of a file that is uploaded as it is


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A URL that the record has if, and only if, the source file exists."""

    url: str
    file: SourceRef


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before its blobs are uploaded and its links are checked."""

    nsid: str
    fields: Mapping[str, str]
    blobs: Mapping[str, BlobSpec] = field(default_factory=dict)
    links: Mapping[str, LinkSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteUrls:
    """The public URLs of the platform, and the buckets of its store."""

    url: str
    user_bucket: str
    guest_bucket: str
    templates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The input of a builder: the document, its account and the site."""

    document: MediaDocument
    account: Account
    site: SiteUrls

    def text(self, name: str, *alternatives: str) -> str:
        """Return a required text of the document; raises FieldError."""
        return self.document.fields.text(name, *alternatives)

    def optional(self, name: str) -> str | None:
        """Return an optional text of the document; raises FieldError."""
        return self.document.fields.optional_text(name)

    def file(self, name: str) -> SourceRef:
        """Return a file of the item's owner."""
        default = self.site.guest_bucket if self.document.is_guest else self.site.user_bucket
        bucket = self.document.fields.optional_text("bucket") or default
        user = None if self.document.is_guest else self.document.owner
        return SourceRef(bucket=bucket, user=user, name=name)


Builder = Callable[["BuildContext", "MediaType"], Draft]


@dataclass(frozen=True, slots=True)
class MediaType:
    """A type of media.

    `collection` is in MongoDB, `nsid` that of the records. `fields` are those that the builder
    reads: a change of any other does not change the item. One of `takedown_flags` takes an item
    down. `has_files` means that records may need files of the store. `batch` is the number of
    items that are published together, fewer if each takes long. `urls` are the default URL
    templates by field of the record; the environment can replace each as
    `URL_TEMPLATE_<TYPE>_<FIELD>`.
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
        """Build the draft of a record; raises PermanentError naming an invalid field."""
        return self.build(BuildContext(document, account, site), self)

    def record(self, context: BuildContext, fields: Mapping[str, str | None]) -> Mapping[str, str]:
        """Add the fields that all records have, and drop those that are None."""
        when = rfc3339(context.document.fields.moment("when"))
        own = {name: value for name, value in fields.items() if value is not None}
        return {"$type": self.nsid, **own, "when": when, "ref": str(context.document.ref.id)}

    def link(self, context: BuildContext, name: str, **values: str) -> str:
        """Return the URL of a field of the record by this type's template."""
        override = f"{self.name}_{name}".upper()
        template = context.site.templates.get(override, self.urls[name])
        quoted = {key: quote(value, safe="") for key, value in values.items()}
        return template.format(site=context.site.url, **quoted)
