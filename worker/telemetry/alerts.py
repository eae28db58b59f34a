"""Alerts for the operator: failed items, unexpected errors and parked accounts.

Expected failures that will be retried cause no alert; they are saved on the document and logged.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.documents import Account, Failure


@dataclass(frozen=True, slots=True)
class AffectedItem:
    """The item of an alert; `is_published` states whether its record is on the PDS."""

    type: str
    id: str
    did: str | None
    attempt: int
    is_published: bool = False


class Alerts:
    """Does nothing, for commands and tests; subclasses must not raise or block."""

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Report that an item or one of its blobs failed and will not be retried."""

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Report an error; `is_new` is False if the item's previous run had it too."""

    def part_failed(self, part: str, error: Exception) -> None:
        """Report an unexpected error of a part of a task that concerns no item."""

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Report an account that cannot be used; its items are postponed."""


NULL_ALERTS = Alerts()
