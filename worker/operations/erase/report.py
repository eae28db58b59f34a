"""Describe what a wipe would do, what it has done, and what it skipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from worker.core.documents import MediaDocument
from worker.database.leases import is_held

AT_WORK = "a worker is at it"
UNSETTLED = "a worker has to settle first what an earlier one left in doubt"
BACK = "its record was published again meanwhile"


@dataclass(frozen=True, slots=True)
class WipePreview:
    """Numbers of records to remove and of states to reset, for one type."""

    records: int
    states: int


@dataclass(slots=True)
class WipeResult:
    """Results so far for one type; `skipped` holds reasons by rkey or `_id`."""

    removed: int = 0
    reset: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Count the skipped items by reason."""
        return Counter(self.skipped.values())


def why_skipped(document: MediaDocument, did: str | None) -> str | None:
    """Return why a document's record in the repo `did` must be kept, or None.

    Stray writes in that repo are removed like other records; only a run settles those elsewhere.
    """
    if is_held(document, holder=""):
        return AT_WORK
    if not all(stray.startswith(f"at://{did}/") for stray in document.state.strays):
        return UNSETTLED
    return None
