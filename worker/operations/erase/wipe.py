"""Wipe an account: remove its records of given media types, then reset states.

The wipe removes a record first. After the removal is confirmed, it resets the state of the record's
document if the state is unchanged since it was read. It handles interruptions and concurrency:

- Killed between removing records and resetting states: the documents refer to missing
  records, and the next wipe resets them (`DanglingStates`). To make this possible, the wipe saves
  the URI of each record on its document before the removal.
- A run (a save, a backfill) holds the document when the wipe reads it: the item is skipped.
- A run claims the document later: the state is not reset. While the run continues, the wipe saves
  the record's URI as a stray write and skips the item. The run then syncs the document again, in
  case it saw the record before the removal. After the run, the wipe reads the record from the repo:
  if the record exists again, the item is skipped; otherwise the new state is reset.
- A run that lost its lease writes late: the run saves the URI as a stray write, and the sweep
  enqueues the document. The document is then published again, and its state says so.
- Two wipes run at once: missing records fail a batch of deletes, so the wipe reads which records
  exist. A state that the other wipe has reset is not reset again.
- The document has a new owner: the record is removed, and the sweep enqueues the document.

At the end the wipe reads the repo again, and reports the remaining records as skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from worker.core.documents import Account, Status, SyncState
from worker.core.records import RecordKey
from worker.database.batch_store import LoadedDocument
from worker.database.state import ResetMode
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.media import MediaType
from worker.operations.erase.dangling_states import DanglingStates
from worker.operations.erase.report import AT_WORK, BACK, WipePreview, WipeResult, why_skipped
from worker.operations.erase.state_reset import Holders, Records, StateReset
from worker.pds.record_deleter import BATCH, RecordDeleter
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A subject, the DID of its account if known, and its repo.

    `repo` is None if the repo is missing or not writable. Then only states are reset.
    """

    subject: str
    did: str | None
    repo: Repo | None


@dataclass(frozen=True, slots=True)
class Wiper:
    """Prepares wipes; `read_repo` returns the repo of a DID."""

    state_reset: StateReset
    state_updates: StateUpdates
    record_deleter: RecordDeleter
    open_repo: Callable[[Account], Repo]
    read_repo: Callable[[str], RepoSnapshot]

    def prepare(self, account: Account, kinds: Sequence[MediaType]) -> WipeRun:
        """Build the wipe of an account; `preview` and `run` carry it out."""
        target = Target(account.subject, account.did, self.open_repo(account))
        return WipeRun(self, target, kinds, ResetMode.WIPED)


class WipeRun:
    """The wipe of one subject, to be run once.

    `done` holds the results so far by type, also after an error. Methods raise the errors of the
    PDS, MongoDB and Redis.
    """

    def __init__(
        self, tools: Wiper, target: Target, kinds: Sequence[MediaType], mode: ResetMode
    ) -> None:
        self._tools = tools
        self._subject, self._repo = target.subject, target.repo
        self._kinds = kinds
        self._mode = mode
        self._dangling_states = DanglingStates(
            tools.state_reset, tools.read_repo, target.subject, target.did, mode
        )
        self.done = {kind.name: WipeResult() for kind in kinds}

    def preview(self) -> dict[str, WipePreview]:
        """Count the records to remove and the states to reset, without changing them."""
        snapshot = self._repo.export() if self._repo else None
        return {kind.name: self._preview(kind, snapshot) for kind in self._kinds}

    def run(self) -> Iterator[int]:
        """Delete the records of the repo and reset the states of their documents.

        Yields the number of records that each batch has deleted.
        """
        if self._repo:
            yield from self._remove_all(self._repo)
        for kind in self._kinds:
            self._dangling_states.reset(kind, self.done[kind.name])
        if self._repo:
            snapshot = self._repo.export()
            for kind in self._kinds:
                for rkey in snapshot.records(kind.nsid):
                    self.done[kind.name].skipped.setdefault(rkey, BACK)

    def _preview(self, kind: MediaType, snapshot: RepoSnapshot | None) -> WipePreview:
        ids = {
            loaded.id
            for loaded in (self._documents_of(kind, snapshot) if snapshot else ())
            if self._is_ours(loaded) and not self._mode.is_done(loaded.document.state)
        }
        for page in self._dangling_states.claimants(kind):
            ids |= {loaded.id for loaded in page}
        return WipePreview(snapshot.counts.get(kind.nsid, 0) if snapshot else 0, len(ids))

    def _documents_of(self, kind: MediaType, snapshot: RepoSnapshot) -> Iterator[LoadedDocument]:
        for part in _chunks(snapshot.records(kind.nsid)):
            found = self._tools.state_reset.documents_of(kind, snapshot.did, self._subject, part)
            yield from found.values()

    def _remove_all(self, repo: Repo) -> Iterator[int]:
        snapshot = repo.export()
        for kind in self._kinds:
            yield from self._remove(repo, kind, snapshot)

    def _remove(self, repo: Repo, kind: MediaType, snapshot: RepoSnapshot) -> Iterator[int]:
        for part in _chunks(snapshot.records(kind.nsid)):
            holders = self._tools.state_reset.documents_of(kind, repo.did, self._subject, part)
            ours = {rkey: held for rkey, held in holders.items() if self._is_ours(held)}
            reasons = {rkey: why_skipped(held.document, repo.did) for rkey, held in ours.items()}
            skipped = {rkey: why for rkey, why in reasons.items() if why}
            self.done[kind.name].skipped |= skipped
            going = {rkey: record for rkey, record in part.items() if rkey not in skipped}
            self._record_locations(repo, kind, going, ours)
            yield from self._erase(repo, kind, list(going), holders)

    def _record_locations(
        self, repo: Repo, kind: MediaType, records: Records, ours: Holders
    ) -> None:
        """Save the keys and CIDs of records on documents that lack a URI."""
        updates = [
            StateUpdate(ours[rkey].document, repo.did, rkey, record.cid)
            for rkey, record in records.items()
            if rkey in ours and _lacks_uri(ours[rkey].document.state)
        ]
        self._tools.state_updates.apply(kind, updates, retry_at=None)

    def _erase(
        self, repo: Repo, kind: MediaType, rkeys: Sequence[str], holders: Holders
    ) -> Iterator[int]:
        keys = [repo.key(kind.nsid, rkey) for rkey in rkeys]
        for gone in self._tools.record_deleter.delete(repo, keys):
            self.done[kind.name].removed += len(gone)
            held = {key: holders[key.rkey] for key in gone if key.rkey in holders}
            ours = {key: loaded for key, loaded in held.items() if self._is_ours(loaded)}
            self._reset(repo, kind, ours)
            for key in held.keys() - ours.keys():
                self._tools.state_reset.mark_for_resync(kind, held[key], key)
            yield len(gone)

    def _reset(self, repo: Repo, kind: MediaType, lost: Mapping[RecordKey, LoadedDocument]) -> None:
        """Reset the states of documents after the removal of their records."""
        state_reset, done = self._tools.state_reset, self.done[kind.name]
        keys = {loaded.id: key for key, loaded in lost.items()}
        remaining = [c for c in lost.values() if not self._mode.is_done(c.document.state)]
        for _ in range(_TRIES):
            count = state_reset.reset(kind, remaining, self._mode)
            done.reset += count
            if count == len(remaining):
                return
            missed = state_reset.not_reset(kind, remaining, self._mode)
            remaining = [c for c in missed if self._is_free(repo, kind, c, keys[c.id])]
        done.skipped |= {keys[loaded.id].rkey: AT_WORK for loaded in remaining}

    def _is_free(self, repo: Repo, kind: MediaType, loaded: LoadedDocument, key: RecordKey) -> bool:
        """Return whether a document with a changed state can be reset; else skip it."""
        why = why_skipped(loaded.document, repo.did)
        if why:
            self._tools.state_reset.mark_for_resync(kind, loaded, key)
        elif repo.get(key):
            why = BACK
        if why:
            self.done[kind.name].skipped[key.rkey] = why
        return why is None

    def _is_ours(self, loaded: LoadedDocument) -> bool:
        return loaded.document.owner == self._subject


def _chunks(records: Records) -> Iterator[Records]:
    remaining = iter(records.items())
    while part := dict(islice(remaining, BATCH)):
        yield part


def _lacks_uri(state: SyncState) -> bool:
    return state.uri is None and state.status is not Status.REMOVED
