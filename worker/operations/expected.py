"""Build the expected record of a document, and compare it with the published one.

The record is built without I/O, from the document and the blobs and links saved by the last run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.current import is_current, optional_additions
from worker.core.documents import Account, BlobState, MediaDocument
from worker.core.errors import MediaError, PermanentError, UnexpectedError
from worker.core.records import document_ref
from worker.media import Draft, MediaType, SiteUrls
from worker.media.validation import BlobRule, Lexicons
from worker.pds.repo_snapshot import StoredRecord
from worker.sync.attachments import Attachments
from worker.sync.existing_records import adopt_blobs

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ExpectedRecords:
    """Builds the records that documents should have on the PDS."""

    site: SiteUrls
    lexicons: Lexicons

    def draft(self, kind: MediaType, document: MediaDocument, account: Account) -> Draft:
        """Build the draft of a record; raises PermanentError for an invalid field or builder."""
        try:
            return kind.draft(document, account, self.site)
        except MediaError:
            raise
        except Exception as error:
            # Any exception: a builder of another package must not end an audit of all documents.
            unexpected = UnexpectedError.of(error)
            message, step, code = unexpected.message, unexpected.step, unexpected.code
            raise PermanentError(message, step=step, code=code) from error

    def record(self, document: MediaDocument, draft: Draft, found: Record | None = None) -> Record:
        """Build a record from a draft and the saved blobs and links, without validation.

        Blobs and links of files that are not saved yet are those of the published record `found`.
        """
        if not draft.blobs and not draft.links:
            return draft.fields
        state = document.state
        blobs = self._expected_blobs(document, draft, found)
        published = {name: "published" for name in draft.links if name in (found or {})}
        links = published | {name: key for name, key in state.links.items() if name in draft.links}
        return Attachments(blobs, links, ()).complete(draft)

    def _expected_blobs(
        self, document: MediaDocument, draft: Draft, found: Record | None
    ) -> Mapping[str, BlobState]:
        """Return the blobs of the next record: known ones, and those of texts in the document."""
        known, rules = self.blobs(document, draft, found), self.lexicons.blob_rules(draft.nsid)
        blobs = {name: blob for name, blob in known.items() if name in draft.blobs}
        for name, spec in draft.blobs.items():
            blob = known.get(name, BlobState(mime_type=spec.mime_type))
            # The last run could not upload this text, and kept the blob.
            is_refused = blob.error and not document.is_edited
            if spec.content is not None and not is_refused:
                blobs[name] = _with_content(blob, spec.content, rules[name])
        return blobs

    def blobs(
        self, document: MediaDocument, draft: Draft, found: Record | None
    ) -> Mapping[str, BlobState]:
        """Return the saved blobs, and those that the next sync adopts from `found`."""
        rules = self.lexicons.blob_rules(draft.nsid)
        return adopt_blobs(found or {}, rules, document.state.blobs)

    def valid_record(
        self, document: MediaDocument, draft: Draft, found: Record | None = None
    ) -> Record:
        """Build a record like `record`; raises PermanentError if the record is invalid."""
        record = self.record(document, draft, found)
        self.lexicons.validate(draft.nsid, record)
        return record

    def cid(self, kind: MediaType, document: MediaDocument, account: Account) -> str | None:
        """Compute the CID of the expected record; None if the record cannot be built.

        The record is not validated, because validation would double the time.
        """
        try:
            return cid_of_record(self.record(document, self.draft(kind, document, account)))
        except (PermanentError, ValueError):
            return None

    def is_published(self, kind: MediaType, document: MediaDocument, account: Account) -> bool:
        """Return whether the CID in the state is that of a current record with the right `ref`.

        False if the expected record cannot be built, or depends on the published one.
        """
        try:
            record = self.record(document, self.draft(kind, document, account))
            cid = cid_of_record(record)
        except (PermanentError, ValueError):
            return False
        if document_ref(record) != str(document.ref.id):
            return False
        published = document.state.cid
        if published == cid:
            return True
        return is_current(published, cid, record, optional_additions(kind.additions, document))

    def is_current(
        self, kind: MediaType, document: MediaDocument, account: Account, found: StoredRecord
    ) -> bool:
        """Return whether the published record `found` is current.

        This builds the expected record again, so compare its `cid` first. Raises PermanentError and
        ValueError if the record cannot be built.
        """
        draft = self.draft(kind, document, account)
        record = self.record(document, draft, found.value)
        additions = optional_additions(kind.additions, document)
        return is_current(found.cid, cid_of_record(record), record, additions)


def _with_content(blob: BlobState, content: str, rule: BlobRule) -> BlobState:
    """Return the blob after an upload of `content`; it is unchanged if `content` is too large."""
    data = content.encode()
    if rule.max_size is not None and len(data) > rule.max_size:
        return blob
    return replace(blob, cid=cid_of_blob(data), size=len(data))


@dataclass(frozen=True, slots=True)
class Difference:
    """A field with different values in the expected and the published record.

    `wanted` and `found` are its values as JSON, None if missing. Names of nested fields contain
    dots, such as `thumbnail.size`. An empty `field` means the whole record.
    """

    field: str
    wanted: str | None
    found: str | None


def compare(wanted: Record | None, found: Record | None) -> tuple[Difference, ...]:
    """Return the differences between the expected and the published record.

    Both are in JSON form, or None if missing. The fields of `wanted` come first, in its order,
    then the fields that only `found` has.
    """
    if wanted is None and found is None:
        return ()
    if wanted is None or found is None:
        return (Difference("", _whole(wanted), _whole(found)),)
    return tuple(_differences(wanted, found, ""))


def _differences(wanted: Record, found: Record, prefix: str) -> Iterator[Difference]:
    for name in dict.fromkeys((*wanted, *found)):
        left, right = wanted.get(name), found.get(name)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            yield from _differences(left, right, f"{prefix}{name}.")
            continue
        texts = _field(wanted, name), _field(found, name)
        if texts[0] != texts[1]:
            yield Difference(f"{prefix}{name}", *texts)


def _whole(record: Record | None) -> str | None:
    return None if record is None else _json(record)


def _field(record: Record, name: str) -> str | None:
    return _json(record[name]) if name in record else None


def _json(value: object) -> str:
    """Format a value as canonical JSON, in which 1 and true differ, unlike in Python."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
