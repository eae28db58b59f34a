"""Check the media types and their lexicons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.media.lexicons import type_lexicons
from worker.media.registry import registry
from worker.media.validation.files import OWN_FOLDER
from worker.operations.doctor.results import CheckResult, fail, ok
from worker.operations.lexicons import CheckedLexicon, check

SUBJECT = "types"


def fetch_types() -> list[str]:
    """Return the names of all media types, after loading their lexicons.

    Raises MediaTypeError and LexiconFileError.
    """
    type_lexicons()
    return list(registry().types)


def evaluate_types(names: Sequence[str]) -> Iterator[CheckResult]:
    """Report the types."""
    yield ok(SUBJECT, "types", ", ".join(names))


def fetch_lexicons() -> list[CheckedLexicon]:
    """Check all lexicons, also against the published ones; raises as `fetch_types` does."""
    folders = (OWN_FOLDER, *registry().lexicon_folders)
    return [each for folder in folders for each in check(folder)]


def evaluate_lexicons(checked: Sequence[CheckedLexicon]) -> Iterator[CheckResult]:
    """Report each lexicon with findings."""
    wrong = [each for each in checked if each.findings]
    for each in wrong:
        found = f"{each.nsid}: {len(each.findings)} findings"
        yield fail(SUBJECT, "lexicons", found, "run media-atproto lexicons check")
    if not wrong:
        found = f"all {len(checked)} are valid, and compatible with the published versions"
        yield ok(SUBJECT, "lexicons", found)
