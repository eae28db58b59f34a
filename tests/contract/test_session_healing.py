"""Sessions that end: refreshed or made anew, by one worker for all."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet

from tests.contract.pds_calls import log_out
from tests.contract.proxy import Reply
from tests.contract.session_fleet import LOGIN, MOOD, NSID, REFRESH, Fleet, token_until
from worker.core.errors import WaitError
from worker.core.secrets import Purpose, Secret
from worker.pds.errors import SessionExpiredError


@pytest.mark.parametrize("is_expiring", [True, False], ids=["about to expire", "refused"])
def test_token_is_refreshed_once(fleet: Fleet, *, is_expiring: bool) -> None:
    """Before it expires no call has to fail; one that is refused fails a call."""
    fleet.plant(access=token_until(time.time() + 60) if is_expiring else "garbage")
    fleet.repo().put(fleet.repo().key(NSID, "one"), MOOD, None)
    assert fleet.logins_and_refreshes() == (1, 1)
    assert fleet.proxy.count("putRecord") == (1 if is_expiring else 2)


def test_workers_at_the_same_moment_refresh_once(fleet: Fleet) -> None:
    """Whoever comes second finds the new session."""
    fleet.plant(access=token_until(time.time() + 60))
    workers = [fleet.sessions() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda worker: worker.get(fleet.account), workers))
    assert fleet.logins_and_refreshes() == (1, 1)
    assert sessions == [sessions[0]] * 8


@pytest.mark.parametrize(("refresh", "logins"), [(None, 1), ("garbage", 2)])
def test_refused_token_heals_once_for_many_at_once(
    fleet: Fleet, refresh: str | None, logins: int
) -> None:
    """Eight workers are refused together: one of them refreshes, or logs in if it cannot."""
    fleet.plant(access="garbage", refresh=refresh)
    repos = [fleet.repo(fleet.sessions()) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        put = [pool.submit(repo.put, repo.key(NSID, "one"), MOOD, None) for repo in repos]
        assert len({each.result() for each in put}) == 1
    assert fleet.logins_and_refreshes() == (logins, 1)


def test_revoked_session_heals_by_one_login(fleet: Fleet) -> None:
    """The refresh token was revoked elsewhere: the password still helps."""
    session = fleet.sessions().get(fleet.account)
    log_out(fleet.pds, session)
    fleet.plant(access="garbage", refresh=session.refresh.reveal())
    fleet.repo().put(fleet.repo().key(NSID, "one"), MOOD, None)
    assert fleet.logins_and_refreshes() == (2, 1)


def test_token_that_is_refused_though_new_is_replaced_once(fleet: Fleet) -> None:
    """A PDS that takes none of its tokens is asked three times in all, not for ever."""
    refused = Reply(400, b'{"error":"InvalidToken","message":"no"}')
    fleet.proxy.answer(refused, "putRecord")
    with pytest.raises(SessionExpiredError, match="InvalidToken"):
        fleet.repo().put(fleet.repo().key(NSID, "one"), MOOD, None)
    assert fleet.proxy.count("putRecord") == 3
    assert fleet.logins_and_refreshes() == (2, 1)


def test_session_sealed_with_a_withdrawn_key_is_made_anew(fleet: Fleet) -> None:
    """After a rotation the old session cannot be read: one login, no error."""
    old, new = (Secret(Fernet.generate_key().decode()) for _ in range(2))
    first = fleet.sessions(old).get(fleet.account)
    assert fleet.sessions(new, old).get(fleet.account) == first
    second = fleet.sessions(new).get(fleet.account)
    assert fleet.sessions(new).get(fleet.account) == second
    assert fleet.proxy.count(LOGIN) == 2


def test_damaged_session_in_redis_is_made_anew(fleet: Fleet) -> None:
    """Whatever stands there is worth a login at most."""
    fleet.plant()
    other = fleet.vault.seal("{}", Purpose.PARKING, fleet.account.did)
    for damage in ("", "fernet:", "fernet:gAAAA", other, b"\xff\xfe"):
        fleet.redis.set(fleet.kept(), damage)
        fleet.plant()
    assert fleet.proxy.count(LOGIN) == 6


def test_rate_limited_refresh_is_not_answered_with_a_login(fleet: Fleet) -> None:
    """A refused request must not lead to a dearer one."""
    fleet.plant(access=token_until(time.time() + 60))
    fleet.proxy.answer(Reply(429), REFRESH)
    with pytest.raises(WaitError):
        fleet.sessions().get(fleet.account)
    assert fleet.logins_and_refreshes() == (1, 1)
