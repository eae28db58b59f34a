"""Decide whether a published record is current.

The single path and the batch path do not write a current record again. The audit and the status
page report records that are not current.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from worker.core.cid import cid_of_record


def current_cids(record: Mapping[str, object]) -> tuple[str, ...]:
    """Return the CIDs that a current published record may have.

    `record` is the expected record in JSON form; its CID comes first. Raises ValueError for
    values that DAG-CBOR cannot represent.
    """
    return (cid_of_record(record),)


def is_current(published: str | None, cids: Sequence[str]) -> bool:
    """Return whether `cids` contains the CID of the published record."""
    return published in cids
