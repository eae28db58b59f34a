"""Forget the subject of an erased account: records, states, thumbnails, session.

Can be repeated after an interruption, and after the platform has deleted the user or the PDS the
account. Records that cannot be removed are reported, and the states of their documents are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pymongo.database import Database

from worker.core.documents import Account
from worker.core.errors import AccountError, MediaError
from worker.database.accounts import Accounts, UnknownAccountError
from worker.database.mongo import RawDocument, mongo_errors
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
    """Stored data of a subject: records, states, thumbnails, pending removals."""

    types: Mapping[str, WipePreview]
    thumbnails: int
    removals: int

    @property
    def exists(self) -> bool:
        """Return whether anything is left to forget; sessions are not counted."""
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
        """Return the erasure of a subject, ready for `preview` or `run`.

        `name` is a subject, or any other name of an existing account. Raises the errors of the
        PDS and MongoDB.
        """
        try:
            account = self.accounts.resolve(name)
        except UnknownAccountError:
            return ErasureRun(self, name, None)
        return ErasureRun(self, account.subject, account)


class ErasureRun:
    """The erasure of one subject.

    `remark` is the reason why records cannot be removed, or ""; `trouble` the error that stopped
    their removal; `thumbnails` the number of deleted thumbnails.
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
        """Count what is stored, without changing anything."""
        database = self._tools.database
        with mongo_errors():
            thumbnails = database[THUMBNAILS].count_documents({"owner": self.subject})
            removals = database[REMOVALS].count_documents(_removals_of(self.subject))
        return Footprint(self._wipe.preview(), thumbnails, removals)

    def run(self) -> Iterator[int]:
        """Erase everything; yield the number of records removed by each batch.

        If records cannot be removed, everything else is still erased.
        """
        try:
            yield from self._wipe.run()
        except MediaError as error:
            self.trouble = error
        else:
            with mongo_errors():
                self._tools.database[REMOVALS].delete_many(_removals_of(self.subject))
        self.thumbnails = self._tools.thumbnails.forget(self.subject)
        if self.account:
            self._tools.keys.delete_all(self.account.did)

    def _target(self, subject: str, account: Account | None) -> Target:
        if account is None:
            self.remark = "no account of it is known: nothing can be removed on the PDS"
            return Target(subject, None, None)
        repo = self._tools.wiper.open_repo(account)
        try:
            repo.commit()
        except AccountError as error:
            self.remark = error.message
            return Target(subject, account.did, None)
        return Target(subject, account.did, repo)


def _removals_of(subject: str) -> RawDocument:
    """Match the pending removals of a subject; `_id` is `type:subject:rkey:id`."""
    ranges = [
        {"_id": {"$gte": f"{name}:{subject}:", "$lt": f"{name}:{subject};"}} for name in MEDIA_TYPES
    ]
    return {"$or": ranges, "user": subject}
