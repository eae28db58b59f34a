"""The record that should be there for a document, as far as can be told without any call.

Built from the document as it is, with the blobs and links that the last run left on its state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.cid import raw_cid_of_record
from worker.core.documents import Account, MediaDocument
from worker.core.errors import PermanentError
from worker.media import Draft, MediaType, Site
from worker.media.validation import Lexicons
from worker.sync.attachments import Parts

Record = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Expectations:
    """Builds expected records."""

    site: Site
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
        return Parts(blobs, links, ()).complete(draft)

    def valid_record(self, document: MediaDocument, draft: Draft) -> Record:
        """Return the record of a draft; raises LexiconViolation."""
        record = self.record(document, draft)
        self.lexicons.validate(draft.nsid, record)
        return record

    def raw_cid(self, kind: MediaType, document: MediaDocument, account: Account) -> bytes | None:
        """Return the CID of a document's record, in bytes; None when none can be built.

        The record is not validated, which takes as long as all the rest.
        """
        try:
            return raw_cid_of_record(self.record(document, self.draft(kind, document, account)))
        except (PermanentError, ValueError):
            return None
