"""Who comes first, when one account has more to be done than all others. Pure.

Everybody's first items are done before anybody's many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from worker.queue.names import FRONT, OVERFLOW


def over_share(owners: Sequence[str | None], most: int) -> list[int]:
    """Return the places of what is more than the first `most` of one owner's.

    `owners` are those of what waits, in the order of its turn; None is nobody's.
    """
    seen: Counter[str] = Counter()
    places = []
    for place, owner in enumerate(owners):
        if owner is not None:
            seen[owner] += 1
            if seen[owner] > most:
                places.append(place)
    return places


@dataclass(slots=True)
class Shares:
    """Where one enqueues for many owners: `most` of each in front, the rest of theirs behind.

    `front` and `behind` are how much there is room for.
    """

    most: int
    front: int
    behind: int
    _taken: Counter[str] = field(default_factory=Counter)

    def has_room(self) -> bool:
        """Tell whether there is room for anybody's first."""
        return self.front > 0

    def place(self, owner: str) -> int | None:
        """Return the priority for one more of an owner's, None when it has to wait."""
        is_first = self._taken[owner] < self.most
        if (self.front if is_first else self.behind) <= 0:
            return None
        self._taken[owner] += 1
        if is_first:
            self.front -= 1
            return FRONT
        self.behind -= 1
        return OVERFLOW
