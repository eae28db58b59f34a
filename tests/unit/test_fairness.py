"""Who comes first, when one account has more to be done than all others."""

from __future__ import annotations

from worker.queue.names import FRONT, OVERFLOW
from worker.sync.fairness import FairShare, over_quota


def test_what_is_over_somebodys_share_is_named_by_its_place() -> None:
    """The first of each stay where they are, and so does what is nobody's."""
    owners = ["ada", "ada", None, "bob", "ada", None, None, "bob", "bob", "ada"]
    assert over_quota(owners, 2) == [4, 8, 9]
    assert over_quota(owners, 4) == []
    assert over_quota([], 1) == []


def test_everybodys_first_are_enqueued_in_front() -> None:
    """The rest of theirs goes behind, as far as there is room."""
    shares = FairShare(quota=2, front=9, overflow=3)
    places = [shares.priority_for(owner) for owner in ["ada"] * 7 + ["bob"]]
    assert places == [FRONT, FRONT, OVERFLOW, OVERFLOW, OVERFLOW, None, None, FRONT]


def test_one_with_many_takes_no_room_from_the_others() -> None:
    """Room in front is for first items alone; without any, they wait."""
    shares = FairShare(quota=1, front=2, overflow=100)
    assert [shares.priority_for(owner) for owner in ("ada", "ada", "bob")] == [
        FRONT,
        OVERFLOW,
        FRONT,
    ]
    assert not shares.has_capacity()
    assert shares.priority_for("cyd") is None
    assert shares.priority_for("ada") == OVERFLOW
