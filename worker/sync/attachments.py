"""The parts of a record that depend on files: its blobs, and links to files that may not exist.

A part that fails does not keep the record from being published: what was up before is carried
forward, the fault is kept on the document, and the item is `partial` until it is put right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from worker.core.clock import now
from worker.core.documents import BlobState, Failure
from worker.core.errors import MediaError, PermanentError, WaitError
from worker.media.base import BlobSpec, Draft, LinkSpec
from worker.media.validation import BlobRule, Lexicons
from worker.pds.repo import Repo
from worker.sync.blobs import BlobBuilder, Content, upload_blob
from worker.sync.run import Run

PreparedBlob = Content | BlobState | MediaError
"""Of a blob: what has to be uploaded, or its state where nothing has, or what went wrong."""

Send = Callable[[Content], BlobState]

_STEPS = frozenset({"source", "thumbnail"})


@dataclass(frozen=True, slots=True)
class Attachments:
    """What could be had for a draft, and the faults of what could not."""

    blobs: Mapping[str, BlobState]
    links: Mapping[str, bool]
    faults: tuple[MediaError, ...]

    def complete(self, draft: Draft) -> Mapping[str, object]:
        """Return the draft's record with its parts."""
        refs = {name: blob.as_ref() for name, blob in self.blobs.items() if blob.cid}
        links = {name: draft.links[name].url for name, there in self.links.items() if there}
        return {**draft.fields, **links, **refs}


class AttachmentBuilder:
    """Makes the parts that a draft wishes for."""

    def __init__(self, blobs: BlobBuilder, lexicons: Lexicons) -> None:
        self.blobs = blobs
        self._lexicons = lexicons

    def with_sources(self, blobs: BlobBuilder) -> AttachmentBuilder:
        """Return the same with another maker of blobs."""
        return AttachmentBuilder(blobs, self._lexicons)

    def prepare(self, run: Run, draft: Draft) -> Mapping[str, PreparedBlob]:
        """Make the bytes of a draft's blobs, without a call to the PDS."""
        rules = self._lexicons.blob_rules(draft.nsid)
        specs = draft.blobs.items()
        return {name: self._prepare_blob(run, name, spec, rules[name]) for name, spec in specs}

    def _prepare_blob(self, run: Run, name: str, spec: BlobSpec, rule: BlobRule) -> PreparedBlob:
        try:
            return self.blobs.prepare(spec, rule, _known_blob(run, name), run.document.owner)
        except MediaError as error:
            return drop_traceback(error)

    def build(
        self, run: Run, draft: Draft, repo: Repo, prepared: Mapping[str, PreparedBlob]
    ) -> Attachments:
        """Make a draft's parts of what was prepared, keeping each blob's state as it comes.

        Raises what is no fault of a part: waiting, sessions, a PDS that is down, a lost lease.
        """
        faults: list[MediaError] = []
        rules = self._lexicons.blob_rules(draft.nsid)
        blobs = {
            name: self._blob(
                run,
                name,
                prepared,
                partial(upload_blob, rule=rules[name], upload=repo.upload),
                faults,
            )
            for name, prepared in prepared.items()
        }
        links = {name: self._link(run, name, spec, faults) for name, spec in draft.links.items()}
        if run.state.blobs != blobs:
            run.save(replace(run.state, blobs=blobs))
        return Attachments(blobs, links, tuple(faults))

    def _blob(
        self, run: Run, name: str, prepared: PreparedBlob, send: Send, faults: list[MediaError]
    ) -> BlobState:
        known = _known_blob(run, name)
        try:
            blob = _upload(run, name, prepared, send)
        except MediaError as error:
            _add_fault(error, faults)
            run.report_step(f"{name}: {error.message}")
            return replace(known, error=Failure.of(error, now()))
        if blob != known:
            run.save_blob(name, blob)
        return blob

    def _link(self, run: Run, name: str, spec: LinkSpec, faults: list[MediaError]) -> bool:
        try:
            return self.blobs.exists(spec.file.key())
        except MediaError as error:
            _add_fault(error, faults)
            run.report_step(f"{name}: {error.message}")
            return run.state.links.get(name, False)


def drop_traceback(error: MediaError) -> MediaError:
    """Return an error that is to be kept without what it came from: a file, a decoded image."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _upload(run: Run, name: str, prepared: PreparedBlob, send: Send) -> BlobState:
    if isinstance(prepared, MediaError):
        raise prepared
    blob = prepared if isinstance(prepared, BlobState) else send(prepared)
    how = "as it was" if blob is prepared else "uploaded"
    run.report_step(f"{name}: {blob.mime_type}, {blob.size} bytes, {blob.cid} {how}")
    return blob


def _known_blob(run: Run, name: str) -> BlobState:
    return run.state.blobs.get(name, BlobState())


def _add_fault(error: MediaError, faults: list[MediaError]) -> None:
    """Keep a fault of a part; raise again what is not."""
    of_part = error.step in _STEPS or isinstance(error, PermanentError)
    if not of_part or isinstance(error, WaitError):
        raise error
    faults.append(error)
