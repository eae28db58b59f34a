"""Advice: every error code has one."""

from __future__ import annotations

import pytest

from tests.unit.test_documentation import codes
from worker.advice import ADVICE, BUG, advice_for


def test_every_error_code_has_advice() -> None:
    """`failures` prints it beside the code."""
    assert not [code for code in sorted(codes()) if advice_for(code) is BUG]


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
