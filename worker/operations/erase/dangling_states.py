"""Reset the states of documents that refer to missing records."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from worker.core.errors import MediaError
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
    """Finds and resets documents of `subject` that refer to missing records.

    An interrupted wipe leaves such documents. `did` is None if the account is unknown.
    """

    state_reset: StateReset
    read_repo: Callable[[str], RepoSnapshot]
    subject: str
    did: str | None
    mode: ResetMode

    def claimants(self, kind: MediaType) -> Iterator[Sequence[LoadedDocument]]:
        """Yield pages of documents that may refer to a missing record.

        Documents with a record in another repo are included only in the mode FORGOTTEN.
        """
        for page in self.state_reset.documents_of_owner(kind, self.subject, self.mode):
            repos = {None, self.did}
            forgotten = self.mode is ResetMode.FORGOTTEN
            yield [each for each in page if forgotten or each.document.state.repo in repos]

    def reset(self, kind: MediaType, wiped: WipeResult) -> None:
        """Reset documents and add the results to `wiped`; raises PDS and MongoDB errors."""
        for page in self.claimants(kind):
            # Read the repo after the page, to find records that were published in between.
            existing, unreadable = self._find_existing(kind, page)
            dangling: list[LoadedDocument] = []
            for loaded in page:
                key = self._key(loaded)
                why = why_skipped(loaded.document, self.did) or unreadable.get(key[0])
                if why is None and key in existing:
                    why = BACK if key[0] == self.did else f"its record is in the repo of {key[0]}"
                if why is None:
                    dangling.append(loaded)
                else:
                    wiped.skipped[_name(loaded)] = why
            self._reset(kind, dangling, wiped)

    def _reset(
        self, kind: MediaType, dangling: Sequence[LoadedDocument], wiped: WipeResult
    ) -> None:
        count = self.state_reset.reset(kind, dangling, self.mode)
        wiped.reset += count
        if count < len(dangling):
            missed = self.state_reset.not_reset(kind, dangling, self.mode)
            wiped.skipped |= {_name(loaded): AT_WORK for loaded in missed}

    def _find_existing(
        self, kind: MediaType, page: Sequence[LoadedDocument]
    ) -> tuple[set[Key], dict[str | None, str]]:
        """Read the repos in the states of documents; return the keys of their records.

        Also returns why repos of others cannot be read. A state may name any repo, and must not
        stop the reset of the other states.
        """
        existing: set[Key] = set()
        unreadable: dict[str | None, str] = {}
        keys = [(did, rkey) for did, rkey in map(self._key, page) if did and rkey]
        for did in {did for did, _ in keys}:
            try:
                rkeys = self._read_rkeys(kind, did)
                existing |= {key for key in keys if key[0] == did and key[1] in rkeys}
            except MediaError as error:
                if did == self.did:
                    raise
                unreadable[did] = f"the repo in its state cannot be read: {error.message}"
        return existing, unreadable

    def _read_rkeys(self, kind: MediaType, did: str) -> Container[str]:
        try:
            return self.read_repo(did).records(kind.nsid)
        except AccountUnusableError as error:
            if error.code != "account_not_found":
                raise
            return ()

    def _key(self, loaded: LoadedDocument) -> Key:
        state = loaded.document.state
        return state.repo or self.did, state.rkey


def _name(loaded: LoadedDocument) -> str:
    return loaded.document.state.rkey or str(loaded.id)
