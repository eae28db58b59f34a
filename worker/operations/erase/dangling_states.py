"""Documents that claim a record which is not there, as an interrupted wipe leaves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from worker.database.batch_store import LoadedDocument
from worker.database.state import ResetMode
from worker.media import MediaType
from worker.operations.erase.report import AT_WORK, BACK, WipeResult, why_skipped
from worker.operations.erase.state_reset import StateReset
from worker.pds.errors import AccountUnusableError
from worker.pds.repo_snapshot import RepoSnapshot

Key = tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class DanglingStates:
    """Such documents of one subject, whose repo now is `did` (None: nobody knows it any more)."""

    state_reset: StateReset
    read_repo: Callable[[str], bytes]
    subject: str
    did: str | None
    mode: ResetMode

    def claimants(self, kind: MediaType) -> Iterator[Sequence[LoadedDocument]]:
        """Go through the documents to look at, a page at a time.

        What claims to be in another repo is no matter of this account's, unless it is forgotten.
        """
        for page in self.state_reset.documents_of_owner(kind, self.subject, self.mode):
            here = {None, self.did}
            every = self.mode is ResetMode.FORGOTTEN
            yield [c for c in page if every or c.document.state.repo in here]

    def reset(self, kind: MediaType, wiped: WipeResult) -> None:
        """Clear the states of those whose records are not there; tell which are left, and why.

        Raises the errors of the PDS and MongoDB.
        """
        for page in self.claimants(kind):
            # Looked up after the page was read: what is published in between is claimed, too.
            there = self._there(kind, page)
            going: list[LoadedDocument] = []
            for loaded in page:
                why = why_skipped(loaded.document, self.did)
                if why is None and (key := self._key(loaded)) in there:
                    why = BACK if key[0] == self.did else f"its record is in the repo of {key[0]}"
                if why is None:
                    going.append(loaded)
                else:
                    wiped.skipped[_name(loaded)] = why
            self._reset(kind, going, wiped)

    def _reset(self, kind: MediaType, going: Sequence[LoadedDocument], wiped: WipeResult) -> None:
        count = self.state_reset.reset(kind, going, self.mode)
        wiped.reset += count
        if count < len(going):
            missed = self.state_reset.not_reset(kind, going, self.mode)
            wiped.skipped |= {_name(loaded): AT_WORK for loaded in missed}

    def _there(self, kind: MediaType, page: Sequence[LoadedDocument]) -> set[Key]:
        """Return which of the keys that documents claim have a record now."""
        dids = {did for did, rkey in map(self._key, page) if did and rkey}
        looks = {did: self._fetch_snapshot(did) for did in dids}
        return {(d, rkey) for d, s in looks.items() if s for rkey in s.records(kind.nsid)}

    def _fetch_snapshot(self, did: str) -> RepoSnapshot | None:
        try:
            return RepoSnapshot.parse(did, self.read_repo(did))
        except AccountUnusableError as fault:
            if fault.code != "account_not_found":
                raise
            return None

    def _key(self, loaded: LoadedDocument) -> Key:
        state = loaded.document.state
        return state.repo or self.did, state.rkey


def _name(loaded: LoadedDocument) -> str:
    return loaded.document.state.rkey or str(loaded.id)
