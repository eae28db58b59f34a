"""Taking turns: the order in which accounts' batches are enqueued, and how little is held."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from worker.operations.backfill.planner import round_robin


def numbered(owner: str, number: int = 3) -> Iterator[str]:
    """Go through so many batches of an owner."""
    return (f"{owner}{batch}" for batch in range(number))


def test_one_batch_of_each_in_turn() -> None:
    """Until those who have few are done."""
    lengths = {"a": 3, "b": 1, "c": 2}
    turns = round_robin(numbered(owner, length) for owner, length in lengths.items())
    assert list(turns) == ["a0", "b0", "c0", "a1", "c1", "a2"]


def test_nobody_has_anything() -> None:
    """No owners, or owners without batches."""
    assert list(round_robin([])) == []
    assert list(round_robin(numbered(str(owner), 0) for owner in range(200))) == []


def test_everything_comes_once() -> None:
    """Also with more owners than take turns at a time."""
    owners = [f"{number}-" for number in range(300)]
    batches = list(round_robin(numbered(owner, len(owner)) for owner in owners))
    assert sorted(batches) == sorted(b for owner in owners for b in numbered(owner, len(owner)))


def test_who_comes_late_takes_the_turn_of_one_who_is_done() -> None:
    """An owner with much to do does not keep those out who come after the first ones."""
    small = (numbered(f"small{number}-", 1) for number in range(500))
    first = list(islice(round_robin([numbered("large", 1000), *small]), 520))
    assert sum(batch.startswith("small") for batch in first) == 500


def test_owners_and_batches_are_taken_as_they_are_needed() -> None:
    """There may be any number of both."""
    asked: list[int] = []

    def owners() -> Iterator[Iterator[int]]:
        for number in count():
            asked.append(number)
            yield count()

    assert len(list(islice(round_robin(owners()), 1000))) == 1000
    assert len(asked) < 100
