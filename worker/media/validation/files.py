"""Read lexicon documents from folders whose paths are NSIDs.

The folder `published` in such a folder contains copies of the published documents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from worker.media.validation.errors import Violation
from worker.media.validation.schema import Lexicon, read_lexicon
from worker.media.validation.validator import Lexicons

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_NSID = re.compile(rf"(?![0-9]){_LABEL}(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}")

PUBLISHED = "published"
OWN_FOLDER = Path(str(files("lexicons")))


class LexiconFileError(ValueError):
    """An invalid lexicon file; the message names the file, the place and the fault."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"lexicon {path}: {reason}")
        self.path = path
        self.reason = reason


def load_lexicons(*directories: Path) -> Lexicons:
    """Load the project's own lexicons and those in `directories`.

    `computer/aesthetic/mood.json` must contain the lexicon `computer.aesthetic.mood`, with a
    record whose keys are TIDs. Raises LexiconFileError for the first invalid file.
    """
    lexicons: dict[str, Lexicon] = {}
    for directory in (OWN_FOLDER, *directories):
        for path in lexicon_files(directory):
            lexicon = read_file(path, directory)
            if lexicon.nsid in lexicons:
                raise LexiconFileError(path, f"id {lexicon.nsid} is taken by another file")
            lexicons[lexicon.nsid] = lexicon
    return Lexicons(lexicons)


def lexicon_files(directory: Path) -> list[Path]:
    """Return the documents of a folder, at least one; raises LexiconFileError."""
    published = directory / PUBLISHED
    paths = [path for path in sorted(directory.rglob("*.json")) if published not in path.parents]
    if not paths:
        raise LexiconFileError(directory, "no *.json file in this folder")
    return paths


def read_file(path: Path, directory: Path) -> Lexicon:
    """Read one lexicon document of a folder; raises LexiconFileError."""
    nsid = ".".join(path.relative_to(directory).with_suffix("").parts)
    if not _NSID.fullmatch(nsid):
        raise LexiconFileError(path, f"the path spells {nsid!r}, which is not an NSID")
    try:
        return read_lexicon(_json(path), nsid)
    except Violation as fault:
        raise LexiconFileError(path, f"{fault.field} {fault.reason}") from None


def read_published(directory: Path) -> dict[str, Mapping[str, object]]:
    """Return the documents of a folder of published lexicons by NSID.

    They are not validated, because the language may have been wider when they were published.
    Raises LexiconFileError for a file that is not a lexicon document at all.
    """
    found: dict[str, Mapping[str, object]] = {}
    for path in sorted(directory.rglob("*.json")):
        document = _json(path)
        nsid = document.get("id") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(nsid, str):
            raise LexiconFileError(path, "is not a lexicon document")
        found[nsid] = document
    return found


def save_published(directory: Path, document: Mapping[str, object]) -> Path:
    """Save a document in a folder of published lexicons; return its file."""
    path = directory.joinpath(*str(document["id"]).split(".")).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise LexiconFileError(path, f"not JSON: {error}") from None
