"""Forgetting a subject whose account is being erased: records, states, thumbnails, session.

Repeatable after any interruption, and where part of it is gone already: the platform may have
deleted the user's document, the PDS the account. What cannot be removed is told, and what is not
known to be gone is not called so: the states of such documents stay as they are.
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
    """What there is of a subject: records and states by type, thumbnails, removals that wait."""

    types: Mapping[str, WipePreview]
    thumbnails: int
    removals: int

    @property
    def exists(self) -> bool:
        """Tell whether there is anything to forget, a session apart."""
        counts = [count for each in self.types.values() for count in (each.records, each.states)]
        return any((*counts, self.thumbnails, self.removals))


@dataclass(frozen=True, slots=True)
class AccountErasure:
    """Everything that forgetting takes."""

    wiper: Wiper
    accounts: Accounts
    keys: AccountCache
    thumbnails: ThumbnailCache
    database: Database[RawDocument]

    def prepare(self, name: str) -> ErasureRun:
        """Return the forgetting of a subject, to be surveyed or carried out.

        The subject's other names are understood for as long as it has an account. Raises the
        errors of the PDS and MongoDB.
        """
        try:
            account = self.accounts.resolve(name)
        except UnknownAccountError:
            return ErasureRun(self, name, None)
        return ErasureRun(self, account.subject, account)


class ErasureRun:
    """One subject being forgotten.

    `remark` says why nothing can be removed on the PDS, where that is so; `trouble` is what kept
    records from being removed; `thumbnails` the number of those that were deleted.
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
        """Return by type what was done so far."""
        return self._wipe.done

    def preview(self) -> Footprint:
        """Count what there is, without changing anything."""
        database = self._tools.database
        with mongo_errors():
            thumbnails = database[THUMBNAILS].count_documents({"owner": self.subject})
            removals = database[REMOVALS].count_documents(_removals_of(self.subject))
        return Footprint(self._wipe.preview(), thumbnails, removals)

    def run(self) -> Iterator[int]:
        """Carry it out; yield the numbers of records removed, a batch at a time.

        What keeps records from being removed keeps nothing else from being forgotten.
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
    """Match what waits to be removed of a subject, by its `_id`: `type:subject:rkey:id`."""
    ranges = [
        {"_id": {"$gte": f"{name}:{subject}:", "$lt": f"{name}:{subject};"}} for name in MEDIA_TYPES
    ]
    return {"$or": ranges, "user": subject}
