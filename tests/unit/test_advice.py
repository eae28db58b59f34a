"""Advice: every error code has one, and it is the operator's table in other clothes."""

from __future__ import annotations

import pytest

from tests.unit.test_documentation import ROOT, codes
from worker.advice import ADVICE, BUG, advice_for


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_error_code_has_advice(code: str) -> None:
    """Whoever reads a code among the failures reads beside it what to do."""
    assert advice_for(code) is not BUG


def test_advice_is_what_the_documentation_says() -> None:
    """Row by row, word for word."""
    page = (ROOT / "docs/operations.md").read_text()
    rows = [f"| {_named(advice.codes)} | {advice.meaning} | {advice.action} |" for advice in ADVICE]
    assert not [row for row in rows if row not in page.splitlines()]
    assert f"| {BUG.codes[0]} | {BUG.meaning} | {BUG.action} |" in page


@pytest.mark.parametrize("code", ["KeyError", "ZeroDivisionError", "pds_", "pds_x", "", "(none)"])
def test_what_is_no_code_of_ours_is_a_bug(code: str) -> None:
    """An unexpected error bears the name of its class."""
    assert advice_for(code) is BUG


@pytest.mark.parametrize(
    ("code", "same_as"),
    [
        ("pds_500", "pds_unreachable"),
        ("pds_503", "pds_unreachable"),
        ("pds_404", "pds_redirected"),
        ("pds_403", "wrong_password"),
    ],
)
def test_an_answers_status_has_the_advice_of_its_kind(code: str, same_as: str) -> None:
    """The PDS may answer with any status."""
    assert advice_for(code) is advice_for(same_as)


def test_no_code_has_two_advices() -> None:
    """Nor the same one twice."""
    named = [code for advice in ADVICE for code in advice.codes]
    assert len(named) == len(set(named))


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
