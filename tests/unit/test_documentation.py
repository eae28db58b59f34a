"""Error codes have documentation and advice; links lead to existing files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.operations.error_help import BUG, ERROR_HELP, help_for
from worker.pds.errors import _ACCOUNT_FAULTS

ROOT = Path(__file__).parents[2]
# Codes that never stand on an item, because they do not leave the run.
INTERNAL = {"lease_lost", "identity_taken", "writes_refused"}


def codes() -> set[str]:
    """Return every error code that the engine's source names."""
    engine = [path for path in (ROOT / "worker").rglob("*.py") if "stack" not in path.parts]
    source = "\n".join(path.read_text() for path in engine)
    named = re.findall(r'(?<!step, )code ?= ?"(\w+)"', source)
    paired = re.findall(r'step, code = "\w+", "(\w+)"', source)
    return {*named, *paired, *(code for code, _ in _ACCOUNT_FAULTS.values())} - INTERNAL


def test_every_error_code_is_explained_to_the_operator() -> None:
    """In the table of docs/operations.md."""
    explained = (ROOT / "docs/operations.md").read_text()
    assert not [code for code in sorted(codes()) if f"`{code}`" not in explained]


def test_every_error_code_has_advice() -> None:
    """`failures` prints it beside the code."""
    assert not [code for code in sorted(codes()) if help_for(code) is BUG]


@pytest.mark.parametrize("code", ["KeyError", "ZeroDivisionError", "pds_", "pds_x", "", "(none)"])
def test_what_is_no_code_of_ours_is_a_bug(code: str) -> None:
    """An unexpected error bears the name of its class."""
    assert help_for(code) is BUG


@pytest.mark.parametrize(
    ("code", "same_as"),
    [
        ("pds_500", "pds_unreachable"),
        ("pds_503", "pds_unreachable"),
        ("pds_404", "pds_4xx"),
        ("pds_403", "pds_401"),
    ],
)
def test_an_answers_status_has_the_advice_of_its_kind(code: str, same_as: str) -> None:
    """The PDS may answer with any status."""
    assert help_for(code) is help_for(same_as)


def test_no_code_has_two_advices() -> None:
    """Nor the same one twice."""
    named = [code for advice in ERROR_HELP for code in advice.codes]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("document", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"])
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    """Each names an existing file."""
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (document.parent / link).exists()]


def test_tests_that_documents_name_exist() -> None:
    """A file, and the function in it where one is named; a guide names one of its reader's."""
    documents = [*ROOT.glob("docs/**/*.md"), ROOT / "SECURITY.md"]
    named = {
        each
        for document in documents
        for each in re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", document.read_text())
    }
    assert len(named) > 50
    assert {each for each in named if not is_test(*each)} == {("tests/test_tape.py", "")}


def is_test(path: str, function: str) -> bool:
    """Return whether a test file exists, and has the function if one is given."""
    file = ROOT / path
    return file.is_file() and (not function or f"def {function}(" in file.read_text())
