"""The rule for whether a published record is current.

The single path and the batch path do not write a current record again; the audit and the status
page report any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.core.cid import cid_of_record


def current_cids(record: Mapping[str, object]) -> tuple[str, ...]:
    """Return the CIDs with which a published record counts as current.

    `record` is the expected record in JSON form; its own CID comes first. Raises ValueError for
    values that DAG-CBOR cannot hold.
    """
    return (cid_of_record(record),)


def is_current(published: str | None, cids: Sequence[str]) -> bool:
    """Return whether the CID of a published record is one of `current_cids`."""
    return published in cids
