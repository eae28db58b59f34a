"""A batch's report: what its message is to try again soon, and what it names to a person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from worker.core.clock import now
from worker.core.documents import DocumentId, Failure, ItemRef, Status
from worker.sync.batch.report import BatchReport
from worker.sync.outcome import Outcome

SYNCED = Outcome(ItemRef("mood", 1), Status.SYNCED, "at://did/mood/1")


def waiting(seconds: float, status: Status | None = Status.PENDING) -> Outcome:
    """Return the outcome of an item that is due so soon."""
    return Outcome(
        ItemRef("mood", 2), status, "no answer", retry_at=now() + timedelta(seconds=seconds)
    )


def failed(number: int = 3) -> Outcome:
    """Return the outcome of an item that was given up."""
    failure = Failure("document", "field_invalid", "field", permanent=True, at=now())
    return Outcome(ItemRef("mood", number), Status.FAILED, "field 'when' is missing", error=failure)


def report(*outcomes: Outcome) -> BatchReport:
    """Return a report of outcomes, by ids 0, 1, 2..."""
    numbered: list[tuple[DocumentId, Outcome]] = list(enumerate(outcomes))
    return BatchReport(numbered)


def test_a_batch_that_went_well_is_done() -> None:
    """Nothing to try again, nobody to tell."""
    done = report(SYNCED, Outcome(ItemRef("mood", 2), Status.SKIPPED, "no_account"))
    assert done.due_within(30) == ([], 0.0)
    assert done.given_up is None
    assert done.summary == "1 synced, 1 skipped"


def test_what_is_due_soon_is_tried_again_when_all_of_it_is() -> None:
    """One message for all; what waits for longer is the sweep's."""
    ids, wait = report(SYNCED, waiting(5), waiting(20), waiting(31), waiting(-3)).due_within(30)
    assert ids == [1, 2, 4]
    assert wait == pytest.approx(20, abs=1)


CHANGING = Outcome(ItemRef("mood", 1), None, "it changes as fast as it is published", again=True)


@pytest.mark.parametrize(
    ("outcomes", "due"),
    [
        ([waiting(-60)], ([0], 0.0)),  # no message is delayed by less than nothing
        ([SYNCED, CHANGING], ([1], 1.0)),
        ([waiting(5, None), failed()], ([], 0.0)),  # another run's, and one that needs a person
        ([waiting(5, Status.PARTIAL)], ([], 0.0)),  # the record is up, only a file is missing
    ],
)
def test_only_what_another_attempt_may_publish_is_tried_again(
    outcomes: list[Outcome], due: tuple[list[int], float]
) -> None:
    """Items that are overdue or were edited meanwhile; the others are left to the sweep."""
    assert report(*outcomes).due_within(30) == due


def test_what_was_given_up_is_named() -> None:
    """Some of it: a log line has an end."""
    assert report(SYNCED, failed()).given_up == ("1 of 2 failed: mood 3: field 'when' is missing")
    many = report(*map(failed, range(9))).given_up
    assert many is not None
    assert many.startswith("9 of 9 failed: mood 0: ")
    assert many.endswith("; mood 4: field 'when' is missing; and 4 more")


def test_the_summary_names_what_was_left() -> None:
    """The most frequent first."""
    assert report(waiting(5, None), SYNCED, SYNCED).summary == "2 synced, 1 left"
