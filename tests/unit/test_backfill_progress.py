"""The line that shows the progress of a backfill."""

from __future__ import annotations

from worker.cli.backfill_progress import reasons_of
from worker.sync.batch.progress import BackfillProgress

REASONS = {("mood", "field_invalid"): 1, ("painting", "source_missing"): 2}


def test_reasons_are_separated_by_commas() -> None:
    """Also if they stand in a column of their own: none comes first."""
    tally = BackfillProgress(0, {}, REASONS)
    assert reasons_of(tally) == "source_missing 2, field_invalid 1"
    assert reasons_of(tally, "mood") == "field_invalid 1"
    assert not reasons_of(tally, "piece")
