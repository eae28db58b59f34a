"""A pool of accounts on the PDS: what one world leaves behind, the next one uses again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from uuid import uuid4

from tests.plain_http import open_http
from worker.dev.stack.accounts import PdsAccount, create_account
from worker.pds.repo_snapshot import RepoSnapshot

_MAX_WRITES = 200  # that a PDS takes in one applyWrites


class AccountPool:
    """Accounts with empty repos; a new one is signed up only when none is free."""

    def __init__(self, pds_url: str) -> None:
        self._pds_url = pds_url
        self._free: dict[str, list[PdsAccount]] = defaultdict(list)

    def take(self, role: str) -> PdsAccount:
        """Return an account with an empty repo whose handle starts with `role`."""
        if self._free[role]:
            return self._free[role].pop()
        return create_account(self._pds_url, f"{role}-{uuid4().hex[:8]}")

    def give_back(self, role: str, account: PdsAccount) -> None:
        """Empty the account's repo and keep the account, unless a test made it unusable."""
        if self._is_emptied(account):
            self._free[role].append(account)

    def _is_emptied(self, account: PdsAccount) -> bool:
        with open_http(f"{self._pds_url}/xrpc/", token=account.access_token) as http:
            exported = http.get("com.atproto.sync.getRepo", params={"did": account.did})
            if exported.is_error:  # deleted, deactivated or taken down
                return False
            answers = [
                http.post("com.atproto.repo.applyWrites", json=body)
                for body in _deletes(account.did, exported.content)
            ]
        return all(answer.is_success for answer in answers)


def _deletes(did: str, car: bytes) -> Iterator[dict[str, object]]:
    """Yield the bodies of the calls that delete every record of a repo."""
    snapshot = RepoSnapshot.read(did, [car])
    writes = [
        {"$type": "com.atproto.repo.applyWrites#delete", "collection": nsid, "rkey": rkey}
        for nsid in snapshot.counts
        for rkey in snapshot.records(nsid)
    ]
    for start in range(0, len(writes), _MAX_WRITES):
        yield {"repo": did, "writes": writes[start : start + _MAX_WRITES]}
