"""The rule for "is the published record current?", used wherever a record is compared.

The single path and the batch path skip the write of a current record, the audit and the status
page report any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.core.cid import cid_of_record


def current_cids(record: Mapping[str, object]) -> tuple[str, ...]:
    """Return the CIDs that a published record may have to count as current.

    `record` is the expected record in JSON form; its own CID comes first. Raises ValueError for
    what DAG-CBOR cannot hold.
    """
    return (cid_of_record(record),)


def is_current(published: str | None, cids: Sequence[str]) -> bool:
    """Return whether the CID of a published record is one of `current_cids`."""
    return published in cids
