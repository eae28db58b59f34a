"""The guard on removals: no audit empties a collection because it sees things wrongly. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.core.records import RecordKey
from worker.operations.audit.findings import Fault, Finding, TypeAudit

_LARGEST_SHARE = 5  # one in so many: 20%
_ALWAYS = 5  # records; of a small collection, even all

_REMOVED = frozenset({Fault.ORPHANED, Fault.DUPLICATED, Fault.BLOB_MISSING, Fault.BLOB_TRUNCATED})


@dataclass(frozen=True, slots=True)
class Refusal:
    """Removals that were not made: too large a share of the records of a collection."""

    did: str
    collection: str
    removals: int
    records: int

    @property
    def text(self) -> str:
        """Say what was refused and what to do."""
        share = f"{self.removals} of {self.records} records of {self.collection}"
        return (
            f"{self.did}: to remove {share} is more than 20%: none was removed; "
            "look at the findings, and repeat with --force if they are right"
        )


def is_removal(finding: Finding) -> bool:
    """Tell whether the record of a finding has to be removed, be it to be written again.

    A blob that is missing or cut short is not replaced by an upload while a record refers to it:
    the records go first.
    """
    return finding.fault in _REMOVED and finding.key is not None


def refusal(did: str, audit: TypeAudit, findings: Sequence[Finding]) -> Refusal | None:
    """Return why these removals must not be made unless forced; None if they may."""
    keys: set[RecordKey] = {finding.key for finding in findings if finding.key}
    if len(keys) <= max(_ALWAYS, audit.records // _LARGEST_SHARE):
        return None
    return Refusal(did, audit.kind.nsid, len(keys), audit.records)
