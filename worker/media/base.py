"""The MediaType class, and the drafts of records that media types build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote

from worker.core.clock import rfc3339
from worker.core.documents import EMPTY, Account, MediaDocument
from worker.core.fields import is_zero
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


class Draft(NamedTuple):
    """A record before its blobs are uploaded and the files of its links are checked."""

    nsid: str
    fields: Mapping[str, str]
    blobs: Mapping[str, BlobSpec] = EMPTY
    links: Mapping[str, LinkSpec] = EMPTY


@dataclass(frozen=True, slots=True)
class SiteUrls:
    """The base URL and URL templates of the platform, and the buckets of its files."""

    url: str
    user_bucket: str
    guest_bucket: str
    templates: Mapping[str, str] = field(default_factory=dict)


class BuildContext(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class HidingRule:
    """A document field that can hide an item, and the reason to report.

    A value hides the item if it is true: anything but false, 0 and the empty text. With `equal_to`
    it hides the item if it is that text; with `other_than`, if it is anything but that text. A
    missing field and null never hide an item.
    """

    field: str
    reason: str
    equal_to: str | None = None
    other_than: str | None = None

    def hides(self, value: object) -> bool:
        """Return whether the field's value hides the item."""
        if value is None:
            return False
        if self.equal_to is not None:
            return value == self.equal_to
        if self.other_than is not None:
            return value != self.other_than
        return value != "" and not is_zero(value)

    def expression(self) -> dict[str, object]:
        """Return the MongoDB expression for `hides`."""
        value = f"${self.field}"
        if self.equal_to is not None:
            return {"$eq": [value, {"$literal": self.equal_to}]}
        if self.other_than is not None:
            shown = {"$literal": self.other_than}
            return {"$ne": [{"$ifNull": [value, shown]}, shown]}
        return {"$not": [{"$in": [{"$ifNull": [value, False]}, [False, 0, ""]]}]}


HIDDEN_BY = (
    *(HidingRule(flag, flag) for flag in ("nuked", "deleted", "private", "draft", "hidden")),
    HidingRule("visibility", "not_public", other_than="public"),
    HidingRule("status", "draft", equal_to="wip"),
)
"""The rules of the platform for all types; the first one that applies is the reason."""

Builder = Callable[["BuildContext", "MediaType"], Draft]


@dataclass(frozen=True, slots=True)
class MediaType:
    """Defines how the documents of one MongoDB collection become records.

    `collection` is the MongoDB collection, `nsid` the NSID of the records. `fields` are the
    document fields that the builder reads; changes of other fields are ignored, except those of
    `hidden_by`, the rules that hide an item. `waits_for` are required document fields that the
    platform fills in later: an item is skipped while one is missing. `has_files` states whether
    records may need source files, and `has_thumbnails` whether their blobs may be thumbnails.
    `batch` is the maximum number of items in one batch. `urls` are the default URL templates by
    record field; `URL_TEMPLATE_<TYPE>_<FIELD>` overrides a template. `additions` are optional
    record fields that records of older programs may lack; these are not written again to add such
    a field, unless their document is edited.
    """

    name: str
    collection: str
    nsid: str
    fields: tuple[str, ...]
    build: Builder
    hidden_by: tuple[HidingRule, ...] = HIDDEN_BY
    waits_for: tuple[str, ...] = ()
    guests: bool = True
    has_files: bool = False
    has_thumbnails: bool = False
    batch: int = 100
    urls: Mapping[str, str] = field(default_factory=dict)
    additions: tuple[str, ...] = ()

    @property
    def read_fields(self) -> tuple[str, ...]:
        """Return the document fields that decide what is published, except `atproto`."""
        hiding = (rule.field for rule in self.hidden_by)
        return tuple(dict.fromkeys((*self.fields, *hiding, "user")))

    def hidden_reason(self, document: Mapping[str, object]) -> str | None:
        """Return the reason of the first rule that hides a raw document, or None."""
        for rule in self.hidden_by:
            value = document.get(rule.field)
            if value is not None and rule.hides(value):
                return rule.reason
        return None

    def missing_field(self, document: MediaDocument) -> str | None:
        """Return the first field of `waits_for` that is missing, or None."""
        return next(filter(document.fields.is_missing, self.waits_for), None)

    def draft(self, document: MediaDocument, account: Account, site: SiteUrls) -> Draft:
        """Build the draft of a record; raises PermanentError for an invalid document.

        The builder may come from another package. Raises TypeError if it returns no such draft.
        """
        return _check_draft(self.build(BuildContext(document, account, site), self), self)

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
        return any("{handle}" in template for template in self.url_templates(site))

    def url_templates(self, site: SiteUrls) -> tuple[str, ...]:
        """Return the URL templates of the record fields."""
        return tuple(self._template(site, name) for name in self.urls)

    def _template(self, site: SiteUrls, name: str) -> str:
        return site.templates.get(f"{self.name}_{name}".upper(), self.urls[name])


def _check_draft(draft: object, kind: MediaType) -> Draft:
    """Return the result of a builder; raises TypeError if it is no draft for `kind`."""
    if not isinstance(draft, Draft) or draft.nsid != kind.nsid:
        raise TypeError(f"the builder of {kind.name} must return a Draft for {kind.nsid}")
    for values, expected in ((draft.blobs, BlobSpec), (draft.links, LinkSpec)):
        for value in values.values():
            if not isinstance(value, expected):
                name = expected.__name__
                raise TypeError(f"the builder of {kind.name} must return {name}s by field")
    for spec in draft.blobs.values():
        if spec.transform is BlobTransform.THUMBNAIL and not kind.has_thumbnails:
            raise TypeError(f"the builder of {kind.name} makes thumbnails: set has_thumbnails")
    return draft
