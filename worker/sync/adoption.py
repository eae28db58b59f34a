"""Save existing records on their documents, so that no document gets a second record.

Another program wrote these records, or the states of their documents were lost. Before the first
write to a repo, and in each backfill, the repo is exported with one call, and the document of each
record is found by the record's field `ref` (or `mongoId`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from redis import Redis

from worker.core.clock import now
from worker.core.documents import Account, MediaDocument, Status
from worker.core.redis_errors import redis_errors
from worker.core.redis_values import read_text
from worker.core.secrets import Purpose, UnreadableSecretError, Vault
from worker.database.adopted_repos import AdoptedRepos
from worker.database.document_refs import find_all_by_ref
from worker.database.state_updates import StateUpdate, StateUpdates
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES, MediaType
from worker.media.validation import BlobRule, Lexicons
from worker.pds.locks import RepoLocks
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot, StoredRecord
from worker.sync.existing_records import adopt_blobs, is_adopted

_KEPT = 86_400  # seconds for which Redis stores that a backfill has adopted the records of a repo
_CHUNK = 500
_SETTLED = frozenset({Status.SYNCED, Status.REMOVED})


@dataclass(frozen=True, slots=True)
class Adoption:
    """Adopts the records of repos.

    A repo is not read again for an hour after `max_lost` workers died while they read it.
    """

    redis: Redis
    vault: Vault
    locks: RepoLocks
    store: DocumentStore
    state_updates: StateUpdates
    adopted: AdoptedRepos
    lexicons: Lexicons
    max_lost: int

    def adopt_first(
        self, repo: Repo, account: Account, held: MediaDocument | None = None
    ) -> StateUpdate | None:
        """Adopt the records of a repo before the first write to it, once per account.

        Returns the update for `held`, the document of the caller's run, if it has a record. Raises
        errors of the PDS, MongoDB and Redis. The caller must then not write to the repo.
        """
        if self.adopted.contains(account):
            return None
        with self.locks.hold(repo.did, repo.hold_waiting):
            if self.adopted.contains(account):
                return None
            return self._adopt_repo(repo, account, held)

    def adopt_for_backfill(self, repo: Repo, account: Account, backfill: str) -> None:
        """Adopt the records of a repo once per backfill; raises as `adopt_first` does."""
        if self._is_adopted_for(backfill, repo.did):
            return
        with self.locks.hold(repo.did, repo.hold_waiting):
            if self._is_adopted_for(backfill, repo.did):
                return
            self._adopt_repo(repo, account, None)
            until = str(time.time() + _KEPT)
            sealed = self.vault.seal(until, Purpose.ADOPTION, f"{backfill} {repo.did}")
            with redis_errors():
                self.redis.set(_key(backfill, repo.did), sealed, ex=_KEPT)

    def _is_adopted_for(self, backfill: str, did: str) -> bool:
        # Sealed with its end: a backfill without adoption would publish documents twice.
        with redis_errors():
            sealed = read_text(self.redis, _key(backfill, did)) or ""
        try:
            until = self.vault.open(sealed, Purpose.ADOPTION, f"{backfill} {did}").reveal()
        except UnreadableSecretError:
            return False
        return time.time() < float(until)

    def _adopt_repo(
        self, repo: Repo, account: Account, held: MediaDocument | None
    ) -> StateUpdate | None:
        """Save the records of a repo on their documents; return the update for `held`."""
        with self.adopted.reading(account, self.max_lost):
            snapshot = repo.export()
            kinds = MEDIA_TYPES.values()
            found = [self._adopt_type(kind, account, snapshot, held) for kind in kinds]
        if all(is_complete for _, is_complete in found):
            self.adopted.add(account)
        return next((update for update, _ in found if update), None)

    def _adopt_type(
        self, kind: MediaType, account: Account, snapshot: RepoSnapshot, held: MediaDocument | None
    ) -> tuple[StateUpdate | None, bool]:
        """Adopt the records of one type; return the update for `held`, and whether all are saved.

        A document that another run holds is not updated: that run adopts its record itself.
        """
        own, is_complete = None, True
        for updates in self.find_updates(kind, account, snapshot):
            owners = {each.rkey: each.document.ref.id for each in updates}
            self.state_updates.release_keys(kind, account.did, owners)
            own = next((each for each in updates if held and each.document.ref == held.ref), own)
            free = [each for each in updates if each is not own]
            hidden = [each for each in free if each.document.hidden]
            shown = [each for each in free if not each.document.hidden]
            count = self.state_updates.apply(kind, shown, retry_at=None)
            count += self.state_updates.apply(kind, hidden, retry_at=now())  # to be removed
            is_complete = is_complete and count == len(free)
        return own, is_complete

    def find_updates(
        self, kind: MediaType, account: Account, snapshot: RepoSnapshot
    ) -> Iterator[list[StateUpdate]]:
        """Yield the updates that save the records of a type on their documents, in chunks."""
        by_ref = snapshot.by_ref(kind.nsid)
        rules = self.lexicons.blob_rules(kind.nsid)
        refs = iter(by_ref)
        while chunk := list(islice(refs, _CHUNK)):
            named = find_all_by_ref(self.store, kind, chunk, owner=account.subject)
            yield [
                update
                for ref, document in named.items()
                if (kept := by_ref.choose(ref, document.state.rkey))
                and (update := adopt_record(document, account.did, kept, rules))
            ]


def _key(backfill: str, did: str) -> str:
    return f"media-atproto:adopted:{backfill}:{did}"


def adopt_record(
    document: MediaDocument,
    did: str,
    kept: StoredRecord,
    rules: Mapping[str, BlobRule],
) -> StateUpdate | None:
    """Build the state update that saves the record `kept` on its document.

    Returns None if the state is correct, or if its status or repo forbids an update.
    """
    state = document.state
    if state.status in _SETTLED or state.repo not in {None, did}:
        return None
    if (state.repo, state.rkey, state.cid) == (did, kept.rkey, kept.cid):
        return None
    blobs = adopt_blobs(kept.value, rules, state.blobs)
    return StateUpdate(document, did, kept.rkey, kept.cid, blobs, is_adopted(state))
