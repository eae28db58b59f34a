"""Read the documents of an owner, and list accounts and owners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import cast

from pymongo.database import Database

from worker.core.documents import Account, MediaDocument
from worker.database.accounts import Accounts
from worker.database.backlog import OWNER
from worker.database.mongo import RawDocument, mongo_errors, stream
from worker.database.store import GUEST_USERS, DocumentStore, projection
from worker.media import MediaType

_BY_OWNER, _BY_DID = "atproto_owner", "atproto_did"
_IS_TEXT: RawDocument = {"$expr": {"$eq": [{"$type": "$atproto.did"}, "string"]}}
_CHUNK = 500
_OF_RECORD = tuple(
    f"atproto.{name}"
    for name in (
        "status",
        "repo",
        "rkey",
        "uri",
        "cid",
        "adopted",
        "blobs",
        "links",
        "fingerprint",
    )
)
_BATCH = 5000  # documents


class OwnedDocuments:
    """Reads documents by owner, and lists accounts and owners, in one database."""

    def __init__(
        self, database: Database[RawDocument], store: DocumentStore, accounts: Accounts
    ) -> None:
        self._users = database["users"]
        self._store = store
        self._accounts = accounts

    def documents(self, kind: MediaType, owner: object) -> Iterator[MediaDocument]:
        """Iterate over an owner's documents of one type, in no particular order."""
        for raw in self._find(kind, owner, projection(kind)):
            yield self._store.parse(kind, raw)

    def records(self, kind: MediaType, owner: str) -> Iterator[RawDocument]:
        """Iterate over an owner's raw documents, with the part of the state about records.

        The driver takes half the time for that part.
        """
        return self._find(kind, owner, dict.fromkeys((*kind.read_fields, *_OF_RECORD), 1))

    def _find(
        self, kind: MediaType, owner: object, fields: Mapping[str, int]
    ) -> Iterator[RawDocument]:
        guest = self._store.guest_subject
        # An owner may be any BSON value; `$eq` keeps MongoDB from running it as a query.
        user = {"$in": [*GUEST_USERS, guest]} if owner == guest else {"$eq": owner}
        with mongo_errors():
            found = self._store.collection(kind).find({"user": user}, fields)
            yield from stream(partial(found.hint(OWNER).batch_size, _BATCH))

    def load(self, kind: MediaType, ids: Sequence[object]) -> Iterator[MediaDocument]:
        """Iterate over the documents with these ids; omit missing ones."""
        for start in range(0, len(ids), _CHUNK):
            yield from self._store.find_all(kind, ids[start : start + _CHUNK])

    def accounts(self) -> Iterator[Account]:
        """Iterate over all accounts.

        The DIDs are read in pages, because one cursor could expire during an audit.
        """
        last = ""
        while dids := self._next_dids(last):
            last = dids[-1]
            with mongo_errors():
                match = {"atproto.did": {"$in": list(dict.fromkeys(dids))}}
                subjects = [str(user["_id"]) for user in self._users.find(match, {"_id": 1})]
            for subject in subjects:
                if account := self._accounts.find(subject):
                    yield account

    def _next_dids(self, last: str) -> list[str]:
        match: RawDocument = {"atproto.did": {"$gt": last}, **_IS_TEXT}
        with mongo_errors():
            users = self._users.find(match, {"atproto.did": 1}).hint(_BY_DID).limit(_CHUNK)
            return [cast("dict[str, str]", user["atproto"])["did"] for user in users]

    def without_account(self, kind: MediaType) -> Iterator[object]:
        """Iterate over owners without an account that have documents of one type.

        Yields each owner once, as stored, of any BSON type. Yields the guest subject, which owns
        documents without a user, if it has no account.
        """
        guest = self._store.guest_subject
        pipeline: list[RawDocument] = [{"$sort": {"user": 1}}, {"$group": {"_id": "$user"}}]
        with mongo_errors():
            aggregate = self._store.collection(kind).aggregate
            rows = stream(partial(aggregate, pipeline, hint=dict(OWNER)))
            owners = (row["_id"] for row in rows if row["_id"] not in (*GUEST_USERS, guest))
            while chunk := list(islice(owners, _CHUNK)):
                usable = self._accounts.usable(map(str, chunk))
                yield from (owner for owner in chunk if str(owner) not in usable)
        if self._accounts.find(guest) is None:
            yield guest
