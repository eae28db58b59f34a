"""The platform's users as its programs left them in MongoDB, and the accounts found there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet

from worker.core.documents import Account
from worker.core.secrets import Secret, Vault
from worker.database.accounts import UnknownAccountError
from worker.database.mongo import RawDocument
from worker.operations.key_rotation import re_encrypt
from worker.services import Services

ADA = {"did": "did:plc:ada", "handle": "ada.test", "password": "canary"}
UNUSABLE: Mapping[str, object] = {
    "nothing": None,
    "a text": "did:plc:x",
    "a list": [{"did": "did:plc:x", "password": "x"}],
    "an empty object": {},
    "no password": {"did": "did:plc:x"},
    "no DID": {"password": "x"},
    "a DID that is no text": {"did": 5, "password": "x"},
    "a password that is no text": {"did": "did:plc:x", "password": {"$ne": None}},
    "a password that is a list": {"did": "did:plc:x", "password": ["x"]},
    "an empty DID": {"did": "", "password": "x"},
    "an empty password": {"did": "did:plc:x", "password": ""},
}


def add(services: Services, subject: str, atproto: object, name: object = None) -> None:
    """Add a user as the platform does, with a name of its own perhaps."""
    document: RawDocument = {"_id": subject, "email": f"{subject}@example.test", "atproto": atproto}
    services.storage.database["users"].insert_one(document)
    if name is not None:
        services.storage.database["@handles"].insert_one({"_id": subject, "handle": name})


def stored(services: Services) -> dict[object, RawDocument]:
    """Return all users as they are in MongoDB."""
    return {user["_id"]: user for user in services.storage.database["users"].find()}


def password_of(here: Services, subject: str, vault: Vault) -> str:
    """Return the password of an account, opened if it is sealed."""
    account = here.storage.accounts.find(subject)
    assert account is not None
    return vault.open_password(account.password.reveal(), account.did).reveal()


def test_account_is_found_by_all_its_names(here: Services) -> None:
    """By subject and by DID; the platform's name for the user comes along."""
    add(here, "auth0|ada", ADA, "ada")
    ada = Account("auth0|ada", "did:plc:ada", "ada.test", Secret("canary"), screen_name="ada")
    assert here.storage.accounts.find("auth0|ada") == ada
    assert here.storage.accounts.by_did("did:plc:ada") == ada
    assert "canary" not in repr(ada)


@pytest.mark.parametrize(
    "name",
    ["auth0|ada", "did:plc:ada", "ada.test", "@ada.test", "ada", "@ada"],
)
def test_account_is_resolved_by_any_of_its_names(here: Services, name: str) -> None:
    """Handles and screen names with or without `@`."""
    add(here, "auth0|ada", ADA, "ada")
    add(here, "auth0|bob", ADA | {"did": "did:plc:bob", "handle": "bob.test"}, "bob")
    assert here.storage.accounts.resolve(name).subject == "auth0|ada"


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("@Whistlegraph", "whistlegraph"),
        ("whistelgraph", "whistlegraph"),
        ("wihstlegraph", "whistlegraph"),
        ("WG.example.com", "wg.example.com"),
        ("wg.example.org", "wg.example.com"),
        ("w", ""),
        ("somebody", ""),
        ("did:plc:adb", ""),
        ("\ud800", ""),
        ("", ""),
    ],
)
def test_unknown_name_is_an_error_with_similar_names(
    here: Services, name: str, suggested: str
) -> None:
    """Another case, and typing errors after the first letter."""
    account = {"did": "did:plc:wg", "handle": "wg.example.com", "password": "canary"}
    add(here, "auth0|wg", account, "whistlegraph")
    add(here, "auth0|odd", {"handle": 5}, 7)
    with pytest.raises(UnknownAccountError) as raised:
        here.storage.accounts.resolve(name)
    assert raised.value.message.startswith(f"unknown user {name!a}")
    assert (f"Did you mean '{suggested}'?" in raised.value.message) == bool(suggested)


def test_user_without_an_account_is_an_error_that_names_the_missing_fields(
    here: Services,
) -> None:
    """By subject and by screen name."""
    add(here, "auth0|bob", {"handle": "bob.test"}, "bob")
    for name in ("auth0|bob", "@bob"):
        with pytest.raises(UnknownAccountError, match=r"has no account: `atproto\.did`"):
            here.storage.accounts.resolve(name)


def test_who_is_not_there_has_no_account(here: Services) -> None:
    """Whatever they are looked for by, hostile names included."""
    add(here, "auth0|ada", ADA, "ada")
    for name in ("", "@", "nobody", "$where", "a\0b", "did:plc:ada\n"):
        assert here.storage.accounts.find(name) is None
        assert here.storage.accounts.by_did(name) is None


@pytest.mark.parametrize("shape", UNUSABLE)
def test_what_cannot_be_logged_in_with_is_no_account(here: Services, shape: str) -> None:
    """Its items are skipped until it can, and nothing says meanwhile that it could."""
    add(here, "auth0|bob", UNUSABLE[shape], "bob")
    assert here.storage.accounts.find("auth0|bob") is None
    assert here.storage.accounts.by_did("did:plc:x") is None
    assert here.storage.accounts.usable(["auth0|bob"]) == set()


def test_usable_names_exactly_those_who_have_accounts(here: Services) -> None:
    """Of those who are asked about, and of no others."""
    for number, atproto in enumerate([*UNUSABLE.values(), ADA, ADA | {"did": "did:plc:eve"}]):
        add(here, f"auth0|{number}", atproto)
    last = len(UNUSABLE) + 1
    asked = [f"auth0|{number}" for number in range(last)] + ["auth0|nobody"]
    assert here.storage.accounts.usable(asked) == {f"auth0|{last - 1}"}
    assert here.storage.accounts.usable([]) == set()
    found = {subject for subject in asked if here.storage.accounts.find(subject)}
    assert found == here.storage.accounts.usable(asked)


@pytest.mark.parametrize("name", [None, "", 5, ["ada"]])
def test_account_without_a_name_on_the_platform(here: Services, name: object) -> None:
    """It is an account all the same; without a handle its DID stands for it."""
    add(here, "auth0|ada", {"did": "did:plc:ada", "password": "canary"}, name)
    account = here.storage.accounts.find("auth0|ada")
    assert account is not None
    assert (account.screen_name, account.handle) == (None, "did:plc:ada")


def test_sealing_leaves_no_plain_password(here: Services) -> None:
    """Each opens to what it was, everything else stays, and a second time nothing happens."""
    people = {f"auth0|{number}": ADA | {"password": f"canary {number}"} for number in range(5)}
    for subject, atproto in people.items():
        add(here, subject, atproto)
    before = stored(here)
    assert re_encrypt(here.storage.accounts, here.pds.vault) == 5
    sealed = stored(here)
    assert "canary" not in str(sealed)
    for subject, atproto in people.items():
        account = here.storage.accounts.find(subject)
        assert account is not None
        assert here.pds.vault.is_sealed(account.password.reveal())
        assert password_of(here, subject, here.pds.vault) == atproto["password"]
        password = {"password": account.password.reveal()}
        assert sealed[subject] == before[subject] | {"atproto": atproto | password}
    assert re_encrypt(here.storage.accounts, here.pds.vault) == 0
    assert stored(here) == sealed


def test_sealing_passes_over_what_is_no_password(here: Services) -> None:
    """Odd documents stay as they are, and keep no other from being sealed."""
    odd = {name: value for name, value in UNUSABLE.items() if not _has_password(value)}
    for name, value in odd.items():
        add(here, name, value)
    before = stored(here)
    add(here, "zoe", ADA)
    assert re_encrypt(here.storage.accounts, here.pds.vault) == 1
    assert {k: v for k, v in stored(here).items() if k != "zoe"} == before


def _has_password(atproto: object) -> bool:
    return isinstance(atproto, dict) and isinstance(atproto.get("password"), str)


def test_sealing_twice_at_once_seals_each_once(here: Services) -> None:
    """Two operators, or a deploy hook on two machines: none is sealed inside a seal."""
    for number in range(40):
        add(here, f"auth0|{number}", ADA | {"password": f"canary {number}"})
    start = threading.Barrier(4)

    def seal(_: int) -> int:
        start.wait()
        return re_encrypt(here.storage.accounts, here.pds.vault)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(seal, range(4))) == 40
    for number in range(40):
        assert password_of(here, f"auth0|{number}", here.pds.vault) == f"canary {number}"


def test_sealing_never_brings_an_old_password_back(here: Services) -> None:
    """One that is changed while it is being sealed is the new one afterwards, sealed or not."""
    subjects = [f"auth0|{number}" for number in range(40)]
    for subject in subjects:
        add(here, subject, ADA | {"password": "old"})
    start = threading.Barrier(2)

    def change_all() -> None:
        start.wait()
        for subject in reversed(subjects):
            new = {"$set": {"atproto.password": "new"}}
            here.storage.database["users"].update_one({"_id": subject}, new)

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change_all)
        start.wait()
        re_encrypt(here.storage.accounts, here.pds.vault)
        changing.result()
    assert {password_of(here, subject, here.pds.vault) for subject in subjects} == {"new"}


def test_password_stays_readable_while_keys_rotate(here: Services) -> None:
    """What the old key sealed opens as long as that key is kept."""
    old, new = (Secret(Fernet.generate_key().decode()) for _ in range(2))
    add(here, "auth0|ada", ADA)
    assert re_encrypt(here.storage.accounts, Vault([old])) == 1
    assert password_of(here, "auth0|ada", Vault([new, old])) == "canary"
