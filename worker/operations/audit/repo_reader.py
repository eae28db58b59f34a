"""Read repos and blobs from a PDS for an audit, and wait when it asks for time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from worker.core.clock import now
from worker.core.errors import MediaError, TransientError, WaitError
from worker.operations.audit.blobs import BlobReader
from worker.operations.audit.findings import Fault
from worker.pds.client import Pds
from worker.pds.snapshot import Snapshot, StoredRecord

Records = Mapping[str, Mapping[str, StoredRecord]]
_TRIES = 3
T = TypeVar("T")
_LONGEST_WAIT = 600.0  # seconds; the windows of a PDS's limits on reading are half as long


def patiently(call: Callable[[], T]) -> T:
    """Make a call that only reads, again after each wait that is asked for.

    Raises WaitError when the wait would be too long, and whatever the call raises.
    """
    while True:
        try:
            return call()
        except WaitError as told:
            seconds = (told.until - now()).total_seconds()
            if seconds > _LONGEST_WAIT:
                raise
            time.sleep(max(seconds, 0.0))


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads repos and blobs; `pds_of` returns the PDS where a DID's account lives."""

    pds_of: Callable[[str], Pds]
    blobs: BlobReader

    def records(self, did: str, collections: Sequence[str]) -> Records:
        """Return the records of a repo by collection and rkey.

        A repo that is written to while the PDS sends it may come damaged, so it is asked for
        again. Raises RepoDamagedError when it stays so, and the errors of `worker.pds.errors`.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._records(did, collections)
            except TransientError:
                continue
        return self._records(did, collections)

    def blob_fault(self, did: str, cid: str) -> Fault | None:
        """Return what is wrong with a blob; None when it is whole.

        Its bytes are fetched: a PDS lists, and says the size of, what has no file any more. Raises
        the errors of `worker.pds.errors` when it is not this blob alone that cannot be had.
        """
        try:
            fault = self.blobs.fault(did, cid)
        except TransientError:
            if self.is_away(did):
                raise
            return Fault.BLOB_MISSING
        if fault is Fault.BLOB_TRUNCATED and self.is_away(did):
            fault = self.blobs.fault(did, cid)  # it ended in the middle, not the file
        return fault

    def is_away(self, did: str) -> bool:
        """Tell whether the PDS answers no question at all, rather than not one about a repo."""
        try:
            patiently(lambda: self.pds_of(did).latest_commit(did))
        except TransientError:
            return True
        except MediaError:
            return False
        return False

    def _records(self, did: str, collections: Sequence[str]) -> Records:
        snapshot = Snapshot.parse(did, patiently(lambda: self.pds_of(did).get_repo(did)))
        return {collection: snapshot.records(collection) for collection in collections}
