"""The preview and the results of a wipe, with the reasons for skipped items."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from worker.core.documents import MediaDocument
from worker.database.leases import is_held

AT_WORK = "a worker is processing it"
UNSETTLED = "a worker must sync it first: an interrupted run may have written elsewhere"
BACK = "its record was published again meanwhile"


@dataclass(frozen=True, slots=True)
class WipePreview:
    """The numbers of records to remove and of states to reset, for one media type."""

    records: int
    states: int


@dataclass(slots=True)
class WipeResult:
    """The results for one media type; `skipped` maps an rkey or `_id` to a reason."""

    removed: int = 0
    reset: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Count the skipped items by reason."""
        return Counter(self.skipped.values())


def why_skipped(document: MediaDocument, did: str | None) -> str | None:
    """Return why a wipe of the repo `did` must skip a document, or None.

    A document is skipped while a worker holds its lease, or if it has stray writes in another repo,
    which only a sync can remove. The wipe removes stray writes in this repo itself.
    """
    if is_held(document, holder=""):
        return AT_WORK
    if not all(stray.startswith(f"at://{did}/") for stray in document.state.strays):
        return UNSETTLED
    return None
