"""Check the media types, their lexicons, and the store of uploaded files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from worker.files.store import SourceKey, SourceStore
from worker.media.lexicons import type_lexicons
from worker.media.registry import registry
from worker.media.validation.files import OWN_FOLDER
from worker.operations.doctor.results import CheckResult, fail, ok
from worker.operations.lexicons import CheckedLexicon, check

TYPES = "types"
STORE = "media store"
_TEST_FILE = "media-atproto-doctor"


def check_types() -> list[CheckResult]:
    """Load all types and their lexicons; raises MediaTypeError and LexiconFileError."""
    types = registry().types
    type_lexicons()
    return [ok(TYPES, "types", ", ".join(types))]


def check_lexicons() -> list[CheckResult]:
    """Check every lexicon, also against what was published; raises as `check_types` does."""
    folders = (OWN_FOLDER, *registry().lexicon_folders)
    return evaluate_lexicons([each for folder in folders for each in check(folder)])


def evaluate_lexicons(checked: Sequence[CheckedLexicon]) -> list[CheckResult]:
    """Judge lexicons; a line for each that is not as it should be."""
    findings = [
        fail(
            TYPES,
            "lexicons",
            f"{each.nsid}: {len(each.findings)} findings",
            "run media-atproto lexicons check",
        )
        for each in checked
        if each.findings
    ]
    valid = f"all {len(checked)} are valid, and compatible with what was published"
    return findings or [ok(TYPES, "lexicons", valid)]


def check_folder(folder: Path) -> list[CheckResult]:
    """Look whether a store that is a folder can be read."""
    return [
        evaluate_folder(
            folder, there=folder.is_dir(), readable=os.access(folder, os.R_OK | os.X_OK)
        )
    ]


def evaluate_folder(folder: Path, *, there: bool, readable: bool) -> CheckResult:
    """Judge a store that is a folder."""
    if not there:
        return fail(STORE, "folder", f"there is no folder {folder}", "look at MEDIA_STORE_URL")
    if not readable:
        advice = "let the worker's user read it and enter it"
        return fail(STORE, "folder", f"{folder} cannot be read", advice)
    return ok(STORE, "folder", f"{folder} can be read")


def check_store(sources: SourceStore, bucket: str) -> list[CheckResult]:
    """Ask a store on the web for a file that is nobody's; raises the errors of sources."""
    there = sources.exists(SourceKey(bucket, None, _TEST_FILE))
    told = "answers" if not there else "answers, though with a file that nobody stored"
    return [ok(STORE, "answer", f"it {told}")]
