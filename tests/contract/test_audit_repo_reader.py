"""What an audit makes of a PDS that is slow, that errs, or that is not there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.contract.auditing import Ground, found, open_ground
from tests.contract.proxy import Proxy, Reply
from tests.waiting import wait_for
from tests.world import World
from worker.core.errors import TransientError
from worker.operations.audit.findings import Fault
from worker.pds.client import PdsClient
from worker.pds.repo_snapshot import RepoSnapshot

_CAR = "application/vnd.ipld.car"
_BUSY = b'{"error":"RateLimitExceeded"}'


@pytest.fixture
def ground(proxied: tuple[World, Proxy], pds_blobs: Path) -> Ground:
    """Return a platform whose PDS is behind the proxy."""
    return open_ground(proxied[0].services, pds_blobs)


def ask_until_honest(ground: Ground, proxy: Proxy, method: str) -> dict[tuple[str, str], int]:
    """Audit while the proxy answers a method by itself until it is called; return the findings."""
    proxy.forget_calls()
    with ThreadPoolExecutor(1) as pool:
        audit = pool.submit(ground.audit)
        wait_for(lambda: proxy.count(method), within=30, what=f"a call of {method}")
        proxy.be_honest()
        return found(audit.result())


@pytest.mark.parametrize("method", ["getRepo", "getBlob"])
def test_wait_that_is_asked_for_is_kept(ground: Ground, proxy: Proxy, method: str) -> None:
    """Too many questions are no finding: the audit waits and asks again."""
    proxy.answer(Reply(429, _BUSY, headers={"Retry-After": "1"}), method)
    assert ask_until_honest(ground, proxy, method) == {}


def test_wait_that_is_too_long_is_told(ground: Ground, proxy: Proxy) -> None:
    """Nobody sits there for a day."""
    proxy.answer(Reply(429, _BUSY, headers={"Retry-After": "80000"}), "getBlob")
    failure = ground.audit().audit.failure
    assert failure
    assert failure.code == "rate_limited"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(200, b"no repo at all", _CAR), "repo_damaged"),
        (Reply(200, b"cut", _CAR, cut=True), "pds_unreachable"),
        (Reply(500, b'{"error":"InternalServerError"}'), "pds_500"),
        (Reply(400, b'{"error":"RepoTakendown"}'), "account_takedown"),
    ],
)
def test_repo_that_cannot_be_had_is_told(
    ground: Ground, proxy: Proxy, reply: Reply, code: str
) -> None:
    """Of that account nothing is known, and that is what is said."""
    proxy.answer(reply, "getRepo")
    audited = ground.audit()
    assert audited.verdict == "wrong"
    assert audited.audit.failure
    assert audited.audit.failure.code == code
    assert audited.audit.types == ()


class Moving(PdsClient):
    """A PDS whose repo is written to while it is first sent, so that blocks are missing."""

    asked = 0

    def get_repo(self, did: str) -> RepoSnapshot:
        """Return a repo, or the first time half of it."""
        self.asked += 1
        if self.asked == 1:
            whole = httpx.get(f"{self.url}/xrpc/com.atproto.sync.getRepo", params={"did": did})
            return RepoSnapshot.read(did, [whole.content[: len(whole.content) // 2]])
        return super().get_repo(did)


def test_repo_that_came_damaged_is_asked_for_again(ground: Ground) -> None:
    """The second answer is taken."""
    with ground.open() as rounds, closing(Moving(ground.services.settings.pds.url)) as moving:
        reading = replace(rounds.auditor.repo_reader, pds_of=lambda _: moving)
        auditor = replace(rounds.auditor, repo_reader=reading)
        assert auditor.audit(ground.user).verdict == "clean"
        assert moving.asked == 2


@pytest.mark.parametrize("method", ["getRepo", "getBlob"])
def test_pds_that_is_away_is_trouble(ground: Ground, proxy: Proxy, method: str) -> None:
    """It says nothing of any account: no repo is unreadable, no blob missing."""
    proxy.answer(Reply(502, b"<html>", "text/html"), method)
    proxy.answer(Reply(502, b"<html>", "text/html"), "getLatestCommit")
    with pytest.raises(TransientError):
        ground.audit()


def test_blob_that_the_pds_trips_over_is_missing(ground: Ground, proxy: Proxy) -> None:
    """The PDS answers all else."""
    proxy.answer(Reply(500, b'{"error":"InternalServerError"}'), "getBlob")
    assert found(ground.audit()) == {("blob_missing", "painting"): 1}


def test_blob_that_is_no_blob_is_not_whole(ground: Ground, proxy: Proxy) -> None:
    """Such as a page of a gateway, in the place of a picture."""
    proxy.answer(Reply(200, b"<html>", "image/png"), "getBlob")
    (finding,) = ground.audit().audit.findings
    assert finding.fault is Fault.BLOB_TRUNCATED


def test_every_blob_is_fetched_once(ground: Ground, proxy: Proxy) -> None:
    """Records that share a picture share its blob; and a repo is one call."""
    for _ in range(3):
        ground.painting(seed=1)
    proxy.forget_calls()
    assert ground.audit().verdict == "clean"
    assert (proxy.count("getBlob"), proxy.count("getRepo")) == (2, 1)
    assert proxy.count() == 3
