"""Telling the people who run the workers: what was given up, what nobody expected, who is parked.

A failure that is tried again by itself is told nobody; it is on the document and in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from worker.core.documents import Account, Failure


@dataclass(frozen=True, slots=True)
class AffectedItem:
    """An item that something is told of: its account's DID, if known, and which attempt it was.

    `is_published` tells whether its record is on the PDS in spite of it.
    """

    type: str
    id: str
    did: str | None
    attempt: int
    is_published: bool = False


class Alerts(Protocol):
    """Whoever is told. Its methods neither raise nor wait."""

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Tell that an item, or a blob of it, is not tried again by itself."""

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Tell of an error that nobody expected; not new is what the item's last run met too."""

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Tell that an account cannot be used, so that all its items wait."""


class NullAlerts:
    """Alerts for a terminal or a test: whoever asked sees the outcome anyway."""

    def item_failed(self, item: AffectedItem, failure: Failure) -> None:
        """Say nothing."""

    def unexpected_error(self, item: AffectedItem, error: Exception, *, is_new: bool) -> None:
        """Say nothing."""

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Say nothing."""


NULL_ALERTS = NullAlerts()
