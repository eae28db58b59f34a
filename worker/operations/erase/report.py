"""What a wipe would do, what it has done, and why it left something alone."""

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
    """How many records of a type there are to remove, how many states to clear."""

    records: int
    states: int


@dataclass(slots=True)
class WipeResult:
    """What became of a type so far: `left` tells by rkey, or `_id`, why something stayed."""

    removed: int = 0
    reset: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Count what is left by its reason."""
        return Counter(self.skipped.values())


def why_skipped(document: MediaDocument, did: str | None) -> str | None:
    """Return why a document's record in the repo `did` must not be taken away, None if it may.

    Strays in that repo are records like the others there; elsewhere only a run can see to them.
    """
    if is_held(document, holder=""):
        return AT_WORK
    if not all(stray.startswith(f"at://{did}/") for stray in document.state.strays):
        return UNSETTLED
    return None
