"""The reference validator of the AT Protocol, the package @atproto/lexicon, as a second opinion."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.packages import NODE, Packages
from worker.dev.stack.pds import MANIFEST
from worker.dev.stack.stack import to_stderr
from worker.dev.stack.supervisor import Reaper

# Answers with what is wrong with the lexicons, or with each record; null if nothing.
_SCRIPT = """
const { createRequire } = require('node:module')
const require_there = createRequire(process.argv[1] + '/')
const { Lexicons, jsonToLex, parseLexiconDoc } = require_there('@atproto/lexicon')
const { documents, records } = JSON.parse(require('node:fs').readFileSync(0, 'utf8'))
const fault_of = (check) => {
  try { check() } catch (error) { return String(error) }
  return null
}
const lexicons = new Lexicons()
const add = (document) => lexicons.add(parseLexiconDoc(document))
const refusal = fault_of(() => documents.forEach(add))
const validate = (record) => lexicons.assertValidRecord(record.$type, jsonToLex(record))
const faults = refusal ? [] : records.map((record) => fault_of(() => validate(record)))
console.log(JSON.stringify({ refusal, faults }))
"""

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """The reference validator, from the Node packages in the folder `modules`."""

    modules: Path

    def on_lexicons(self, documents: Iterable[Json]) -> str | None:
        """Return why lexicons are invalid, None if they are valid."""
        refusal, _ = self._ask(documents, [])
        return refusal

    def on_records(self, documents: Iterable[Json], records: Sequence[Json]) -> list[str | None]:
        """Return why each record is invalid against its lexicon, None where it is valid."""
        refusal, faults = self._ask(documents, records)
        assert refusal is None, refusal
        return faults

    def _ask(
        self, documents: Iterable[Json], records: Sequence[Json]
    ) -> tuple[str | None, list[str | None]]:
        done = subprocess.run(
            (NODE.locate(), "-e", _SCRIPT, self.modules),
            input=json.dumps({"documents": list(documents), "records": records}),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        answer = json.loads(done.stdout)
        return answer["refusal"], answer["faults"]


def open_second_opinion(environ: Mapping[str, str], data: Path) -> SecondOpinion:
    """Return the validator among the packages of the PDS.

    `data` is a folder of this process's own.
    """
    folder = DataFolder(data)
    reaper = Reaper(folder.lock)
    try:
        packages = Packages("PDS", MANIFEST, environ)
        return SecondOpinion(packages.install(reaper, to_stderr) / "node_modules")
    finally:
        reaper.release()
        folder.release()
