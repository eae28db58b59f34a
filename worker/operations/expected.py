"""The expected record of a document, built without any call, and its difference to another.

It is built from the document as it is now, with the blobs and links that the last run saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.core.current import current_cids
from worker.core.documents import Account, MediaDocument
from worker.core.errors import PermanentError
from worker.media import Draft, MediaType, SiteUrls
from worker.media.validation import Lexicons
from worker.sync.attachments import Attachments

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ExpectedRecords:
    """Builds expected records."""

    site: SiteUrls
    lexicons: Lexicons

    def draft(self, kind: MediaType, document: MediaDocument, account: Account) -> Draft:
        """Return the draft of a document's record; raises PermanentError naming a bad field."""
        return kind.draft(document, account, self.site)

    def record(self, document: MediaDocument, draft: Draft) -> Record:
        """Return the record of a draft, which is not known to be valid."""
        if not draft.blobs and not draft.links:
            return draft.fields
        state = document.state
        blobs = {name: blob for name, blob in state.blobs.items() if name in draft.blobs}
        links = {name: there for name, there in state.links.items() if name in draft.links}
        return Attachments(blobs, links, ()).complete(draft)

    def valid_record(self, document: MediaDocument, draft: Draft) -> Record:
        """Return the record of a draft; raises LexiconViolation."""
        record = self.record(document, draft)
        self.lexicons.validate(draft.nsid, record)
        return record

    def current_cids(
        self, kind: MediaType, document: MediaDocument, account: Account
    ) -> tuple[str, ...]:
        """Return the CIDs that the document's record may have; none if it cannot be built.

        The record is not validated, which takes as long as all the rest.
        """
        try:
            return current_cids(self.record(document, self.draft(kind, document, account)))
        except (PermanentError, ValueError):
            return ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not as it should be; `wanted` and `found` are JSON, None when absent.

    The field of a record inside a record, a blob for one, is named with dots: `thumbnail.size`.
    An empty `field` speaks of the record as a whole.
    """

    field: str
    wanted: str | None
    found: str | None


def compare(wanted: Record | None, found: Record | None) -> tuple[Difference, ...]:
    """Return what differs between the record that should be there and the one that is.

    Both are in JSON form; None means that there is no record. Fields come in the order of
    `wanted`, those that only `found` has at the end.
    """
    if wanted is None and found is None:
        return ()
    if wanted is None or found is None:
        return (Difference("", _whole(wanted), _whole(found)),)
    return tuple(_differences(wanted, found, ""))


def _differences(wanted: Record, found: Record, prefix: str) -> Iterator[Difference]:
    for name in (*wanted, *(name for name in found if name not in wanted)):
        here, there = wanted.get(name), found.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            yield from _differences(here, there, f"{prefix}{name}.")
            continue
        texts = _field(wanted, name), _field(found, name)
        if texts[0] != texts[1]:
            yield Difference(f"{prefix}{name}", *texts)


def _whole(record: Record | None) -> str | None:
    return None if record is None else _json(record)


def _field(record: Record, name: str) -> str | None:
    return _json(record[name]) if name in record else None


def _json(value: object) -> str:
    """Return a value's canonical text: 1 and true, which Python takes for equal, are not."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
