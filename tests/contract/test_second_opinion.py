"""The reference validator reports what is wrong with each record of many."""

from __future__ import annotations

import pytest

from tests.second_opinion import SecondOpinion, open_second_opinion
from worker.media.validation.files import OWN_FOLDER, PUBLISHED, read_published

MOOD = {
    "$type": "computer.aesthetic.mood",
    "mood": "calm",
    "when": "2025-03-12T10:20:30.456Z",
    "ref": "65f0c0ffee65f0c0ffee65f0",
}
LIMIT = 5000


@pytest.fixture(scope="module")
def opinion(
    bare_environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> SecondOpinion:
    """Return the reference validator."""
    return open_second_opinion(bare_environ, tmp_path_factory.mktemp("opinion"))


def test_validator_answers_for_each_record(opinion: SecondOpinion) -> None:
    """Valid ones among invalid ones; an addition is valid, and limits count bytes."""
    records = [
        MOOD,
        {**MOOD, "text": "calm", "acUrl": "https://aesthetic.computer"},
        {name: value for name, value in MOOD.items() if name != "mood"},
        {**MOOD, "mood": "x" * LIMIT},
        {**MOOD, "mood": "ü" * (LIMIT // 2) + "x"},
        {**MOOD, "when": "2025-03-12 10:20"},
        {**MOOD, "$type": "computer.aesthetic.unknown"},
    ]
    documents = read_published(OWN_FOLDER / PUBLISHED).values()
    valid, extended, incomplete, long, too_long, undated, unknown = opinion.on_records(
        documents, records
    )
    assert (valid, extended, long) == (None, None, None)
    assert "mood" in str(incomplete)
    assert f"{LIMIT}" in str(too_long)
    assert "datetime" in str(undated)
    assert "unknown" in str(unknown)


def test_validator_reports_an_invalid_lexicon(opinion: SecondOpinion) -> None:
    """The message names what is wrong."""
    document = read_published(OWN_FOLDER / PUBLISHED)["computer.aesthetic.mood"]
    assert opinion.on_lexicons([document]) is None
    assert "lexicon" in str(opinion.on_lexicons([{**document, "lexicon": 2}]))
