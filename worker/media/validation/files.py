"""Read lexicon documents; the path of a file is derived from its NSID.

The subfolder `published` contains copies of the published documents.
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
    """An invalid lexicon file; the message contains the path and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"lexicon {path}: {reason}")
        self.path = path
        self.reason = reason


def load_lexicons(*directories: Path) -> Lexicons:
    """Load the lexicons of this project and the lexicons in `directories`.

    `computer/aesthetic/mood.json` must contain the lexicon `computer.aesthetic.mood`. It must
    define a record with TIDs as keys. Raises LexiconFileError for an empty folder, and for the
    first file with an error or a duplicate NSID.
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
    """Return the lexicon files in a folder; raises LexiconFileError if none exist."""
    published = directory / PUBLISHED
    paths = [path for path in sorted(directory.rglob("*.json")) if published not in path.parents]
    if not paths:
        raise LexiconFileError(directory, "no *.json file in this folder")
    return paths


def read_file(path: Path, directory: Path) -> Lexicon:
    """Read the lexicon at `path` in `directory`; raises LexiconFileError if invalid."""
    nsid = ".".join(path.relative_to(directory).with_suffix("").parts)
    if not _NSID.fullmatch(nsid):
        raise LexiconFileError(path, f"the path spells {nsid!r}, which is not an NSID")
    try:
        return read_lexicon(_json(path), nsid)
    except Violation as fault:
        raise LexiconFileError(path, f"{fault.field} {fault.reason}") from None


def read_published(directory: Path) -> dict[str, Mapping[str, object]]:
    """Read the published lexicon documents in a folder, by NSID.

    The documents are not validated: this project may have supported more keywords in the past.
    Raises LexiconFileError for invalid JSON and for a document without an `id`.
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
    """Write a lexicon document to a folder of published lexicons; return its path."""
    path = directory.joinpath(*str(document["id"]).split(".")).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise LexiconFileError(path, f"not JSON: {error}") from None
