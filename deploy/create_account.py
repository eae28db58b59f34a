"""Create an account on the PDS, and store it in MongoDB as the account of a user.

    create_account.py SUBJECT HANDLE EMAIL [--plain]

SUBJECT is the `_id` of the user in `users`: it is created if it is missing; of an existing user,
only the DID, the handle and the password of the account are set. HANDLE is a name below the host
name of the PDS. Workers log in with an app password, which is stored encrypted, or with --plain as
it is, for other programs that read it. The account's own password is printed as soon as the account
exists, and not stored.

If a later step fails, run the same command again with that password in ACCOUNT_PASSWORD: it then
logs in to the existing account instead of creating one.

Reads PDS_URL, ALLOW_HTTP, MONGODB_CONNECTION_STRING, MONGODB_NAME, SECRET_KEYS and
ACCOUNT_PASSWORD, and the admin password of the PDS from PDS_ENV, the text of its environment. Each
can be in a file that NAME_FILE names.

Exit codes: 0 stored, 1 the user has an account already, 2 error, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from worker.core.errors import MediaError
from worker.core.secrets import Purpose, Secret, Vault
from worker.core.settings.engine import read_secret_keys
from worker.core.settings.programs import MongoSettings
from worker.core.settings.reader import EnvironmentReader, SettingsError
from worker.core.settings.validators import http_url_checker
from worker.core.text import printable, printable_lines, truncate
from worker.database.mongo import RawDocument, connect, mongo_errors
from worker.operations.unavailable import explain

_APP_PASSWORD = "media-atproto"  # noqa: S105 - its name
_ADMIN_PASSWORD = "PDS_ADMIN_PASSWORD="  # noqa: S105 - the name of a variable
_TIMEOUT = 30.0
_SESSION = ("did", "handle", "accessJwt")
_EXISTS = {"atproto.did": {"$type": "string"}}
_AGAIN = "run the same command again with the account's own password in ACCOUNT_PASSWORD"
_TAKEN = (
    "if the account is from an earlier run, run this again with its own password in "
    "ACCOUNT_PASSWORD; if that is lost, set a new one first as the admin of the PDS, with "
    "com.atproto.admin.updateAccountPassword"
)


class AccountError(Exception):
    """A step failed; the message names the service and what to do."""


class NoAnswerError(AccountError):
    """The PDS did not answer, or not as expected: it may have carried out the call."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session of an account on the PDS."""

    did: str
    handle: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of this program; `own_password` is that of an existing account, or empty."""

    mongodb: MongoSettings
    pds_url: str
    admin_password: Secret
    own_password: Secret
    vault: Vault

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Configuration:
        """Read the settings; raises SettingsError for all problems."""
        with EnvironmentReader(environ) as reader:
            check_url = http_url_checker(reader.flag("ALLOW_HTTP"))
            lines = reader.text("PDS_ENV").splitlines()
            admin = [line for line in lines if line.startswith(_ADMIN_PASSWORD)]
            if lines and not admin:
                reader.problems.append(f"PDS_ENV has no {_ADMIN_PASSWORD}...")
            return cls(
                mongodb=MongoSettings.read(reader),
                pds_url=reader.valid_text("PDS_URL", check_url).rstrip("/"),
                admin_password=Secret(admin[0].removeprefix(_ADMIN_PASSWORD) if admin else ""),
                own_password=Secret(reader.text("ACCOUNT_PASSWORD", "")),
                vault=Vault(read_secret_keys(reader)),
            )


@dataclass(frozen=True, slots=True)
class Pds:
    """Creates accounts on the PDS, and logs in to them."""

    http: httpx.Client
    url: str

    def create(self, handle: str, email: str, admin_password: str) -> Session:
        """Create an account with an invite code, and print its password once it may exist."""
        invite = self.call(
            "createInviteCode",
            {"useCount": 1},
            ("code",),
            authorization=f"Basic {b64encode(f'admin:{admin_password}'.encode()).decode()}",
            hint="check the admin password in PDS_ENV",
        )
        password = secrets.token_urlsafe(18)
        body = {"handle": handle, "email": email, "password": password, "inviteCode": invite[0]}
        try:
            session = self.call("createAccount", body, _SESSION, hint=_TAKEN)
        except (NoAnswerError, KeyboardInterrupt):
            say(f"if the account was created, its own password is: {password}")
            raise
        say(f"account  {session[0]}  {session[1]}")
        say(f"its own password, which is not stored: {password}")
        return Session(*session)

    def log_in(self, handle: str, password: str) -> Session:
        """Open a session of an existing account."""
        body = {"identifier": handle, "password": password}
        hint = "check HANDLE and ACCOUNT_PASSWORD, or unset the latter to create the account"
        session = Session(*self.call("createSession", body, _SESSION, hint=hint))
        say(f"account  {session.did}  {session.handle}, which exists")
        return session

    def replace_app_password(self, session: Session) -> str:
        """Create the app password of workers, in place of that of an earlier run."""
        name, token = {"name": _APP_PASSWORD}, f"Bearer {session.token}"
        self.call("revokeAppPassword", name, authorization=token)
        return self.call("createAppPassword", name, ("password",), authorization=token)[0]

    def call(
        self,
        method: str,
        body: Mapping[str, object],
        wanted: tuple[str, ...] = (),
        *,
        authorization: str = "",
        hint: str = "see the log of the PDS",
    ) -> list[str]:
        """Call the PDS; return the wanted fields of its answer.

        Raises AccountError if the PDS refused the call, and NoAnswerError.
        """
        url = f"{self.url}/xrpc/com.atproto.server.{method}"
        headers = {"Authorization": authorization} if authorization else {}
        try:
            response = self.http.post(url, json=body, headers=headers)
            if response.is_client_error:
                said = printable(truncate(response.text, 300))
                raise AccountError(f"the PDS at {self.url} refused {method}: {said}; {hint}")
            response.raise_for_status()
            answer = response.json() if wanted else {}
            return [str(answer[name]) for name in wanted]
        except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
            status = getattr(getattr(error, "response", None), "status_code", "")
            why = f"{type(error).__name__} {status}".strip()
            message = f"the PDS at {self.url} did not answer {method} as expected ({why})"
            raise NoAnswerError(f"{message}; check PDS_URL and the log of the PDS") from error


def main(
    configuration: Configuration, subject: str, handle: str, email: str, *, plain: bool
) -> None:
    """Create an account, or log in to an existing one, and store it.

    Raises AccountError, and StoreUnavailableError before anything has changed.
    """
    database = connect(configuration.mongodb)
    with database.client, httpx.Client(timeout=_TIMEOUT, trust_env=False) as http:
        users = database["users"]
        check_is_new(users, subject, handle)
        pds = Pds(http, configuration.pds_url)
        if own_password := configuration.own_password.reveal():
            session = pds.log_in(handle, own_password)
        else:
            session = pds.create(handle, email, configuration.admin_password.reveal())
        try:
            password = pds.replace_app_password(session)
            store(users, subject, session, password, None if plain else configuration.vault)
        except (AccountError, MediaError, DuplicateKeyError) as error:
            raise AccountError(f"{error}. The account exists: to store it, {_AGAIN}") from error
    say(f"stored in the document {subject} of users")


def check_is_new(users: Collection[RawDocument], subject: str, handle: str) -> None:
    """End the program if the user has an account, or another user has this one."""
    same = {"$or": [{"_id": subject}, {"atproto.handle": handle}]}
    with mongo_errors():
        found = users.find_one({**same, **_EXISTS}, {"_id": 1})
    if found:
        raise SystemExit(f"the user {found['_id']} has an account already: nothing was changed")


def store(
    users: Collection[RawDocument],
    subject: str,
    session: Session,
    password: str,
    vault: Vault | None,
) -> None:
    """Store an account in the document of a user, its app password encrypted by `vault`."""
    if vault:
        password = vault.seal(password, Purpose.PASSWORD, session.did)
    atproto = {
        "atproto.did": session.did,
        "atproto.handle": session.handle,
        "atproto.password": password,
    }
    with mongo_errors():
        users.update_one({"_id": subject}, {"$set": atproto}, upsert=True)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("subject")
    parser.add_argument("handle")
    parser.add_argument("email")
    parser.add_argument("--plain", action="store_true", help="store the password as it is")
    chosen = parser.parse_args()
    try:
        loaded = Configuration.load(os.environ)
        main(loaded, chosen.subject, chosen.handle, chosen.email, plain=chosen.plain)
    except (AccountError, MediaError, SettingsError) as error:
        sys.stderr.write(f"{printable_lines(explain(error))}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
