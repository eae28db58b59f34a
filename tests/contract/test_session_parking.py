"""Accounts that cannot log in: parked, and the PDS left in peace."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from cryptography.fernet import Fernet

from tests.contract.pds_calls import deactivate
from tests.contract.proxy import Reply
from tests.contract.session_fleet import LOGIN, MOOD, NSID, Fleet, token_until
from tests.waiting import wait_for
from worker.core.clock import after, now
from worker.core.documents import Account
from worker.core.errors import AccountError, WaitError
from worker.core.secrets import Purpose, Secret, Vault
from worker.pds.account_cache import AccountCache
from worker.pds.errors import AccountUnusableError
from worker.pds.sessions import Sessions
from worker.telemetry.alerts import Alerts


def test_refused_password_parks_the_account(fleet: Fleet) -> None:
    """The error says whose, why and until when; from then on the PDS is left in peace."""
    wrong = replace(fleet.account, password=Secret("canary-wrong"))
    with pytest.raises(AccountError) as caught:
        fleet.sessions().get(wrong)
    assert (caught.value.step, caught.value.code) == ("account", "wrong_password")
    assert wrong.subject in caught.value.message
    for _ in range(3):
        with pytest.raises(AccountError, match="parked until its password changes") as again:
            fleet.sessions().get(wrong)
        assert again.value.code == "wrong_password"
        assert abs(again.value.until - caught.value.until) < timedelta(seconds=10)
        assert "canary" not in f"{again.value} {caught.value}"
    assert len(fleet.proxy.calls) == 1


def test_refused_password_is_tried_once_by_many_at_once(fleet: Fleet) -> None:
    """The logins that the PDS allows are few: eight workers waste one of them, not eight."""
    wrong = replace(fleet.account, password=Secret("canary-wrong"))
    workers = [fleet.sessions() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        tried = [pool.submit(worker.get, wrong) for worker in workers]
        errors = [each.exception() for each in tried]
    assert [type(error) for error in errors] == [AccountError] * 8
    assert fleet.proxy.count(LOGIN) == 1


def test_parked_account_is_tried_again_when_its_password_changes(fleet: Fleet) -> None:
    """Nobody has to wait for the parking to end once the password is put right."""
    wrong = replace(fleet.account, password=Secret("wrong"))
    with pytest.raises(AccountError):
        fleet.sessions().get(wrong)
    assert fleet.sessions().get(fleet.account).did == fleet.account.did


def test_parked_account_is_tried_again_when_the_parking_ends(fleet: Fleet) -> None:
    """What was wrong with it may have been put right at the PDS."""
    sessions = fleet.sessions(parked=0.1)
    fleet.proxy.answer(Reply(400, b'{"error":"AccountTakedown"}'), LOGIN)

    def tried_again() -> bool:
        with pytest.raises(AccountError):
            sessions.get(fleet.account)
        return fleet.proxy.count(LOGIN) > 1

    wait_for(tried_again, within=30, what="another login")


def test_login_intervals_grow_up_to_a_day(fleet: Fleet) -> None:
    """Each parking takes twice as long as the one before; a success resets it."""
    sessions = fleet.sessions(parked=3600)
    fault = AccountUnusableError("taken down", code="account_takedown")

    def park() -> float:
        for name in fleet.names("parked"):
            fleet.redis.delete(name)
        sessions.park(fleet.account, fault)
        parked = sessions.find_parked(fleet.account)
        assert parked is not None
        return round((parked.until - now()).total_seconds() / 3600)

    assert [park() for _ in range(7)] == [1, 2, 4, 8, 16, 24, 24]
    fleet.redis.delete(*fleet.names("parked"))
    sessions.get(fleet.account)
    assert park() == 1


def test_a_parking_is_not_extended_while_it_lasts(fleet: Fleet) -> None:
    """Several workers that meet the same fault at once count as one failure."""
    sessions = fleet.sessions(parked=3600)
    fault = AccountUnusableError("taken down", code="account_takedown")
    for _ in range(5):
        sessions.park(fleet.account, fault)
    parked = sessions.find_parked(fleet.account)
    assert parked is not None
    assert parked.until < after(3700)


@pytest.mark.parametrize("name", ["AuthFactorTokenRequired", "AuthenticationRequired"])
def test_login_that_only_the_owner_can_correct_is_not_repeated(fleet: Fleet, name: str) -> None:
    """Each login may send an e-mail: the next one follows a new password, or --resume."""
    fleet.proxy.answer(Reply(401, json.dumps({"error": name}).encode()), LOGIN)
    sessions = fleet.sessions(parked=0.05)
    for _ in range(3):
        with pytest.raises(AccountError) as caught:
            sessions.get(fleet.account)
        wait_for(partial(is_past, caught.value.until), within=5, what="the next check")
    assert fleet.proxy.count(LOGIN) == 1
    AccountCache(fleet.redis).invalidate(fleet.account.did)
    fleet.proxy.be_honest()
    assert sessions.get(fleet.account).did == fleet.account.did


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
@pytest.mark.parametrize("name", ["", "InvalidRequest", "InvalidToken"])
def test_a_refused_login_is_an_account_problem(fleet: Fleet, status: int, name: str) -> None:
    """Other PDS implementations report a wrong password in other ways."""
    fleet.proxy.answer(Reply(status, json.dumps({"error": name}).encode()), LOGIN)
    with pytest.raises(AccountError) as caught:
        fleet.sessions().get(fleet.account)
    assert (caught.value.step, caught.value.code) == ("account", f"pds_{status}")


def test_a_login_beyond_a_rate_limit_is_a_wait(fleet: Fleet) -> None:
    """The account is not parked."""
    fleet.proxy.answer(Reply(429, b"{}", headers={"Retry-After": "120"}), LOGIN)
    with pytest.raises(WaitError) as caught:
        fleet.sessions().get(fleet.account)
    assert caught.value.code == "rate_limited"
    assert fleet.names("parked") == []


def is_past(moment: datetime) -> bool:
    """Return whether a moment is over."""
    return moment <= now()


class Listener(Alerts):
    """A reporter that keeps the reasons for which accounts were parked."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def account_parked(self, account: Account, code: str, message: str) -> None:
        """Keep it."""
        self.heard.append(code)


def test_a_parking_is_reported_once_until_the_account_is_right_or_the_reason_another(
    fleet: Fleet,
) -> None:
    """An account that is parked again every quarter of an hour is one thing to do."""
    listener = Listener()
    sessions = Sessions(fleet.redis, fleet.vault, fleet.pds, parked=60, alerts=listener)
    for code in ("takedown", "takedown", "suspended", "suspended"):
        sessions.park(fleet.account, AccountUnusableError(code, code=code))
    assert listener.heard == ["takedown", "suspended"]
    fleet.redis.delete(*fleet.names("parked"))
    sessions.get(fleet.account)
    sessions.park(fleet.account, AccountUnusableError("again", code="suspended"))
    assert listener.heard == ["takedown", "suspended", "suspended"]


def test_forgotten_account_is_tried_at_once(fleet: Fleet) -> None:
    """An operator who has put an account right need not wait."""
    sessions = fleet.sessions()
    fleet.plant()
    sessions.park(fleet.account, AccountUnusableError("odd", code="odd"))
    with pytest.raises(AccountError):
        sessions.get(fleet.account)
    AccountCache(fleet.redis).delete_all(fleet.account.did)
    sessions.get(fleet.account)
    assert fleet.proxy.count(LOGIN) == 2


def test_account_deactivated_at_work_is_parked(passing: Fleet) -> None:
    """The token is good, the account is not: the call fails once, the next one is not sent."""
    sessions = passing.sessions()
    deactivate(passing.pds, passing.plant())
    for _ in range(2):
        with pytest.raises(AccountError) as caught:
            passing.repo(sessions).put(passing.repo().key(NSID, "one"), MOOD, None)
        assert caught.value.code == "account_deactivated"
        assert passing.proxy.count("putRecord") == 1


def test_deactivated_account_is_parked_at_login(passing: Fleet) -> None:
    """The PDS lets it in, and nothing could be written."""
    sessions = passing.sessions()
    deactivate(passing.pds, passing.plant())
    AccountCache(passing.redis).delete_all(passing.account.did)
    with pytest.raises(AccountError) as caught:
        sessions.get(passing.account)
    assert caught.value.code == "account_deactivated"
    assert passing.names("session") == []


def test_account_deactivated_before_a_refresh_is_parked(passing: Fleet) -> None:
    """A refresh lets it in just as a login does."""
    deactivate(passing.pds, passing.session)
    passing.plant(access=token_until(time.time() + 60))
    with pytest.raises(AccountError) as caught:
        passing.sessions().get(passing.account)
    assert caught.value.code == "account_deactivated"


def test_rate_limited_login_is_not_the_accounts_fault(fleet: Fleet) -> None:
    """The account is not parked, and the wait is the PDS's."""
    fleet.proxy.answer(Reply(429, headers={"Retry-After": "40"}), LOGIN)
    with pytest.raises(WaitError) as caught:
        fleet.sessions().get(fleet.account)
    assert (type(caught.value), caught.value.code) == (WaitError, "rate_limited")
    fleet.proxy.be_honest()
    fleet.sessions().get(fleet.account)


def test_sealed_password_logs_in_like_a_plain_one(fleet: Fleet) -> None:
    """Platforms can seal their passwords one by one."""
    plain, did = fleet.account.password.reveal(), fleet.account.did
    sealed_text = fleet.vault.seal(plain, Purpose.PASSWORD, did)
    sealed = replace(fleet.account, password=Secret(sealed_text))
    for account in (fleet.account, sealed):
        AccountCache(fleet.redis).delete_all(account.did)
        assert fleet.sessions().get(account).did == fleet.account.did
    assert fleet.proxy.count(LOGIN) == 2


@pytest.mark.parametrize("damage", ["other key", "fernet:", "fernet:\u00e9", "fernet:gAAAAA=="])
def test_password_that_cannot_be_unsealed_parks_the_account(fleet: Fleet, damage: str) -> None:
    """The PDS is not asked, and the error says what to do: bring the key back."""
    other = Vault([Secret(Fernet.generate_key().decode())])
    sealed = other.seal("canary-password", Purpose.PASSWORD, fleet.account.did)
    stored = sealed if damage == "other key" else damage
    account = replace(fleet.account, password=Secret(stored))
    for _ in range(2):
        with pytest.raises(AccountError, match="SECRET_KEYS") as caught:
            fleet.sessions().get(account)
        assert caught.value.code == "password_unreadable"
    assert fleet.proxy.calls == []
