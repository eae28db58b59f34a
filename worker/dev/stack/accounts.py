"""Create users of a trial platform, with accounts on the PDS of a stack."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

import httpx
from pymongo.database import Database

from worker.core.documents import Account
from worker.core.secrets import Purpose, Vault
from worker.database.accounts import Accounts
from worker.database.mongo import RawDocument, mongo_errors
from worker.dev.stack.errors import StackError

_TIMEOUT = 30  # seconds
GUESTS = "all-guests"
"""The name of the guests' account; no user can have it."""


@dataclass(frozen=True, slots=True)
class PdsAccount:
    """An account on the PDS, with the access token that its creation returned."""

    did: str
    handle: str
    password: str = field(repr=False)
    access_token: str = field(repr=False)


def create_account(pds_url: str, name: str, password: str | None = None) -> PdsAccount:
    """Create the account `<name>.test` on a PDS."""
    password = password or secrets.token_urlsafe(18)
    handle = f"{name}.test"
    body = {"handle": handle, "email": f"{name}@example.test", "password": password}
    url = f"{pds_url}/xrpc/com.atproto.server.createAccount"
    answer = httpx.post(url, json=body, timeout=_TIMEOUT, trust_env=False)
    answer = answer.raise_for_status().json()
    return PdsAccount(str(answer["did"]), handle, password, str(answer["accessJwt"]))


@dataclass(frozen=True, slots=True)
class TrialUsers:
    """Creates users in MongoDB, and their accounts on the PDS of a stack.

    `admin` is the password of the PDS administrator.
    """

    database: Database[RawDocument]
    pds_url: str
    admin: str = field(repr=False)
    vault: Vault

    def create(self, name: str) -> Account:
        """Return the account of the user `name`; create the user and the account if needed.

        The user's subject is `name`, unless `@handles` has a user of this name. Raises StackError
        if the PDS refuses the name, and StoreUnavailableError.
        """
        handles = self.database["@handles"]
        with mongo_errors():
            named = handles.find_one({"handle": name}, {"_id": 1})
        subject = str(named["_id"]) if named else name
        self._with_account(subject, name)
        with mongo_errors():
            handles.update_one({"_id": subject}, {"$setOnInsert": {"handle": name}}, upsert=True)
        return Accounts(self.database).resolve(subject)

    def create_guests(self, subject: str) -> Account:
        """Return the account of all guests, whose user document is `subject`."""
        return self._with_account(subject, GUESTS)

    def _with_account(self, subject: str, name: str) -> Account:
        accounts = Accounts(self.database)
        if existing := accounts.find(subject):
            return existing
        account = self._register(name)
        atproto = {
            "atproto.did": account.did,
            "atproto.handle": account.handle,
            "atproto.password": self.vault.seal(account.password, Purpose.PASSWORD, account.did),
        }
        with mongo_errors():
            users = self.database["users"]
            users.update_one({"_id": subject}, {"$set": atproto}, upsert=True)
        return accounts.resolve(subject)

    def _register(self, name: str) -> PdsAccount:
        """Create an account, or set a new password if the PDS already has it.

        It has it if an earlier run was interrupted, or if the user document was deleted.
        """
        try:
            did = self._find_did(f"{name}.test")
            return self._take_over(did, name) if did else create_account(self.pds_url, name)
        except httpx.HTTPStatusError as error:
            said = error.response.text[:300]
            raise StackError(
                f"The PDS refused to create the account {name}.test: {said}"
            ) from error
        except httpx.HTTPError as error:
            raise StackError(f"The PDS does not respond: {type(error).__name__}") from error

    def _find_did(self, handle: str) -> str | None:
        url = f"{self.pds_url}/xrpc/com.atproto.identity.resolveHandle"
        answer = httpx.get(url, params={"handle": handle}, timeout=_TIMEOUT, trust_env=False)
        if answer.status_code == httpx.codes.BAD_REQUEST:  # no such handle
            return None
        return str(answer.raise_for_status().json()["did"])

    def _take_over(self, did: str, name: str) -> PdsAccount:
        password = secrets.token_urlsafe(18)
        url = f"{self.pds_url}/xrpc/com.atproto.admin.updateAccountPassword"
        body = {"did": did, "password": password}
        login = ("admin", self.admin)
        answer = httpx.post(url, json=body, auth=login, timeout=_TIMEOUT, trust_env=False)
        answer.raise_for_status()
        return PdsAccount(did, f"{name}.test", password, access_token="")
