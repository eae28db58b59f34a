"""What the PDS's refusals, and the bad answers of whatever stands before it, turn into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import httpx
import pytest

from tests.contract.proxy import Proxy, Reply, open_proxy
from tests.fixtures import platform_of, sign_up
from worker.cid import cid_of_blob
from worker.clock import now
from worker.documents import Account
from worker.errors import MediaError, PermanentError, TransientError, WaitError
from worker.pds import Pds, Session
from worker.pds_errors import AccountFaultError, SessionExpiredError
from worker.records import RecordKey
from worker.secrets import Secret
from worker.services import Services
from worker.stack import Stack

NSID = "computer.aesthetic.mood"
MOOD = {"$type": NSID, "text": "calm"}
NOBODY = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
KEY = RecordKey(NOBODY, NSID, "one")
TOKEN = Secret("canary-token")
PASSWORD = Secret("canary-password")

Call = Callable[[Pds], object]
CALLS: Mapping[str, tuple[str, Call]] = {
    "login": ("session", lambda pds: pds.create_session(NOBODY, PASSWORD)),
    "refresh": ("session", lambda pds: pds.refresh_session(TOKEN)),
    "put": ("write", lambda pds: pds.put_record(TOKEN, KEY, MOOD, None)),
    "delete": ("remove", lambda pds: pds.delete_record(TOKEN, KEY)),
    "get": ("read", lambda pds: pds.get_record(KEY)),
    "list": ("read", lambda pds: pds.list_records(NOBODY, NSID)),
    "upload": ("upload", lambda pds: pds.upload_blob(TOKEN, b"bytes", "text/plain")),
    "get blob": ("read", lambda pds: pds.get_blob(NOBODY, cid_of_blob(b"bytes"))),
}


@pytest.fixture(scope="module")
def pds(shared_services: Services) -> Pds:
    """Our client of the PDS."""
    return shared_services.pds


@pytest.fixture(scope="module")
def session(pds: Pds, shared_user: Account) -> Session:
    """A session of the module's user."""
    return pds.create_session(shared_user.did, shared_user.password)


@pytest.fixture
def passing(shared_services: Services) -> Account:
    """A user who will not stay in good standing."""
    return sign_up(platform_of(shared_services))


@dataclass(frozen=True, slots=True)
class Gateway:
    """A proxy before the PDS, and our client of that."""

    proxy: Proxy
    pds: Pds


@pytest.fixture(scope="module")
def opened_gateway(stack: Stack) -> Iterator[Gateway]:
    """Open a proxy for the whole module."""
    with open_proxy(stack.pds.url) as proxy:
        client = Pds(proxy.url, timeout=30)
        try:
            yield Gateway(proxy, client)
        finally:
            client.close()


@pytest.fixture
def gateway(opened_gateway: Gateway) -> Gateway:
    """A proxy that passes every call on, until it is told otherwise."""
    opened_gateway.proxy.be_honest()
    return opened_gateway


def error_of(call: Call, pds: Pds) -> MediaError:
    """Return the error that a call ends with, having looked for secrets in all it says."""
    with pytest.raises(MediaError) as caught:
        call(pds)
    for error in chain(caught.value):
        assert "canary" not in f"{error} {error!r}"
    return caught.value


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Go through an error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def call_as_admin(stack: Stack, method: str, body: Mapping[str, object]) -> None:
    """Do what only the PDS's operator may."""
    url = f"{stack.pds.url}/xrpc/{method}"
    admin = ("admin", stack.pds_admin_password)
    httpx.post(url, json=body, auth=admin, timeout=30).raise_for_status()


def put(pds: Pds, session: Session, record: Mapping[str, object] = MOOD) -> object:
    """Write a record under a new key."""
    return pds.put_record(session.access, RecordKey(session.did, NSID, uuid4().hex), record, None)


# What the PDS itself refuses


@pytest.mark.parametrize("password", ["canary-wrong", "", "canary" * 200, "\u00e9\0\U0001f3a8"])
def test_wrong_password_is_the_accounts_fault(
    pds: Pds, shared_user: Account, password: str
) -> None:
    """Empty, too long, of any characters: all the same."""
    error = error_of(lambda pds: pds.create_session(shared_user.did, Secret(password)), pds)
    assert isinstance(error, AccountFaultError)
    assert (error.step, error.code) == ("account", "wrong_password")


@pytest.mark.parametrize("identifier", [NOBODY, "", "not a did", "nobody.test"])
def test_unknown_account_cannot_be_told_from_a_wrong_password(pds: Pds, identifier: str) -> None:
    """The PDS does not say which accounts it has."""
    error = error_of(lambda pds: pds.create_session(identifier, PASSWORD), pds)
    assert isinstance(error, AccountFaultError)
    assert error.code == "wrong_password"


def test_deactivated_account_logs_in_inactive_and_cannot_write(pds: Pds, passing: Account) -> None:
    """A live token is refused from then on, and so is one from a new login."""
    session = pds.create_session(passing.did, passing.password)
    headers = {"Authorization": f"Bearer {session.access.reveal()}"}
    url = f"{pds.url}/xrpc/com.atproto.server.deactivateAccount"
    httpx.post(url, json={}, headers=headers, timeout=30).raise_for_status()
    again = pds.create_session(passing.did, passing.password)
    assert not again.active
    assert not pds.refresh_session(session.refresh).active
    for each in (session, again):
        error = error_of(lambda pds, each=each: put(pds, each), pds)  # type: ignore[misc]
        assert isinstance(error, AccountFaultError)
        assert error.code == "account_deactivated"
    assert_unreadable(pds, passing.did)


def test_takedown_ends_login_and_live_tokens(stack: Stack, pds: Pds, passing: Account) -> None:
    """Whatever is tried: the account was taken down, and the error says so."""
    session = pds.create_session(passing.did, passing.password)
    subject = {"$type": "com.atproto.admin.defs#repoRef", "did": passing.did}
    taken = {"subject": subject, "takedown": {"applied": True, "ref": "test"}}
    call_as_admin(stack, "com.atproto.admin.updateSubjectStatus", taken)
    attempts: list[Call] = [
        lambda pds: pds.create_session(passing.did, passing.password),
        lambda pds: pds.refresh_session(session.refresh),
        lambda pds: put(pds, session),
        lambda pds: pds.upload_blob(session.access, b"bytes", "text/plain"),
        lambda pds: pds.get_blob(passing.did, cid_of_blob(b"bytes")),
    ]
    errors = [error_of(attempt, pds) for attempt in attempts]
    assert [type(error) for error in errors] == [AccountFaultError] * 5
    assert {error.code for error in errors} == {"account_takedown"}
    assert_unreadable(pds, passing.did)


def test_repo_that_is_not_there_is_no_empty_one(pds: Pds) -> None:
    """Nothing that was in it may count as missing: an account can come back."""
    assert_unreadable(pds, NOBODY)
    error = error_of(lambda pds: pds.get_blob(NOBODY, cid_of_blob(b"bytes")), pds)
    assert (type(error), error.code) == (AccountFaultError, "account_not_found")


def assert_unreadable(pds: Pds, did: str) -> None:
    """Check that reading a repo is refused as the account's fault."""
    reads: list[Call] = [
        lambda pds: pds.get_record(RecordKey(did, NSID, "one")),
        lambda pds: pds.list_records(did, NSID),
    ]
    for read in reads:
        error = error_of(read, pds)
        assert (type(error), error.code) == (AccountFaultError, "repo_unavailable")


def test_token_that_is_no_longer_good_asks_for_another(pds: Pds, session: Session) -> None:
    """Garbage, another purpose's, and one whose signature is wrong."""
    header, claims, signature = session.access.reveal().split(".")
    tokens = ["canary", f"{header}.{claims}.{signature[::-1]}", session.refresh.reveal()]
    for token in map(Secret, tokens):
        key = RecordKey(session.did, NSID, "one")
        error = error_of(lambda pds: pds.delete_record(token, key), pds)  # noqa: B023
        assert isinstance(error, SessionExpiredError)
        assert (error.step, error.code) == ("session", "session_expired")


def test_upload_with_a_bad_signature_asks_for_another_token(pds: Pds, session: Session) -> None:
    """As after the PDS changed its signing key: an upload heals like any other call."""
    header, claims, signature = session.access.reveal().split(".")
    forged = Secret(f"{header}.{claims}.{signature[::-1]}")
    error = error_of(lambda pds: pds.upload_blob(forged, b"bytes", "text/plain"), pds)
    assert isinstance(error, SessionExpiredError)


def test_revoked_refresh_token_asks_for_a_login(pds: Pds, shared_user: Account) -> None:
    """After a logout elsewhere nothing but the password helps."""
    session = pds.create_session(shared_user.did, shared_user.password)
    headers = {"Authorization": f"Bearer {session.refresh.reveal()}"}
    url = f"{pds.url}/xrpc/com.atproto.server.deleteSession"
    httpx.post(url, headers=headers, timeout=30).raise_for_status()
    error = error_of(lambda pds: pds.refresh_session(session.refresh), pds)
    assert isinstance(error, SessionExpiredError)


def test_blob_above_the_servers_limit_is_refused_for_good(pds: Pds, session: Session) -> None:
    """The limit is the server's own; a byte less is taken."""
    described = httpx.get(f"{pds.url}/xrpc/com.atproto.server.describeServer").json()
    limit = int(described["blobUploadLimit"])
    error = error_of(lambda pds: pds.upload_blob(session.access, bytes(limit + 1), "x/y"), pds)
    assert isinstance(error, PermanentError)
    assert (error.step, error.code) == ("upload", "payload_too_large")
    assert pds.upload_blob(session.access, bytes(limit), "x/y").size == limit


def test_record_above_the_servers_limit_is_refused_for_good(pds: Pds, session: Session) -> None:
    """A body of more than a megabyte."""
    error = error_of(lambda pds: put(pds, session, {**MOOD, "text": "x" * 1_100_000}), pds)
    assert isinstance(error, PermanentError)
    assert (error.step, error.code) == ("write", "payload_too_large")


# Whatever stands before it

HTML = b"<!doctype html><title>Sorry</title>canary"
FAULTS: Mapping[str, tuple[Reply, type[MediaError], str]] = {
    "429": (Reply(429, b'{"error":"RateLimitExceeded"}'), WaitError, "rate_limited"),
    "429 with a JSON text": (Reply(429, b'"slow down"'), WaitError, "rate_limited"),
    "429 with HTML": (Reply(429, HTML, "text/html"), WaitError, "rate_limited"),
    "500": (Reply(500, b'{"error":"InternalServerError"}'), TransientError, "pds_500"),
    "500 with a JSON list": (Reply(500, b"[1, 2]"), TransientError, "pds_500"),
    "500 with odd JSON": (Reply(500, b'{"error":null,"message":7}'), TransientError, "pds_500"),
    "500 nested too deep": (Reply(500, b"[" * 100_000), TransientError, "pds_500"),
    "502 with HTML": (Reply(502, HTML, "text/html"), TransientError, "pds_502"),
    "503 with nothing": (Reply(503, b"", ""), TransientError, "pds_503"),
    "404 with HTML": (Reply(404, HTML, "text/html"), TransientError, "pds_404"),
    "408": (Reply(408), TransientError, "pds_408"),
    "403 with HTML": (Reply(403, HTML, "text/html"), AccountFaultError, "pds_403"),
    "413 with HTML": (Reply(413, HTML, "text/html"), PermanentError, "payload_too_large"),
    "400 with no body": (Reply(400, b"", ""), PermanentError, "pds_refused"),
    "400 with a name alone": (
        Reply(400, b'{"error":"ExpiredToken"}'),
        SessionExpiredError,
        "session_expired",
    ),
    "200 with HTML": (Reply(200, HTML, "text/html"), TransientError, "pds_answer_garbled"),
    "200 with JSON as text": (
        Reply(200, b'{"uri":"at://canary"}', "text/plain"),
        TransientError,
        "pds_answer_garbled",
    ),
    "200 with half the JSON": (Reply(200, b'{"uri":"at://c'), TransientError, "pds_answer_garbled"),
    "200 with a JSON list": (Reply(200, b"[]"), TransientError, "pds_answer_garbled"),
    "200 with no UTF-8": (Reply(200, b'{"a":"\xff\xfe"}'), TransientError, "pds_answer_garbled"),
    "200 nested too deep": (Reply(200, b"[" * 100_000), TransientError, "pds_answer_garbled"),
    "200 with bad gzip": (
        Reply(200, b"{}", headers={"Content-Encoding": "gzip"}),
        TransientError,
        "pds_answer_garbled",
    ),
    "200 cut off": (Reply(200, b'{"uri":', cut=True), TransientError, "pds_unreachable"),
    "500 cut off": (Reply(500, b'{"error":', cut=True), TransientError, "pds_unreachable"),
    "304": (Reply(304, b"", ""), TransientError, "pds_redirected"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_answers_become_our_errors_in_every_call(gateway: Gateway, fault: str) -> None:
    """Never an error of the HTTP client or the SDK, and never a word of what was sent."""
    reply, kind, code = FAULTS[fault]
    gateway.proxy.answer(reply)
    errors = {name: error_of(call, gateway.pds) for name, (_, call) in CALLS.items()}
    assert {name: (type(e), e.code) for name, e in errors.items()} == dict.fromkeys(
        CALLS, (kind, code)
    )


def test_errors_name_the_step_that_failed(gateway: Gateway) -> None:
    """A person sees at once whether reading, uploading or writing went wrong."""
    gateway.proxy.answer(Reply(500))
    for step, call in CALLS.values():
        assert error_of(call, gateway.pds).step == step


@pytest.mark.parametrize("body", [b"{}", b'{"did":5,"uri":[],"cid":{},"records":[1],"blob":"x"}'])
def test_answers_without_their_fields_are_garbled(gateway: Gateway, body: bytes) -> None:
    """JSON that is not what the lexicon of the call says. A deletion answers nothing of use."""
    gateway.proxy.answer(Reply(200, body))
    for name in CALLS.keys() - {"delete"}:
        assert error_of(CALLS[name][1], gateway.pds).code == "pds_answer_garbled"


def test_blob_with_other_bytes_than_its_name_says_is_garbled(gateway: Gateway) -> None:
    """A page of a proxy is not taken for a picture."""
    gateway.proxy.answer(Reply(200, b"other bytes", "image/png"))
    assert error_of(CALLS["get blob"][1], gateway.pds).code == "pds_answer_garbled"
    gateway.proxy.answer(Reply(200, b"bytes", "image/png"))
    assert gateway.pds.get_blob(NOBODY, cid_of_blob(b"bytes")) == b"bytes"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(gateway: Gateway, stack: Stack, status: int) -> None:
    """The token and the password stay with the server that they were meant for."""
    with open_proxy(stack.pds.url) as elsewhere:
        to = {"Location": f"{elsewhere.url}/xrpc/com.atproto.server.describeServer"}
        gateway.proxy.answer(Reply(status, headers=to))
        errors = [error_of(call, gateway.pds) for _, call in CALLS.values()]
        assert {(type(e), e.code) for e in errors} == {(TransientError, "pds_redirected")}
        assert elsewhere.calls == []


def test_token_that_an_answer_echoes_is_not_passed_on(gateway: Gateway, session: Session) -> None:
    """Some gateways quote the request that they refuse."""
    token = session.access.reveal()
    echo = f'{{"error":"Denied","message":"no entry with Bearer {token}, sorry"}}'.encode()
    gateway.proxy.answer(Reply(400, echo))
    error = error_of(lambda pds: pds.delete_record(session.access, KEY), gateway.pds)
    assert token.split(".")[1] not in error.message
    assert "no entry with Bearer (token), sorry" in error.message


def test_long_message_of_an_answer_is_cut(gateway: Gateway) -> None:
    """What is kept on a document has a bound."""
    gateway.proxy.answer(Reply(400, b'{"error":"Odd","message":"%s"}' % (b"x" * 100_000)))
    assert len(error_of(CALLS["put"][1], gateway.pds).message) <= 500


# How long a 429 asks us to wait


def in_seconds(seconds: float) -> datetime:
    """Return the moment so many seconds from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def epoch(seconds: float) -> str:
    """Return the moment so many seconds from now, in seconds since 1970."""
    return str(int(in_seconds(seconds).timestamp()))


DAY = 86_400
WAITS: Mapping[str, tuple[Callable[[], Mapping[str, str]], float]] = {
    "seconds": (lambda: {"Retry-After": "120"}, 120),
    "an HTTP date": (lambda: {"Retry-After": format_datetime(in_seconds(300), usegmt=True)}, 300),
    "the window's end": (lambda: {"RateLimit-Reset": epoch(200)}, 200),
    "the window's rest": (lambda: {"RateLimit-Reset": "200"}, 200),
    "both": (lambda: {"Retry-After": "30", "RateLimit-Reset": epoch(200)}, 30),
    "an odd one beside": (lambda: {"Retry-After": "soon", "RateLimit-Reset": epoch(200)}, 200),
    "nothing": (dict, 60),
    "no number": (lambda: {"Retry-After": "soon", "RateLimit-Reset": "later"}, 60),
    "not a number": (lambda: {"Retry-After": "nan"}, 60),
    "for ever": (lambda: {"Retry-After": "inf"}, 60),
    "a moment gone by": (lambda: {"RateLimit-Reset": epoch(-500)}, 1),
    "less than nothing": (lambda: {"Retry-After": "-5"}, 1),
    "not at all": (lambda: {"Retry-After": "0"}, 1),
    "eleven days": (lambda: {"Retry-After": "950400"}, DAY),
    "a date in 2200": (lambda: {"Retry-After": "Wed, 01 Jan 2200 00:00:00 GMT"}, DAY),
}


@pytest.mark.parametrize("case", WAITS)
def test_rate_limit_says_until_when(gateway: Gateway, case: str) -> None:
    """Within bounds, a second at least and a day at most, and a minute where nothing is said."""
    headers, seconds = WAITS[case]
    gateway.proxy.answer(Reply(429, b'{"error":"RateLimitExceeded"}', headers=headers()))
    before = now()
    error = error_of(CALLS["put"][1], gateway.pds)
    assert isinstance(error, WaitError)
    asked = timedelta(seconds=seconds)
    # An HTTP date and seconds since 1970 lose up to a second.
    assert before + asked - timedelta(seconds=1.1) <= error.until <= now() + asked


# No answer at all


@pytest.fixture
def frozen(stack: Stack) -> Iterator[None]:
    """The PDS hangs: connections are taken, and nothing comes back."""
    stack.pds.freeze()
    try:
        yield
    finally:
        stack.pds.thaw()


@pytest.fixture
def stopped(stack: Stack) -> Iterator[None]:
    """The PDS refuses connections."""
    stack.pds.stop()
    try:
        yield
    finally:
        stack.pds.start()


@pytest.mark.usefixtures("frozen")
def test_hanging_pds_is_given_up_after_the_timeout(stack: Stack) -> None:
    """Each call ends by itself, and says that it may have been carried out."""
    impatient = Pds(stack.pds.url, timeout=0.2)
    try:
        errors = [error_of(call, impatient) for _, call in CALLS.values()]
    finally:
        impatient.close()
    assert {(type(e), e.code) for e in errors} == {(TransientError, "pds_unreachable")}
    assert all("(ReadTimeout); the call may have been carried out" in e.message for e in errors)


def test_stopped_pds_is_unreachable(stack: Stack, request: pytest.FixtureRequest) -> None:
    """On a connection that was open before, and on a new one."""
    client = Pds(stack.pds.url)
    try:
        assert error_of(CALLS["login"][1], client).code == "wrong_password"
        request.getfixturevalue("stopped")
        errors = [error_of(call, client) for _, call in CALLS.values()]
    finally:
        client.close()
    assert {(type(e), e.code) for e in errors} == {(TransientError, "pds_unreachable")}


def test_host_that_does_not_exist_is_unreachable() -> None:
    """As after a typing error in PDS_URL."""
    lost = Pds("http://pds.invalid")
    try:
        error = error_of(CALLS["put"][1], lost)
    finally:
        lost.close()
    assert (type(error), error.code) == (TransientError, "pds_unreachable")
