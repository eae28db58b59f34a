"""Media types and their lexicons."""

from __future__ import annotations

from collections.abc import Sequence

from worker.media.lexicons import type_lexicons
from worker.media.registry import registry
from worker.media.validation.files import OWN_FOLDER
from worker.operations.doctor.findings import Finding, fine, wrong
from worker.operations.lexicons import Checked, check

SUBJECT = "types"


def look_at_types() -> list[Finding]:
    """Load all types and their lexicons; raises MediaTypeError and LexiconFileError."""
    types = registry().types
    type_lexicons()
    return [fine(SUBJECT, "types", ", ".join(types))]


def look_at_lexicons() -> list[Finding]:
    """Check every lexicon, also against what was published; raises as `look_at_types` does."""
    folders = (OWN_FOLDER, *registry().lexicon_folders)
    return judge_lexicons([each for folder in folders for each in check(folder)])


def judge_lexicons(checked: Sequence[Checked]) -> list[Finding]:
    """Judge lexicons; a line for each that is not as it should be."""
    findings = [
        wrong(
            SUBJECT,
            "lexicons",
            f"{each.nsid}: {len(each.findings)} findings",
            "run media-atproto lexicons check",
        )
        for each in checked
        if each.findings
    ]
    valid = f"all {len(checked)} are valid, and compatible with what was published"
    return findings or [fine(SUBJECT, "lexicons", valid)]
