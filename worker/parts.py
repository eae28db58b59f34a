"""The parts of a record that depend on files: its blobs, and links to files that may not exist.

A part that fails does not keep the record from being published: what was up before is carried
forward, the fault is kept on the document, and the item is `partial` until it is put right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from worker.blobs import BlobMaker
from worker.clock import now
from worker.documents import BlobState, Failure
from worker.errors import MediaError, PermanentError, WaitError
from worker.lexicon import Lexicons
from worker.media.base import BlobWish, Draft, LinkWish
from worker.repo import Repo
from worker.run import Run

_STEPS = frozenset({"source", "thumbnail"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What could be had for a draft, and the faults of what could not."""

    blobs: Mapping[str, BlobState]
    links: Mapping[str, bool]
    faults: tuple[MediaError, ...]

    def complete(self, draft: Draft) -> Mapping[str, object]:
        """Return the draft's record with its parts."""
        refs = {name: blob.as_ref() for name, blob in self.blobs.items() if blob.cid}
        links = {name: draft.links[name].url for name, there in self.links.items() if there}
        return {**draft.fields, **links, **refs}


class PartMaker:
    """Makes the parts that a draft wishes for."""

    def __init__(self, blobs: BlobMaker, lexicons: Lexicons) -> None:
        self.blobs = blobs
        self._lexicons = lexicons

    def over(self, blobs: BlobMaker) -> PartMaker:
        """Return the same with another maker of blobs."""
        return PartMaker(blobs, self._lexicons)

    def make(self, run: Run, draft: Draft, repo: Repo) -> Parts:
        """Make a draft's parts, keeping each blob's state on the document as it comes.

        Raises what is no fault of a part: waiting, sessions, a PDS that is down, a lost lease.
        """
        faults: list[MediaError] = []
        blobs = {name: self._blob(run, draft, name, repo, faults) for name in draft.blobs}
        links = {name: self._link(run, name, wish, faults) for name, wish in draft.links.items()}
        if run.state.blobs != blobs:
            run.save(replace(run.state, blobs=blobs))
        return Parts(blobs, links, tuple(faults))

    def _blob(
        self, run: Run, draft: Draft, name: str, repo: Repo, faults: list[MediaError]
    ) -> BlobState:
        known = run.state.blobs.get(name, BlobState())
        try:
            blob = self._made(run, draft, name, known, repo)
        except MediaError as error:
            _note(error, faults)
            run.say(f"{name}: {error.message}")
            return replace(known, error=Failure.of(error, now()))
        if blob != known:
            run.save_blob(name, blob)
        return blob

    def _made(self, run: Run, draft: Draft, name: str, known: BlobState, repo: Repo) -> BlobState:
        wish: BlobWish = draft.blobs[name]
        rule = self._lexicons.blob_rules(draft.nsid)[name]
        blob = self.blobs.make(wish, rule, known, run.document.owner, repo.upload)
        fresh = "as it was" if blob.cid == known.cid else "uploaded"
        run.say(f"{name}: {blob.mime_type}, {blob.size} bytes, {blob.cid} {fresh}")
        return blob

    def _link(self, run: Run, name: str, wish: LinkWish, faults: list[MediaError]) -> bool:
        try:
            return self.blobs.exists(wish.file.key())
        except MediaError as error:
            _note(error, faults)
            run.say(f"{name}: {error.message}")
            return run.state.links.get(name, False)


def _note(error: MediaError, faults: list[MediaError]) -> None:
    """Keep a fault of a part; raise again what is not."""
    of_part = error.step in _STEPS or isinstance(error, PermanentError)
    if not of_part or isinstance(error, WaitError):
        raise error
    faults.append(error)
