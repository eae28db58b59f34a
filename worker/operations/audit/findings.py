"""What an audit says: what is not as it should be, and where all other documents stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.core.documents import Account, Failure, MediaDocument
from worker.core.records import RecordKey
from worker.media import MediaType


class Fault(StrEnum):
    """What can be wrong with a document, a record, or what is said of them."""

    MISSING = "missing"
    STALE = "stale"
    ORPHANED = "orphaned"
    DUPLICATED = "duplicated"
    BLOB_MISSING = "blob_missing"
    BLOB_TRUNCATED = "blob_truncated"
    STATE_LIES = "state_lies"


class Standing(StrEnum):
    """Where a document stands about which nothing is wrong that nobody knows of."""

    RIGHT = "right"
    WAITING = "waiting"
    PARTIAL = "partial"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    `key` is the record's, None where there is none; `cid` is the CID of the record
    that is there and `ref` the document that it names. `document` is None when it has none.
    """

    fault: Fault
    kind: MediaType
    detail: str
    key: RecordKey | None = None
    cid: str | None = None
    ref: str | None = None
    document: MediaDocument | None = None

    @property
    def about(self) -> str:
        """Name the record, or the document that has none."""
        return self.key.uri if self.key else str(self.document.ref if self.document else "")


Standings = Counter[tuple[Standing, str]]


@dataclass(frozen=True, slots=True)
class TypeAudit:
    """An audit of one account's documents and records of one type.

    `standings` counts documents by standing and reason, those of findings left out.
    """

    kind: MediaType
    documents: int
    records: int
    standings: Standings
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class AccountAudit:
    """An audit of one account, or with None as account, of all owners that have none.

    `failure` says why the account's repo could not be read; then nothing else is known.
    """

    account: Account | None
    types: Sequence[TypeAudit] = ()
    failure: Failure | None = None

    @property
    def findings(self) -> list[Finding]:
        """Return the findings of all types."""
        return [finding for audit in self.types for finding in audit.findings]

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found, and all was looked at."""
        return self.failure is None and not self.findings

    @property
    def signature(self) -> frozenset[tuple[Fault, str]]:
        """Return what tells this audit's findings from those of another look."""
        return frozenset((finding.fault, finding.about) for finding in self.findings)
