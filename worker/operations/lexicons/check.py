"""Whether lexicons are valid, and what they break of what was published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.media.validation import LexiconFileError
from worker.media.validation.compatibility import BreakingChange, breaks
from worker.media.validation.files import PUBLISHED, lexicon_files, published_in, read_file
from worker.operations.lexicons.published import Copies, Published

_LOST = "was published, and readers look for it; bring it back"
_INVALID = "it breaks the lexicon language; correct the file"
_LONGEST = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one lexicon: `place` is a path in it, `was` and `now` are JSON."""

    file: Path
    place: str
    was: str
    now: str
    why: str


@dataclass(frozen=True, slots=True)
class Checked:
    """One lexicon looked at; `against` says where what was published is, empty if nothing was."""

    nsid: str
    file: Path
    against: str
    findings: tuple[Finding, ...]


def copies_in(folder: Path) -> Copies:
    """Return the copies of what was published that a folder of lexicons keeps.

    Raises LexiconFileError.
    """
    kept = folder / PUBLISHED
    return Copies(published_in(kept), str(kept))


def check(folder: Path, published: Published | None = None) -> Iterator[Checked]:
    """Yield every lexicon of a folder, compared with what was published of it.

    That is, without `published`, what the folder itself keeps; of that none may be missing.
    Raises LexiconFileError for a folder that cannot be read at all, and as `published` does.
    """
    copies = copies_in(folder)
    seen: set[str] = set()
    for file in lexicon_files(folder):
        nsid = ".".join(file.relative_to(folder).with_suffix("").parts)
        seen.add(nsid)
        yield _checked(folder, file, nsid, published or copies)
    for nsid in sorted(copies.documents.keys() - seen) if published is None else ():
        finding = Finding(folder, nsid, "published", "", _LOST)
        yield Checked(nsid, folder, copies.name, (finding,))


def _checked(folder: Path, file: Path, nsid: str, published: Published) -> Checked:
    try:
        document = read_file(file, folder).document
    except LexiconFileError as error:
        return Checked(nsid, file, "", (Finding(file, error.reason, "", "", _INVALID),))
    before = published.find(nsid)
    if before is None:
        return Checked(nsid, file, "", ())
    found = tuple(_told(file, each) for each in breaks(before, document))
    return Checked(nsid, file, published.place(nsid), found)


def _told(file: Path, found: BreakingChange) -> Finding:
    return Finding(file, found.path, told_value(found.was), told_value(found.now), found.why)


def told_value(value: object) -> str:
    """Return a value of a lexicon as JSON, shortened; `nothing` for what is not there."""
    if value is None:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
