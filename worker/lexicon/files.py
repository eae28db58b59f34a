"""Lexicon documents on disk: a folder whose paths spell NSIDs."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from worker.lexicon.fault import Fault
from worker.lexicon.schema import Lexicon, read_lexicon
from worker.lexicon.validation import Lexicons

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_NSID = re.compile(rf"(?![0-9]){_LABEL}(?:\.{_LABEL})+\.[a-zA-Z][a-zA-Z0-9]{{0,62}}")


class LexiconFileError(ValueError):
    """A lexicon file that cannot be used; the message names the file, the place and the fault."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"lexicon {path}: {reason}")
        self.path = path


def load_lexicons(*directories: Path) -> Lexicons:
    """Load our own lexicons and those under further `directories`.

    `computer/aesthetic/mood.json` must hold the lexicon `computer.aesthetic.mood`, and that must
    define a record kept under TIDs. Raises LexiconFileError naming the first file that is not so.
    """
    lexicons: dict[str, Lexicon] = {}
    for directory in (Path(str(files("lexicons"))), *directories):
        for path in _documents(directory):
            lexicon = _read(path, directory)
            if lexicon.nsid in lexicons:
                raise LexiconFileError(path, f"id {lexicon.nsid} is taken by another file")
            lexicons[lexicon.nsid] = lexicon
    return Lexicons(lexicons)


def _documents(directory: Path) -> list[Path]:
    paths = sorted(directory.rglob("*.json"))
    if not paths:
        raise LexiconFileError(directory, "no *.json file in this folder")
    return paths


def _read(path: Path, directory: Path) -> Lexicon:
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise LexiconFileError(path, f"not JSON: {error}") from None
    nsid = ".".join(path.relative_to(directory).with_suffix("").parts)
    if not _NSID.fullmatch(nsid):
        raise LexiconFileError(path, f"the path spells {nsid!r}, which is not an NSID")
    try:
        return read_lexicon(document, nsid)
    except Fault as fault:
        raise LexiconFileError(path, f"{fault.field} {fault.reason}") from None
