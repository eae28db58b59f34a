"""Error codes have documentation and advice; links, anchors and transcripts exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import DocumentationPage, documentation_pages
from tests.transcripts.commands import TRANSCRIPTS
from tests.transcripts.pages import Pages, code_table
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


def test_the_table_of_error_codes_has_the_texts_of_failures() -> None:
    """`make transcripts` writes it into docs/troubleshooting.md."""
    assert Pages.read().codes() == code_table()


def test_each_transcript_is_in_a_page() -> None:
    """And each block that is marked as a transcript has one."""
    assert {name for name, _ in Pages.read().blocks()} == {each.name for each in TRANSCRIPTS}


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


@pytest.mark.parametrize("page", documentation_pages(), ids=str)
def test_links_of_a_page_lead_to_files_and_headings(page: DocumentationPage) -> None:
    """In this repository; other addresses are not checked."""
    assert page.broken_links() == []


def test_links_in_code_lead_to_existing_pages() -> None:
    """Help texts and messages name pages as docs/NAME.md."""
    sources = [path.read_text() for path in (ROOT / "worker").rglob("*.py")]
    named = {name for source in sources for name in re.findall(r"docs/[\w./-]+\.md", source)}
    assert len(named) > 2
    assert not [name for name in named if not (ROOT / name).is_file()]


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
