"""Alerts for the operator: failed items, unexpected errors and parked accounts.

Failures that will be retried are not reported; they appear on the document and in the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.documents import Account, Failure


@dataclass(frozen=True, slots=True)
class AffectedItem:
    """The item of an alert; `is_published` if its record is on the PDS."""

    type: str
    id: str
    did: str | None
    attempt: int
    is_published: bool = False


class Alerts:
    """Reports nothing: for commands and tests. Subclasses neither raise nor block."""

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Report an item, or a blob of it, that will not be retried."""

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Report an unexpected error, which is not new if the item's last run had it too."""

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Report an account that cannot be used, so that its items wait."""


NULL_ALERTS = Alerts()
