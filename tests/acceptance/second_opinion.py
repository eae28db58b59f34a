"""The ecosystem's own reader of lexicons, the package @atproto/lexicon, as a second opinion."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.packages import NODE, Packages
from worker.dev.stack.pds import MANIFEST
from worker.dev.stack.stack import to_stderr
from worker.dev.stack.supervisor import Reaper

_SCRIPT = """
const { createRequire } = require('node:module')
const require_there = createRequire(process.argv[1] + '/')
const { Lexicons, jsonToLex, parseLexiconDoc } = require_there('@atproto/lexicon')
const { documents, record } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
const lexicons = new Lexicons(documents.map((document) => parseLexiconDoc(document)))
if (record) lexicons.assertValidRecord(record.$type, jsonToLex(record))
"""


def refusal(
    documents: list[Mapping[str, object]], record: Mapping[str, object] | None, modules: Path
) -> str:
    """Return what the reader has against lexicons, or a record of one; empty if nothing."""
    done = subprocess.run(
        (NODE.locate(), "-e", _SCRIPT, modules),
        input=json.dumps({"documents": documents, "record": record}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stderr if done.returncode else ""


def modules_of_the_pds(environ: Mapping[str, str], data: Path) -> Path:
    """Return the folder where the PDS's packages are: the reader is one of them.

    `data` is a folder of this process's own.
    """
    folder = DataFolder(data)
    reaper = Reaper(folder.lock)
    try:
        packages = Packages("PDS", MANIFEST, environ)
        return packages.install(reaper, to_stderr) / "node_modules"
    finally:
        reaper.release()
        folder.release()
