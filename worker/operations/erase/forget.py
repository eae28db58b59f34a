"""Erase the records, states, thumbnails and Redis keys of an account.

An erasure can be repeated after an interruption, after the platform has deleted the user, and after
the PDS has deleted the account. If records cannot be removed, the states of their documents are
kept, and the records are reported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pymongo.database import Database

from worker.core.documents import Account
from worker.core.errors import AccountError, MediaError
from worker.database.account_changes import COLLECTION as ACCOUNTS
from worker.database.accounts import SURROGATE, Accounts, UnknownAccountError
from worker.database.mongo import RawDocument, long_query, mongo_errors
from worker.database.removals import COLLECTION as REMOVALS
from worker.database.state import ResetMode
from worker.database.thumbnail_cache import COLLECTION as THUMBNAILS
from worker.database.thumbnail_cache import ThumbnailCache
from worker.media import MEDIA_TYPES
from worker.operations.erase.report import WipePreview, WipeResult
from worker.operations.erase.wipe import Target, Wiper, WipeRun
from worker.pds.account_cache import AccountCache


@dataclass(frozen=True, slots=True)
class Footprint:
    """The numbers of records, states, thumbnails and pending removals of a subject."""

    types: Mapping[str, WipePreview]
    thumbnails: int
    removals: int

    @property
    def exists(self) -> bool:
        """Return whether any of these numbers is positive; sessions are not counted."""
        counts = [count for each in self.types.values() for count in (each.records, each.states)]
        return any((*counts, self.thumbnails, self.removals))


@dataclass(frozen=True, slots=True)
class AccountErasure:
    """Prepares the erasure of accounts."""

    wiper: Wiper
    accounts: Accounts
    keys: AccountCache
    thumbnails: ThumbnailCache
    database: Database[RawDocument]

    def prepare(self, name: str) -> ErasureRun:
        """Build the erasure of a subject; `preview` and `run` carry it out.

        `name` is a subject, or another name of an existing user. Raises UnknownAccountError if
        there is neither such a user nor data of such a subject, and the errors of the PDS and
        MongoDB.
        """
        try:
            account = self.accounts.resolve(name)
        except UnknownAccountError:
            subject = self.accounts.subject_of(name)
            if subject is None and not self._has_data(name):
                raise
            return ErasureRun(self, subject or name, None)
        return ErasureRun(self, account.subject, account)

    def _has_data(self, subject: str) -> bool:
        """Return whether data of a deleted user is left, such as documents that are forgotten."""
        if SURROGATE.search(subject):
            return False
        of_subject = {
            ACCOUNTS: {"_id": subject},
            THUMBNAILS: {"owner": subject},
            REMOVALS: _removals_of(subject),
        }
        with mongo_errors(), long_query():
            found = (self.database[name].find_one(match) for name, match in of_subject.items())
            return any(found) or any(
                self.wiper.state_reset.has_documents(kind, subject) for kind in MEDIA_TYPES.values()
            )


class ErasureRun:
    """The erasure of one subject.

    `remark` is the reason why records cannot be removed, or "". `trouble` is the error that stopped
    the wipe of records and states. `thumbnails` is the number of deleted thumbnails.
    """

    def __init__(self, tools: AccountErasure, subject: str, account: Account | None) -> None:
        self._tools = tools
        self.subject = subject
        self.account = account
        self.remark = ""
        self.trouble: MediaError | None = None
        self.thumbnails = 0
        target = self._target(subject, account)
        self._wipe = WipeRun(tools.wiper, target, list(MEDIA_TYPES.values()), ResetMode.FORGOTTEN)

    @property
    def results(self) -> Mapping[str, WipeResult]:
        return self._wipe.done

    def preview(self) -> Footprint:
        """Count the stored data of the subject, without changing it."""
        database = self._tools.database
        with mongo_errors(), long_query():
            thumbnails = database[THUMBNAILS].count_documents({"owner": self.subject})
            removals = database[REMOVALS].count_documents(_removals_of(self.subject))
        return Footprint(self._wipe.preview(), thumbnails, removals)

    def run(self) -> Iterator[int]:
        """Erase the data; yield the number of records removed by each batch.

        A MediaError that stops the wipe is saved in `trouble`; thumbnails and Redis keys are still
        deleted.
        """
        dids = self._find_dids()
        try:
            yield from self._wipe.run()
        except MediaError as error:
            self.trouble = error
        else:
            with mongo_errors(), long_query():
                self._tools.database[REMOVALS].delete_many(_removals_of(self.subject))
        with mongo_errors():
            self._tools.database[ACCOUNTS].delete_one({"_id": self.subject})
        self.thumbnails = self._tools.thumbnails.forget(self.subject)
        for did in dids:
            self._tools.keys.delete_all(did)

    def _find_dids(self) -> set[str]:
        """Return the present and former DIDs of the subject, except for those of other users."""
        reset = self._tools.wiper.state_reset
        dids = {
            did for kind in MEDIA_TYPES.values() for did in reset.repos_of_owner(kind, self.subject)
        }
        with mongo_errors():
            known = self._tools.database[ACCOUNTS].find_one({"_id": self.subject}) or {}
        dids |= {did for did in (known.get("did"), known.get("adopted")) if isinstance(did, str)}
        others = (self._tools.accounts.by_did(did) for did in dids)
        dids -= {other.did for other in others if other and other.subject != self.subject}
        return dids | ({self.account.did} if self.account else set())

    def _target(self, subject: str, account: Account | None) -> Target:
        if account is None:
            self.remark = (
                "The user is deleted or has no account: records on a PDS cannot be removed."
            )
            return Target(subject, None, None)
        repo = self._tools.wiper.open_repo(account)
        try:
            repo.commit()
        except AccountError as error:
            self.remark = error.message
            return Target(subject, account.did, None)
        return Target(subject, account.did, repo)


def _removals_of(subject: str) -> RawDocument:
    """Return a filter for the saved removals of a subject.

    Their `_id` is `type:subject:rkey:id`.
    """
    ranges = [
        {"_id": {"$gte": f"{name}:{subject}:", "$lt": f"{name}:{subject};"}} for name in MEDIA_TYPES
    ]
    return {"$or": ranges, "user": subject}
