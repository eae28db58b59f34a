"""Create an account on the PDS, and store it in MongoDB as the account of a user.

    create_account.py SUBJECT HANDLE EMAIL [--plain]

SUBJECT is the `_id` of the user in `users`: it is created if it is missing, and left as it is
otherwise. HANDLE is a name below the host name of the PDS. Workers log in with an app password,
which is stored encrypted, or with --plain as it is, for other programs that read it. The account's
own password is printed and not stored.

Reads PDS_URL, ALLOW_HTTP, MONGODB_CONNECTION_STRING, MONGODB_NAME and SECRET_KEYS, and the admin
password of the PDS from PDS_ENV, the text of its environment. Each can be in a file that NAME_FILE
names.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from pymongo import MongoClient
from pymongo.collection import Collection

from worker.core.secrets import Purpose, Secret, Vault
from worker.core.settings.programs import MongoSettings
from worker.core.settings.reader import EnvironmentReader, SettingsError
from worker.core.settings.validators import http_url_checker

_APP_PASSWORD = "media-atproto"  # noqa: S105 - its name
_ADMIN_PASSWORD = "PDS_ADMIN_PASSWORD="  # noqa: S105 - the name of a variable
_TIMEOUT = 30.0
_EXISTS = {"atproto.did": {"$type": "string"}}
Document = dict[str, object]


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the PDS."""

    did: str
    handle: str
    password: str = field(repr=False)
    app_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of this program."""

    mongodb: MongoSettings
    pds_url: str
    admin_password: Secret
    vault: Vault

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Configuration:
        """Read the settings; raises SettingsError for all problems."""
        with EnvironmentReader(environ) as reader:
            check_url = http_url_checker(reader.flag("ALLOW_HTTP"))
            lines = reader.text("PDS_ENV").splitlines()
            admin = [line for line in lines if line.startswith(_ADMIN_PASSWORD)]
            if not reader.names("SECRET_KEYS"):
                reader.report_missing("SECRET_KEYS")
            if lines and not admin:
                reader.problems.append(f"PDS_ENV has no {_ADMIN_PASSWORD}...")
            return cls(
                mongodb=MongoSettings.read(reader),
                pds_url=reader.valid_text("PDS_URL", check_url).rstrip("/"),
                admin_password=Secret(admin[0].removeprefix(_ADMIN_PASSWORD) if admin else ""),
                vault=Vault(map(Secret, reader.names("SECRET_KEYS"))),
            )


def main(
    configuration: Configuration, subject: str, handle: str, email: str, *, plain: bool
) -> None:
    """Create an account and store it; raises httpx.HTTPError and PyMongoError."""
    url = configuration.mongodb.url.reveal()
    client: MongoClient[Document]
    with MongoClient(url) as client, httpx.Client(timeout=_TIMEOUT, trust_env=False) as http:
        users: Collection[Document] = client[configuration.mongodb.name]["users"]
        if users.find_one({"_id": subject, **_EXISTS}):
            raise SystemExit(f"the user {subject} has an account already: nothing was changed")
        account = create(http, configuration, handle, email)
        say(f"account  {account.did}  {account.handle}")
        say(f"its own password, which is not stored: {account.password}")
        store(users, subject, account, None if plain else configuration.vault)
        say(f"stored in the document {subject} of users")


def create(http: httpx.Client, configuration: Configuration, handle: str, email: str) -> Account:
    """Create an account with an invite code, and an app password for it."""
    xrpc = f"{configuration.pds_url}/xrpc/com.atproto.server"
    admin = ("admin", configuration.admin_password.reveal())
    invite = call(http.post(f"{xrpc}.createInviteCode", json={"useCount": 1}, auth=admin))
    password = secrets.token_urlsafe(18)
    body = {"handle": handle, "email": email, "password": password, "inviteCode": invite["code"]}
    made = call(http.post(f"{xrpc}.createAccount", json=body))
    token = {"Authorization": f"Bearer {made['accessJwt']}"}
    name = {"name": _APP_PASSWORD}
    app = call(http.post(f"{xrpc}.createAppPassword", json=name, headers=token))
    return Account(made["did"], made["handle"], password, app["password"])


def call(response: httpx.Response) -> dict[str, str]:
    """Return the answer of the PDS; ends the program with its error."""
    if response.is_error:
        raise SystemExit(f"the PDS refused {response.url.path}: {response.text[:300]}")
    answer: dict[str, str] = response.json()
    return answer


def store(users: Collection[Document], subject: str, account: Account, vault: Vault | None) -> None:
    """Store an account in the document of a user, its app password encrypted by `vault`."""
    password = account.app_password
    if vault:
        password = vault.seal(password, Purpose.PASSWORD, account.did)
    atproto = {"did": account.did, "handle": account.handle, "password": password}
    users.update_one({"_id": subject}, {"$set": {"atproto": atproto}}, upsert=True)


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
    except SettingsError as error:
        raise SystemExit(str(error)) from None
