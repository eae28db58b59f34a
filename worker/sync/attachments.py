"""Build the attachments of a record: blobs, and links to optional files.

A record is published even if an attachment fails. The previously uploaded blob is kept, the error
is saved on the document, and the item has the status `partial` until a later sync succeeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import BlobState, Failure
from worker.core.errors import (
    MediaError,
    PermanentError,
    UnexpectedSourceError,
    UnexpectedThumbnailError,
    WaitError,
)
from worker.files.errors import SourceForbiddenError, SourceMissingError
from worker.media.base import BlobSpec, Draft, LinkSpec
from worker.media.validation import BlobRule, Lexicons
from worker.pds.repo import Repo
from worker.sync.blobs import BlobBuilder, Content, upload_blob
from worker.sync.existing_records import adopted_cid
from worker.sync.run import Run
from worker.sync.source_files import find_file
from worker.telemetry.alerts import Alerts

PreparedBlob = Content | BlobState | MediaError
"""Content to upload, the state of an unchanged blob, or the error of preparing the blob."""

_FILE_STEPS = frozenset({"source", "thumbnail"})


@dataclass(frozen=True, slots=True)
class Attachments:
    """The blobs and links of a record, and the errors of attachments that failed."""

    blobs: Mapping[str, BlobState]
    links: Mapping[str, str | None]
    faults: tuple[MediaError, ...]

    def complete(self, draft: Draft) -> Mapping[str, object]:
        refs = {name: blob.as_ref() for name, blob in self.blobs.items() if blob.cid}
        links = {name: draft.links[name].url for name, key in self.links.items() if key}
        return {**draft.fields, **links, **refs}


@dataclass(frozen=True, slots=True)
class AttachmentBuilder:
    """Prepares and uploads the blobs of drafts, and checks their links."""

    blobs: BlobBuilder
    lexicons: Lexicons
    alerts: Alerts

    def prepare(self, run: Run, draft: Draft) -> Mapping[str, PreparedBlob]:
        """Read files and make thumbnails for a draft's blobs, without calling the PDS."""
        rules = self.lexicons.blob_rules(draft.nsid)
        specs = draft.blobs.items()
        return {name: self._prepare_blob(run, name, spec, rules[name]) for name, spec in specs}

    def _prepare_blob(self, run: Run, name: str, spec: BlobSpec, rule: BlobRule) -> PreparedBlob:
        try:
            with _unexpected_errors():
                known, owner, remake = _known_blob(run, name), run.document.owner, run.state.remake
                return self.blobs.prepare(spec, rule, known, owner, remake=remake)
        except MediaError as error:
            if isinstance(error, UnexpectedThumbnailError | UnexpectedSourceError):
                self._report(run, _known_blob(run, name).error, error)
            # The traceback and the cause may hold a decoded image.
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)

    def _report(self, run: Run, known: Failure | None, error: MediaError) -> None:
        """Report the cause of an error, unless the previous run had the same error, `known`."""
        is_new = known is None or known.code != error.code
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        self.alerts.unexpected_error(run.affected, cause, is_new=is_new)

    def build(
        self, run: Run, draft: Draft, repo: Repo, prepared: Mapping[str, PreparedBlob]
    ) -> Attachments:
        """Upload prepared blobs, check links, and save the state of each blob.

        Raises LeaseLostError, WaitError, and transient errors of the PDS and MongoDB. Other errors
        are added to `faults` of the result.
        """
        faults: list[MediaError] = []
        rules = self.lexicons.blob_rules(draft.nsid)
        blobs = {}
        for name, blob in prepared.items():
            present = self._replace_missing(run, draft, repo, name, blob)
            send = partial(upload_blob, rule=rules[name], upload=repo.upload)
            blobs[name] = _build_blob(run, name, present, send, faults)
        links = {name: self._link(run, name, spec, faults) for name, spec in draft.links.items()}
        if run.state.blobs != blobs:
            run.save(run.state._replace(blobs=blobs))
        return Attachments(blobs, links, tuple(faults))

    def _replace_missing(
        self, run: Run, draft: Draft, repo: Repo, name: str, prepared: PreparedBlob
    ) -> PreparedBlob:
        """Prepare a blob again if it is adopted, and the PDS does not have it.

        If its file is missing too, the record is published without it.
        """
        cid = adopted_cid(_known_blob(run, name))
        if cid is None or isinstance(prepared, Content) or repo.has_blob(cid):
            return prepared
        run.report_step(f"{name}: the PDS does not have {cid}")
        run.set_state(run.state._replace(blobs={**run.state.blobs, name: BlobState()}))
        rule = self.lexicons.blob_rules(draft.nsid)[name]
        return self._prepare_blob(run, name, draft.blobs[name], rule)

    def _link(self, run: Run, name: str, spec: LinkSpec, faults: list[MediaError]) -> str | None:
        """Return the key of the link's file, or None if the file is missing.

        A store without permission to list files answers 403 for each missing file. So a forbidden
        file is missing, unless an earlier sync found it.
        """
        known = run.state.links.get(name)
        try:
            with _unexpected_errors():
                return find_file(self.blobs.sources, spec.files, known).key.text
        except SourceMissingError:
            return None
        except MediaError as error:
            if isinstance(error, UnexpectedSourceError):
                self._report(run, run.state.error, error)
            was_found = any(ref.text == known for ref in spec.files)
            if isinstance(error, SourceForbiddenError) and not was_found:
                return None
            _add_fault(run, name, error, faults)
            return known


@contextmanager
def _unexpected_errors() -> Iterator[None]:
    """Translate unexpected exceptions, so that the record is published without the file."""
    try:
        yield
    except (MediaError, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        raise UnexpectedSourceError.of(error) from error


def _build_blob(
    run: Run,
    name: str,
    prepared: PreparedBlob,
    send: Callable[[Content], BlobState],
    faults: list[MediaError],
) -> BlobState:
    known = _known_blob(run, name)
    try:
        if isinstance(prepared, MediaError):
            raise prepared
        blob = prepared if isinstance(prepared, BlobState) else send(prepared)
    except MediaError as error:
        _add_fault(run, name, error, faults)
        return replace(known, error=Failure.of(error, now()))
    how = "as it was" if blob is prepared else "uploaded"
    run.report_step(f"{name}: {blob.mime_type}, {blob.size} bytes, {blob.cid} {how}")
    if blob != known:
        run.save_blob(name, blob)
    return blob


def _known_blob(run: Run, name: str) -> BlobState:
    return run.state.blobs.get(name, BlobState())


def _add_fault(run: Run, name: str, error: MediaError, faults: list[MediaError]) -> None:
    """Add a file error or a PermanentError to `faults`; raise any other error."""
    is_of_file = error.step in _FILE_STEPS or isinstance(error, PermanentError)
    if not is_of_file or isinstance(error, WaitError):
        raise error
    faults.append(error)
    run.report_step(f"{name}: {error.message}")
