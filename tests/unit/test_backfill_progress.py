"""The progress of a backfill, and its results."""

from __future__ import annotations

import pytest

from worker.cli.backfill_progress import reasons_of
from worker.cli.backfill_results import print_results, results_as_json
from worker.sync.batch.progress import BackfillProgress

REASONS = {("mood", "field_invalid"): 1, ("painting", "source_missing"): 2}


def test_reasons_are_separated_by_commas() -> None:
    """Also if they stand in a column of their own: none comes first."""
    tally = BackfillProgress(0, {}, REASONS)
    assert reasons_of(tally) == "source_missing 2, field_invalid 1"
    assert reasons_of(tally, "mood") == "field_invalid 1"
    assert not reasons_of(tally, "piece")


def test_results_name_the_reasons_of_skipped_items(capsys: pytest.CaptureFixture[str]) -> None:
    """In a table of their own, because they are no errors."""
    statuses = {("painting", "skipped"): 2}
    tally = BackfillProgress(0, statuses, {}, {("painting", "no_code"): 2})
    print_results(statuses, tally, 0)
    output = " ".join(capsys.readouterr().out.split())
    assert output.endswith("Skipped by reason type reason items painting no_code 2")
    assert results_as_json(statuses, tally, 0)["skipped_reasons"] == [
        {"type": "painting", "reason": "no_code", "items": 2}
    ]
