"""Check that lexicons are valid and compatible with their published versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.media.validation import LexiconFileError
from worker.media.validation.compatibility import breaking_changes
from worker.media.validation.files import PUBLISHED, lexicon_files, read_file, read_published
from worker.operations.lexicons.published import FolderSource, LexiconSource

_LOST = "was published, and readers look for it; bring it back"
_INVALID = "it breaks the lexicon language; correct the file"
_MAX_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class LexiconFinding:
    """A finding about one lexicon; `was` and `now` are the JSON values at `place`."""

    file: Path
    place: str
    was: str
    now: str
    why: str


@dataclass(frozen=True, slots=True)
class CheckedLexicon:
    """A checked lexicon; `against` locates its published version, "" without one."""

    nsid: str
    file: Path
    against: str
    findings: tuple[LexiconFinding, ...]


def load_copies(folder: Path) -> FolderSource:
    """Load the copies of the published versions in `folder`; raises LexiconFileError."""
    kept = folder / PUBLISHED
    return FolderSource(read_published(kept), str(kept))


def check(folder: Path, published: LexiconSource | None = None) -> Iterator[CheckedLexicon]:
    """Compare each lexicon in `folder` with its published version; yield the results.

    Without `published`, use the copies in the folder, and report copies without a lexicon. Raises
    LexiconFileError for a folder without lexicons or an invalid copy, and errors of `published`.
    """
    copies = load_copies(folder)
    seen: set[str] = set()
    for file in lexicon_files(folder):
        nsid = ".".join(file.relative_to(folder).with_suffix("").parts)
        seen.add(nsid)
        yield _check_file(folder, file, nsid, published or copies)
    for nsid in sorted(copies.documents.keys() - seen) if published is None else ():
        finding = LexiconFinding(folder, nsid, "published", "", _LOST)
        yield CheckedLexicon(nsid, folder, copies.name, (finding,))


def _check_file(folder: Path, file: Path, nsid: str, published: LexiconSource) -> CheckedLexicon:
    try:
        document = read_file(file, folder).document
    except LexiconFileError as error:
        finding = LexiconFinding(file, error.reason, "", "", _INVALID)
        return CheckedLexicon(nsid, file, "", (finding,))
    before = published.find(nsid)
    if before is None:
        return CheckedLexicon(nsid, file, "", ())
    found = [
        LexiconFinding(
            file, each.path, format_constraint(each.was), format_constraint(each.now), each.why
        )
        for each in breaking_changes(before, document)
    ]
    return CheckedLexicon(nsid, file, published.location(nsid), tuple(found))


def format_constraint(value: object) -> str:
    """Format a value of a lexicon as JSON of up to 120 characters; None as "nothing"."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "..."
