"""Users of a trial platform: in MongoDB, and with accounts on the PDS."""

from __future__ import annotations

from uuid import uuid4

import pytest
from bson import ObjectId

from worker.core.secrets import Vault
from worker.database.state import mapping
from worker.dev.demo.platform import Platform
from worker.dev.stack import StackError
from worker.dev.stack.accounts import TrialUsers
from worker.services import Services


@pytest.fixture
def trial(services: Services, pds_admin: tuple[str, str]) -> TrialUsers:
    """Return what creates users in an empty database."""
    settings = services.settings
    vault = Vault(settings.secret_keys)
    return TrialUsers(services.storage.database, settings.pds.url, pds_admin[1], vault)


@pytest.fixture
def name() -> str:
    """Return a name that no account has."""
    return f"t{uuid4().hex[:12]}"


def status_of(services: Services, type_name: str, item: ObjectId) -> str:
    """Sync an item; return its status."""
    return str(services.sync.engine.sync(type_name, item, holder="test").status)


def test_item_of_a_new_user_is_published(
    trial: TrialUsers, services: Services, platform: Platform, name: str
) -> None:
    """The password is sealed, and the user is found by the screen name."""
    account = trial.create(name)
    assert account == services.storage.accounts.resolve(f"@{name}")
    assert (account.subject, account.handle) == (name, f"{name}.test")
    assert Vault.is_sealed(account.password.reveal())
    assert status_of(services, "mood", platform.save_mood("new here", name)) == "synced"


def test_item_of_a_guest_is_published(
    trial: TrialUsers, services: Services, platform: Platform
) -> None:
    """The guests' account may exist from another database: it gets a new password."""
    trial.create_guests(services.settings.guest_subject)
    assert status_of(services, "kidlisp", platform.save_kidlisp("(line)", None)) == "synced"


def test_user_is_created_once(trial: TrialUsers, services: Services, name: str) -> None:
    """A second start of the stack changes nothing."""
    first = trial.create(name)
    assert trial.create(name) == first
    assert services.storage.database["users"].count_documents({}) == 1


def test_account_whose_user_was_lost_is_used_again(
    trial: TrialUsers, services: Services, platform: Platform, name: str
) -> None:
    """An interrupted start leaves an account that no document names."""
    first = trial.create(name)
    services.storage.database["users"].delete_many({})
    assert trial.create(name).did == first.did
    assert status_of(services, "mood", platform.save_mood("still here", name)) == "synced"


def test_account_is_created_for_an_existing_user(
    trial: TrialUsers, services: Services, name: str
) -> None:
    """A copy of a platform's data has users and screen names, but no accounts for this PDS."""
    database = services.storage.database
    database["users"].insert_one({"_id": f"auth0|{name}", "code": "ac25", "atproto": {"rev": 1}})
    database["@handles"].insert_one({"_id": f"auth0|{name}", "handle": name})
    assert trial.create(name).subject == f"auth0|{name}"
    (user,) = database["users"].find()
    assert (user["code"], mapping(user["atproto"])["rev"]) == ("ac25", 1)


def test_name_that_the_pds_reserves_is_refused_in_its_words(trial: TrialUsers) -> None:
    """Nothing is saved."""
    with pytest.raises(StackError, match=r"admin\.test.*Reserved handle"):
        trial.create("admin")
