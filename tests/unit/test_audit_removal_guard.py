"""How much of a collection a repair may remove unasked."""

from __future__ import annotations

from collections import Counter

import pytest

from worker.core.records import RecordKey
from worker.media import MEDIA_TYPES
from worker.operations.audit.findings import Fault, Finding, TypeAudit
from worker.operations.audit.repair import is_removal, removal_guard

MOOD = MEDIA_TYPES["mood"]
DID = "did:plc:here"


def findings(count: int, fault: Fault = Fault.ORPHANED) -> list[Finding]:
    """Return findings about different records."""
    return [Finding(fault, MOOD, "", RecordKey(DID, MOOD.nsid, str(n))) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "records", "refused"),
    [
        (5, 5, False),
        (6, 6, True),
        (6, 29, True),
        (6, 30, False),
        (200, 1000, False),
        (201, 1000, True),
        (201, 1004, True),
        (201, 1005, False),
    ],
)
def test_a_fifth_may_go_and_so_may_five(count: int, records: int, *, refused: bool) -> None:
    """More than both is refused."""
    audit = TypeAudit(MOOD, 0, records, Counter(), ())
    assert (removal_guard(DID, audit, findings(count)) is not None) is refused


def test_record_with_two_faults_is_removed_once() -> None:
    """Two blobs of one record are one removal."""
    audit = TypeAudit(MOOD, 0, 5, Counter(), ())
    assert removal_guard(DID, audit, findings(5) + findings(5, Fault.BLOB_MISSING)) is None


def test_only_what_is_removed_counts() -> None:
    """What is written again in its place does not."""
    removed = {fault for fault in Fault if is_removal(findings(1, fault)[0])}
    blobs = {Fault.BLOB_MISSING, Fault.BLOB_TRUNCATED}
    assert removed == {Fault.ORPHANED, Fault.DUPLICATED} | blobs
