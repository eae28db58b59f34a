"""A hostile account among those of an audit: the others are audited, and it is reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.contract.auditing import Ground, open_ground
from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.fixtures import sign_up
from tests.unit.cars import Car, entry, node
from worker.core.clock import after
from worker.core.documents import Account
from worker.core.errors import WaitError
from worker.operations.audit.repo_reader import Waiter
from worker.operations.audit.run import AuditRun, AuditSummary
from worker.pds.client import PdsClient
from worker.services import Services

_CAR = "application/vnd.ipld.car"
_BUSY = b'{"error":"RateLimitExceeded"}'
_LIMIT = 600


@dataclass
class Sleeper:
    """A clock that only moves when it is slept on."""

    moment: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment += seconds


@dataclass(frozen=True)
class Audited:
    """Three accounts, of which the second is on a PDS that the test controls."""

    ground: Ground
    accounts: tuple[Account, Account, Account]
    proxy: Proxy
    undo: ExitStack

    def run(self, sleeper: Sleeper, url: str | None = None) -> AuditSummary:
        """Audit the accounts, the second at the proxy or at `url`."""
        pds = self.undo.enter_context(closing(PdsClient(url or self.proxy.url)))
        usual = self.ground.services.pds.client_of
        hostile = self.accounts[1].did
        waiter = Waiter(clock=sleeper.clock, sleep=sleeper.sleep)
        with self.ground.open(blobs=False) as opened:
            reader = replace(
                opened.auditor.repo_reader,
                pds_of=lambda did: pds if did == hostile else usual(did),
                waiter=waiter,
            )
            run = AuditRun(replace(opened.auditor, repo_reader=reader), None)
            summary = AuditSummary()
            for result in run.audit(self.accounts):
                summary.add(result)
        return summary

    def failure_of(self, summary: AuditSummary) -> str:
        """Return the code of the second account's failure; check that the others are audited."""
        assert summary.accounts == 3
        assert summary.verdict == "wrong"
        assert summary.documents["mood"] == 4  # three of the first account, one of the third
        ((account, failure),) = summary.unreadable
        assert account == self.accounts[1]
        return failure.code


@pytest.fixture(scope="module")
def audited(shared_services: Services) -> Iterator[Audited]:
    """Return a platform with three accounts."""
    database = shared_services.storage.database
    for name in database.list_collection_names():
        database[name].delete_many({})
    ground = open_ground(shared_services, Path())
    second, third = sign_up(ground.platform), sign_up(ground.platform)
    ground.sync("mood", ground.platform.save_mood("third", third.subject))
    with open_proxy(shared_services.settings.pds.url) as proxy, ExitStack() as undo:
        yield Audited(ground, (ground.user, second, third), proxy, undo)


@pytest.mark.parametrize(
    "wait",
    [
        "1e300",
        "-1e300",
        "9" * 4000,
        "nan",
        "Fri, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Fri, 01 Jan 2020 00:00:00 +99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 -0000",
        "599",
        "0",
    ],
)
def test_account_that_asks_to_wait_is_reported_and_the_third_is_audited(
    audited: Audited, wait: str
) -> None:
    """Whatever it asks for, and however often: it is waited for 10 minutes in all."""
    audited.proxy.answer(Reply(429, _BUSY, headers={"Retry-After": wait}))
    sleeper = Sleeper()
    summary = audited.run(sleeper)
    assert audited.failure_of(summary) == "rate_limited"
    assert sum(sleeper.slept) <= _LIMIT


def test_account_at_an_unreachable_pds_is_reported_and_the_third_is_audited(
    audited: Audited,
) -> None:
    """Another account's PDS is none of ours."""
    summary = audited.run(Sleeper(), url="http://127.0.0.1:9")
    assert audited.failure_of(summary) == "pds_unreachable"


def test_account_whose_records_are_nested_too_deeply_is_reported(audited: Audited) -> None:
    """Its records are data of its own making, and are read by recursive functions."""
    second, platform = audited.accounts[1], audited.ground.platform
    mood = audited.ground.sync("mood", platform.save_mood("second", second.subject))
    key = audited.ground.key("mood", mood)
    car = Car()
    record = car.keep(b"\xa1\x61x" + b"\x81" * 950 + b"\x80")
    tree = car.add(node([entry(f"{key.collection}/{key.rkey}", record)]))
    audited.proxy.be_honest()
    audited.proxy.answer(Reply(200, car.commit(tree, did=second.did), _CAR), "getRepo")
    summary = audited.run(Sleeper())
    assert audited.failure_of(summary) == "repo_damaged"


def test_waits_of_several_threads_at_the_same_time_count_once() -> None:
    """And each account has the full time."""
    sleeper = Sleeper()
    waiter = Waiter(clock=sleeper.clock, sleep=sleeper.slept.append)
    replies: list[int] = []

    def refuse_once() -> int:
        replies.append(1)
        if len(replies) % 2:
            raise WaitError("later", until=after(500))
        return len(replies)

    for _ in range(3):
        waiter.repeat(refuse_once)  # the clock does not move: the waits are simultaneous
    sleeper.moment = 500
    with pytest.raises(WaitError):
        waiter.repeat(refuse_once)
    waiter.begin_account()
    waiter.repeat(lambda: 1)
    assert len(sleeper.slept) == 3
