"""Mark the items of accounts whose DID or screen name has changed.

After a change of the DID, items with a record in another repo are marked as due. After a change of
the screen name, these are the published items of types whose links contain it. The sweep enqueues
marked items like all others that are due.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.database.account_changes import AccountChange, AccountChanges
from worker.database.accounts import Accounts
from worker.media import MEDIA_TYPES, MediaType
from worker.media.base import SiteUrls

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChangedAccounts:
    """Marks the items of changed accounts, a window of users at a time."""

    changes: AccountChanges
    site: SiteUrls

    def mark_items(self, window: int) -> None:
        """Mark the items of changed accounts among the next `window` users.

        An account is saved as known after its items are marked. If the call is interrupted, a later
        one marks the remaining items.
        """
        for change in self.changes.find(window):
            count = sum(self._mark(kind, change) for kind in MEDIA_TYPES.values())
            self.changes.save([change.account])
            subject = change.account.subject
            log.info("the DID or handle of %s has changed: %d items are due", subject, count)

    def _mark(self, kind: MediaType, change: AccountChange) -> int:
        count = 0
        if change.has_new_did:
            count += self.changes.mark_in_other_repos(kind, change.account)
        if change.has_new_name and kind.links_handle(self.site):
            count += self.changes.mark_published(kind, change.account)
        return count


def mark_moved(changes: AccountChanges, accounts: Accounts, did: str, since: float) -> None:
    """Mark the items of an account that moved to another PDS, if they were synced `since` then.

    The old PDS may have made these changes: the next run reads the records at the new one.
    """
    account = accounts.by_did(did)
    if account is None:
        return
    moment = datetime.fromtimestamp(since, UTC)
    kinds = MEDIA_TYPES.values()
    count = sum(changes.mark_synced_since(kind, account, moment) for kind in kinds)
    log.info("%s has moved to another PDS: %d items are due", account.subject, count)
