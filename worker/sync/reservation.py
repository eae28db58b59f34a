"""Reserve the record key of a new document with its claim, which saves a write to MongoDB."""

from __future__ import annotations

from dataclasses import dataclass

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.documents import Account, MediaDocument, SyncState
from worker.database.accounts import Accounts
from worker.database.adopted_repos import AdoptedRepos
from worker.media import MediaType
from worker.sync.plan import Publish, plan
from worker.sync.publisher import candidate_rkeys


@dataclass(slots=True)
class Reservation:
    """Chooses a new document's record key, so that the claim saves it too.

    `account` is then the owner's account. It is read before the claim only for documents without a
    state: sweeps mark those with a record key if their account has changed, and a claim would
    remove the mark.
    """

    kind: MediaType
    accounts: Accounts
    adopted: AdoptedRepos
    account: Account | None = None

    def choose_key(self, document: MediaDocument) -> tuple[str | None, str | None]:
        """Return the repo and the record key to reserve; None, None if the run must decide."""
        self.account = None
        if document.fault or document.state != SyncState():
            return None, None
        try:
            account = self.accounts.find(document.owner)
            decision = plan(self.kind, document, account)
            if not isinstance(decision, Publish) or not self.adopted.contains(decision.account):
                return None, None
            rkey = next(candidate_rkeys(document))
        except SoftTimeLimitExceeded:
            raise
        except Exception:  # noqa: BLE001 - the run raises it again, and saves it on the document
            return None, None
        self.account = account
        return decision.account.did, rkey
