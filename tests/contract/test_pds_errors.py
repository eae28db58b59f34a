"""What the PDS's own refusals, and its silence, turn into."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from uuid import uuid4

import httpx
import pytest

from tests.contract.pds_calls import (
    CALLS,
    MOOD,
    NOBODY,
    NSID,
    Call,
    deactivate,
    error_of,
    log_out,
)
from tests.contract.wiping import pds_away
from tests.fixtures import platform_of, sign_up
from worker.core.cid import cid_of_blob
from worker.core.documents import Account
from worker.core.errors import PermanentError, TransientError
from worker.core.records import RecordKey
from worker.core.secrets import Secret
from worker.dev.stack import Stack
from worker.pds.client import PdsClient, Session
from worker.pds.errors import AccountUnusableError, SessionExpiredError
from worker.services import Services


@pytest.fixture
def passing(shared_services: Services) -> Account:
    """A user who will not stay in good standing."""
    return sign_up(platform_of(shared_services))


def call_as_admin(
    stack: Stack, admin: tuple[str, str], method: str, body: Mapping[str, object]
) -> None:
    """Do what only the PDS's operator may."""
    url = f"{stack.environment['PDS_URL']}/xrpc/{method}"
    httpx.post(url, json=body, auth=admin, timeout=30).raise_for_status()


def put(pds: PdsClient, session: Session, record: Mapping[str, object] = MOOD) -> object:
    """Write a record under a new key."""
    return pds.put_record(session.access, RecordKey(session.did, NSID, uuid4().hex), record, None)


@pytest.mark.parametrize(
    ("identifier", "password"),
    [(None, text) for text in ("canary-wrong", "", "canary" * 200, "\u00e9\0\U0001f3a8")]
    + [(text, "canary-password") for text in (NOBODY, "", "not a did", "nobody.test")],
)
def test_wrong_password_and_unknown_account_are_the_same_fault(
    pds: PdsClient, shared_user: Account, identifier: str | None, password: str
) -> None:
    """Empty, too long, of any characters; and the PDS does not say which accounts it has."""
    named = shared_user.did if identifier is None else identifier
    error = error_of(lambda pds: pds.create_session(named, Secret(password)), pds)
    assert isinstance(error, AccountUnusableError)
    assert (error.step, error.code) == ("account", "wrong_password")


def test_deactivated_account_logs_in_inactive_and_cannot_write(
    pds: PdsClient, passing: Account
) -> None:
    """A live token is refused from then on, and so is one from a new login."""
    session = pds.create_session(passing.did, passing.password)
    deactivate(pds, session)
    again = pds.create_session(passing.did, passing.password)
    assert not again.active
    assert not pds.refresh_session(session.refresh).active
    for each in (session, again):
        error = error_of(partial(put, session=each), pds)
        assert isinstance(error, AccountUnusableError)
        assert error.code == "account_deactivated"
    assert_unreadable(pds, passing.did)


def test_takedown_ends_login_and_live_tokens(
    stack: Stack, pds_admin: tuple[str, str], pds: PdsClient, passing: Account
) -> None:
    """Whatever is tried: the account was taken down, and the error says so."""
    session = pds.create_session(passing.did, passing.password)
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": passing.did}
    taken = {"subject": subject, "takedown": {"applied": True, "ref": "test"}}
    call_as_admin(stack, pds_admin, "com.atproto.admin.updateSubjectStatus", taken)
    attempts: list[Call] = [
        lambda pds: pds.create_session(passing.did, passing.password),
        lambda pds: pds.refresh_session(session.refresh),
        lambda pds: put(pds, session),
        lambda pds: pds.upload_blob(session.access, b"bytes", "text/plain"),
        lambda pds: pds.get_blob(passing.did, cid_of_blob(b"bytes")),
    ]
    errors = [error_of(attempt, pds) for attempt in attempts]
    assert [type(error) for error in errors] == [AccountUnusableError] * 5
    assert {error.code for error in errors} == {"account_takedown"}
    assert_unreadable(pds, passing.did)


def test_repo_that_is_not_there_is_no_empty_one(pds: PdsClient) -> None:
    """Nothing that was in it may count as missing: an account can come back."""
    assert_unreadable(pds, NOBODY)
    error = error_of(lambda pds: pds.get_blob(NOBODY, cid_of_blob(b"bytes")), pds)
    assert (type(error), error.code) == (AccountUnusableError, "account_not_found")


def assert_unreadable(pds: PdsClient, did: str) -> None:
    """Check that reading a repo is refused as the account's fault."""
    reads: list[Call] = [
        lambda pds: pds.get_record(RecordKey(did, NSID, "one")),
        lambda pds: pds.list_records(did, NSID),
    ]
    for read in reads:
        error = error_of(read, pds)
        assert (type(error), error.code) == (AccountUnusableError, "repo_unavailable")


def test_token_that_is_no_longer_good_asks_for_another(pds: PdsClient, session: Session) -> None:
    """Garbage, another purpose's, and one whose signature is wrong."""
    header, claims, signature = session.access.reveal().split(".")
    forged = Secret(f"{header}.{claims}.{signature[::-1]}")
    key = RecordKey(session.did, NSID, "one")
    calls: list[Call] = [
        partial(PdsClient.delete_record, token=token, key=key)
        for token in (Secret("canary"), forged, session.refresh)
    ]
    for call in (*calls, lambda pds: pds.upload_blob(forged, b"bytes", "text/plain")):
        error = error_of(call, pds)
        assert isinstance(error, SessionExpiredError)
        assert (error.step, error.code) == ("session", "session_expired")


def test_revoked_refresh_token_asks_for_a_login(pds: PdsClient, shared_user: Account) -> None:
    """After a logout elsewhere nothing but the password helps."""
    session = pds.create_session(shared_user.did, shared_user.password)
    log_out(pds, session)
    error = error_of(lambda pds: pds.refresh_session(session.refresh), pds)
    assert isinstance(error, SessionExpiredError)


def test_blob_above_the_servers_limit_is_refused_for_good(pds: PdsClient, session: Session) -> None:
    """The limit is the server's own; a byte less is taken."""
    described = httpx.get(f"{pds.url}/xrpc/com.atproto.server.describeServer").json()
    limit = int(described["blobUploadLimit"])
    error = error_of(lambda pds: pds.upload_blob(session.access, bytes(limit + 1), "x/y"), pds)
    assert isinstance(error, PermanentError)
    assert (error.step, error.code) == ("upload", "payload_too_large")
    assert pds.upload_blob(session.access, bytes(limit), "x/y").size == limit


def test_record_above_the_servers_limit_is_refused_for_good(
    pds: PdsClient, session: Session
) -> None:
    """A body of more than a megabyte."""
    error = error_of(lambda pds: put(pds, session, {**MOOD, "text": "x" * 1_100_000}), pds)
    assert isinstance(error, PermanentError)
    assert (error.step, error.code) == ("write", "payload_too_large")


# No answer at all


def test_hanging_pds_is_given_up_after_the_timeout(own_stack: Stack) -> None:
    """Each call ends by itself; only those that write say that they may have been carried out."""
    own_stack.pds.freeze()
    try:
        with closing(PdsClient(own_stack.pds.url, timeout=0.2)) as impatient:
            errors = [error_of(call, impatient) for _, call in CALLS.values()]
    finally:
        own_stack.pds.thaw()
    assert {(type(e), e.code) for e in errors} == {(TransientError, "pds_unreachable")}
    at, doubt = own_stack.pds.url.removeprefix("http://"), "; the call may have been carried out"
    for error in errors:
        writes = error.step in {"write", "remove", "upload"}
        assert error.message == f"no answer from the PDS at {at} (ReadTimeout){doubt * writes}"


def test_stopped_pds_is_unreachable(own_stack: Stack) -> None:
    """On a connection that was open before, and on a new one."""
    with closing(PdsClient(own_stack.pds.url)) as client:
        assert error_of(CALLS["login"][1], client).code == "wrong_password"
        with pds_away(own_stack):
            errors = [error_of(call, client) for _, call in CALLS.values()]
    assert {(type(e), e.code) for e in errors} == {(TransientError, "pds_unreachable")}


def test_host_that_does_not_exist_is_unreachable() -> None:
    """As after a typing error in PDS_URL."""
    with closing(PdsClient("http://pds.invalid")) as lost:
        error = error_of(CALLS["put"][1], lost)
    assert (type(error), error.code) == (TransientError, "pds_unreachable")
