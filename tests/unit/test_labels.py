"""How messages are named for people."""

from __future__ import annotations

from typing import Any

import pytest

from worker.queue.labels import options_label, subject_label


@pytest.mark.parametrize(
    ("task", "arguments", "named", "rest"),
    [
        ("sync_media", {"type": "mood", "id": "65f0"}, "mood 65f0", ""),
        ("sync_media", {"id": 7, "type": "mood", "user": "ada"}, "mood 7", "user: ada"),
        ("sync_media", {"type": "mood", "id": "65f0", "user": None}, "mood 65f0", ""),
        ("delete_media", {"type": "mood", "user": "ada", "rkey": "3k"}, "mood ada 3k", ""),
        (
            "sync_batch",
            {"type": "mood", "subject": "ada", "ids": ["a", 2], "backfill": "b7"},
            "moods of ada: 2 items, a, 2",
            "backfill: b7",
        ),
        (
            "sync_batch",
            {"type": "mood", "subject": "ada", "ids": ["a"]},
            "moods of ada: 1 item, a",
            "",
        ),
        ("sweep", {}, "", ""),
        ("another", {"name": "value"}, "", "name: value"),
    ],
)
def test_a_message_is_named_by_its_document(
    task: str, arguments: dict[str, Any], named: str, rest: str
) -> None:
    """Whatever way its producer gave the arguments."""
    assert (subject_label(task, arguments), options_label(task, arguments)) == (named, rest)


def test_a_batch_is_told_in_a_line() -> None:
    """Its first items stand for a hundred."""
    ids = [f"id-{number}" for number in range(100)]
    told = subject_label("sync_batch", {"type": "mood", "subject": "ada", "ids": ids})
    assert told == "moods of ada: 100 items, id-0, id-1, id-2 and 97 more"


def test_what_is_long_is_cut() -> None:
    """An id may be as long as MongoDB takes it."""
    assert len(subject_label("sync_media", {"type": "mood", "id": "x" * 5000})) == 300
    assert len(options_label("sync_media", {"user": "x" * 5000})) == 300
