"""Whether lexicons are valid, and what they break of what was published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.media.validation import LexiconFileError
from worker.media.validation.compatibility import BreakingChange, breaking_changes
from worker.media.validation.files import PUBLISHED, lexicon_files, read_file, read_published
from worker.operations.lexicons.published import FolderSource, LexiconSource

_LOST = "was published, and readers look for it; bring it back"
_INVALID = "it breaks the lexicon language; correct the file"
_MAX_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class LexiconFinding:
    """What is wrong with one lexicon: `place` is a path in it, `was` and `now` are JSON."""

    file: Path
    place: str
    was: str
    now: str
    why: str


@dataclass(frozen=True, slots=True)
class CheckedLexicon:
    """One lexicon looked at; `against` says where what was published is, empty if nothing was."""

    nsid: str
    file: Path
    against: str
    findings: tuple[LexiconFinding, ...]


def load_copies(folder: Path) -> FolderSource:
    """Return the copies of what was published that a folder of lexicons keeps.

    Raises LexiconFileError.
    """
    kept = folder / PUBLISHED
    return FolderSource(read_published(kept), str(kept))


def check(folder: Path, published: LexiconSource | None = None) -> Iterator[CheckedLexicon]:
    """Yield every lexicon of a folder, compared with what was published of it.

    That is, without `published`, what the folder itself keeps; of that none may be missing.
    Raises LexiconFileError for a folder that cannot be read at all, and as `published` does.
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
        return CheckedLexicon(
            nsid, file, "", (LexiconFinding(file, error.reason, "", "", _INVALID),)
        )
    before = published.find(nsid)
    if before is None:
        return CheckedLexicon(nsid, file, "", ())
    found = tuple(_describe(file, each) for each in breaking_changes(before, document))
    return CheckedLexicon(nsid, file, published.location(nsid), found)


def _describe(file: Path, found: BreakingChange) -> LexiconFinding:
    return LexiconFinding(
        file, found.path, format_constraint(found.was), format_constraint(found.now), found.why
    )


def format_constraint(value: object) -> str:
    """Return a value of a lexicon as JSON, shortened; `nothing` for what is not there."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + "..."
