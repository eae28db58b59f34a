"""Find the AT Protocol accounts of users, and replace their stored passwords.

Accounts are in the collection `users`, screen names in `@handles`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database

from worker.core.documents import Account
from worker.core.errors import PermanentError
from worker.core.fields import is_text
from worker.core.secrets import Secret, StoredSecret
from worker.core.suggestions import did_you_mean
from worker.database.mongo import RawDocument, mongo_errors, stream
from worker.database.state import mapping

SURROGATE = re.compile("[\ud800-\udfff]")
_USERS, _HANDLES = "users", "@handles"
_HINT = "; give a screen name, a handle, a subject or a DID"
_PREFIXES = (4, 2, 1)  # characters that similar names have in common
_MAX_SIMILAR = 150  # names of each prefix, and in each collection
_MAX_COMPARED = 1000
_CHUNK = 1000  # users of one query
_ACCOUNT_FIELDS = {"atproto.did": 1, "atproto.handle": 1, "atproto.password": 1}


def _index_of_users(field: str) -> IndexModel:
    path = f"atproto.{field}"
    exists = {path: {"$exists": True}}
    return IndexModel([(path, ASCENDING)], name=f"atproto_{field}", partialFilterExpression=exists)


# The indexes that `by_did` and `resolve` use, by collection.
INDEXES = {
    _USERS: (_index_of_users("did"), _index_of_users("handle")),
    _HANDLES: (IndexModel([("handle", ASCENDING)], name="atproto_handle"),),
}


class UnknownAccountError(PermanentError):
    """No account has this subject, DID, handle or screen name."""

    step, code = "account", "unknown_account"


class Accounts:
    """Finds AT Protocol accounts by subject, DID, handle or screen name."""

    def __init__(self, database: Database[RawDocument]) -> None:
        self._users = database[_USERS]
        self._handles = database[_HANDLES]

    def find(self, subject: str) -> Account | None:
        """Return a user's account, or None if its DID or its password is missing."""
        # Messages and documents may contain subjects that are not valid text.
        is_name = is_text(subject) and not SURROGATE.search(subject)
        return self._find_one({"_id": subject}) if is_name else None

    def by_did(self, did: str) -> Account | None:
        return self._find_one({"atproto.did": did})

    def find_all(self, subjects: Iterable[str]) -> Iterator[Account]:
        """Yield the accounts that `find` returns, in no particular order."""
        names = (each for each in subjects if is_text(each) and not SURROGATE.search(each))
        return self._find_all("_id", names)

    def by_dids(self, dids: Iterable[str]) -> Iterator[Account]:
        return self._find_all("atproto.did", dids)

    def resolve(self, name: str) -> Account:
        """Return the account with this subject, DID, handle or screen name.

        Raises UnknownAccountError, with the names of similar accounts.
        """
        if account := self.named(name):
            return account
        bare = name.removeprefix("@")
        if self.subject_of(name):
            missing = "`atproto.did` or `atproto.password` is missing in `users`"
            raise UnknownAccountError(f"the user {name!a} has no account: {missing}")
        question = did_you_mean(bare, islice(self._names_like(bare), _MAX_COMPARED))
        raise UnknownAccountError(f"unknown user {name!a}{'.' + question if question else _HINT}")

    def named(self, name: str) -> Account | None:
        """Return the account with this subject, DID, handle or screen name, or None.

        Handles and screen names may begin with `@`.
        """
        if SURROGATE.search(name):
            return None
        bare = name.removeprefix("@")
        matches = [{"_id": name}, {"atproto.did": name}, {"atproto.handle": bare}]
        accounts = (self._find_one(match) for match in matches)
        found = next((account for account in accounts if account), None)
        if found is None and (subject := self._subject_named(bare)):
            return self._find_one({"_id": subject})
        return found

    def subject_of(self, name: str) -> str | None:
        """Return the subject of a user, given it or a screen name; None if there is no user.

        Users without an account are found too.
        """
        if SURROGATE.search(name):
            return None
        with mongo_errors():
            user = self._users.find_one({"_id": name}, {"_id": 1})
        return name if user else self._subject_named(name.removeprefix("@"))

    def _subject_named(self, screen_name: str) -> str | None:
        """Return the subject of the user with a screen name, or None."""
        with mongo_errors():
            found = self._handles.find_one({"handle": screen_name}, {"_id": 1})
        return str(found["_id"]) if found else None

    def _names_like(self, name: str) -> Iterator[str]:
        """Yield screen names and handles that begin as `name`, longest common prefix first.

        Reads ranges of the indexes, of limited size.
        """
        for length in _PREFIXES:
            for prefix in sorted({name[:length], name[:length].lower()}):
                if len(prefix) == length and not SURROGATE.search(prefix):
                    yield from self._range(self._handles, "handle", prefix)
                    yield from self._range(self._users, "atproto.handle", prefix)

    def _range(self, users: Collection[RawDocument], field: str, prefix: str) -> Iterator[str]:
        match = {field: {"$gte": prefix, "$lt": f"{prefix}\U0010ffff"}}
        with mongo_errors():
            found = users.find(match, {"_id": 0, field: 1}).limit(_MAX_SIMILAR)
            values = (
                user.get("handle") or mapping(user.get("atproto")).get("handle") for user in found
            )
            yield from (value for value in values if is_text(value))

    def usable(self, subjects: Iterable[str]) -> set[str]:
        """Return the subjects that have an account with a DID and a password."""
        is_string = {"$type": "string"}
        match: RawDocument = {"_id": {"$in": list(subjects)}}
        match |= {"atproto.did": is_string, "atproto.password": is_string}
        with mongo_errors():
            users = self._users.find(match, _ACCOUNT_FIELDS)
            return {str(user["_id"]) for user in users if _credentials(user)}

    def missing_parts(self, subjects: Sequence[str]) -> Counter[str]:
        """Count subjects without an account by what is missing: `user`, `did` or `password`."""
        with mongo_errors():
            users = list(self._users.find({"_id": {"$in": subjects}}, _ACCOUNT_FIELDS))
        stored = [mapping(user.get("atproto")) for user in users if not _credentials(user)]
        has_did = [is_text(each.get("did")) and each["did"] != "" for each in stored]
        counts = {"user": len(subjects) - len(users)}
        counts |= {"did": has_did.count(False), "password": has_did.count(True)}
        return +Counter(counts)

    def read_all(self) -> Iterator[StoredSecret]:
        """Yield the stored password of each user with a DID, named by the subject."""
        texts = {"atproto.password": {"$type": "string"}}
        with mongo_errors():
            for user in stream(partial(self._users.find, texts, _ACCOUNT_FIELDS)):
                if credentials := _credentials(user):
                    did, password = credentials
                    yield StoredSecret(user["_id"], password, did)

    def swap(self, stored: StoredSecret, sealed: str) -> bool:
        """Replace a password if it and its DID are unchanged; return whether it was replaced."""
        match = {
            "_id": stored.name,
            "atproto.did": stored.did,
            "atproto.password": stored.text,
        }
        with mongo_errors():
            replaced = self._users.update_one(match, {"$set": {"atproto.password": sealed}})
        return replaced.modified_count == 1

    def scan(self, after: str, limit: int) -> tuple[list[Account], str]:
        """Return the accounts among the next `limit` users after a subject, ascending.

        Also returns the last subject read, to continue after. The subject "" as a parameter is the
        start of the collection, as a result its end.
        """
        with mongo_errors():
            found = self._users.find({"_id": {"$gt": after}}, _ACCOUNT_FIELDS)
            users = list(found.sort("_id").limit(limit))
        last = str(users[-1]["_id"]) if len(users) == limit else ""
        return self._build_accounts(users), last

    def _find_all(self, field: str, values: Iterable[str]) -> Iterator[Account]:
        remaining = iter(values)
        while chunk := list(islice(remaining, _CHUNK)):
            with mongo_errors():
                users = list(self._users.find({field: {"$in": chunk}}, _ACCOUNT_FIELDS))
            yield from self._build_accounts(users)

    def _build_accounts(self, users: Sequence[RawDocument]) -> list[Account]:
        """Build the accounts of users that have one, with their screen names."""
        subjects = [user["_id"] for user in users]
        with mongo_errors():
            named = {raw["_id"]: raw for raw in self._handles.find({"_id": {"$in": subjects}})}
        accounts = (_build_account(user, named.get(user["_id"])) for user in users)
        return [account for account in accounts if account]

    def _find_one(self, match: Mapping[str, object]) -> Account | None:
        with mongo_errors():
            user = self._users.find_one(match, _ACCOUNT_FIELDS)
            named = self._handles.find_one({"_id": user["_id"]}) if user else None
        return _build_account(user, named) if user else None


def _build_account(user: RawDocument, named: RawDocument | None) -> Account | None:
    """Build an account from the documents in `users` and `@handles`."""
    if (credentials := _credentials(user)) is None:
        return None
    did, password = credentials
    stored = mapping(user.get("atproto"))
    screen_name = named.get("handle") if named else None
    return Account(
        subject=str(user["_id"]),
        did=did,
        handle=str(stored.get("handle") or did),
        password=Secret(password),
        screen_name=screen_name if is_text(screen_name) and screen_name else None,
    )


def _credentials(user: RawDocument) -> tuple[str, str] | None:
    stored = mapping(user.get("atproto"))
    did, password = stored.get("did"), stored.get("password")
    if is_text(did) and is_text(password) and did and password:
        return did, password
    return None
