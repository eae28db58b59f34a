"""A batch's report: what its message is to try again soon, and what it names to a person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from worker.bulk.report import BatchReport
from worker.clock import now
from worker.documents import DocumentId, Failure, ItemRef, Status
from worker.outcome import Outcome

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


def test_what_was_due_before_is_tried_at_once() -> None:
    """No message is delayed by less than nothing."""
    assert report(waiting(-60)).due_within(30) == ([0], 0.0)


def test_an_item_that_keeps_changing_is_tried_again() -> None:
    """It was edited as fast as it was published."""
    changing = Outcome(
        ItemRef("mood", 1), None, "it changes as fast as it is published", again=True
    )
    assert report(SYNCED, changing).due_within(30) == ([1], 1.0)


def test_what_is_another_runs_or_given_up_is_not_tried_again() -> None:
    """The one will be seen to, the other needs a person."""
    assert report(waiting(5, None), failed()).due_within(30) == ([], 0.0)


def test_what_lacks_a_file_is_left_to_the_sweep() -> None:
    """The record is up; nobody waits for a file."""
    assert report(waiting(5, Status.PARTIAL)).due_within(30) == ([], 0.0)


def test_what_was_given_up_is_named() -> None:
    """Some of it: a log line has an end."""
    assert report(SYNCED, failed()).given_up == ("1 of 2 given up: mood 3: field 'when' is missing")
    many = report(*map(failed, range(9))).given_up
    assert many is not None
    assert many.startswith("9 of 9 given up: mood 0: ")
    assert many.endswith("; mood 4: field 'when' is missing; and 4 more")


def test_the_summary_names_what_was_left() -> None:
    """The most frequent first."""
    assert report(waiting(5, None), SYNCED, SYNCED).summary == "2 synced, 1 left"
