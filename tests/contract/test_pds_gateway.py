"""What the bad answers of a PDS, or of whatever stands before it, turn into."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import quote_plus

import pytest

from tests.canaries import Net
from tests.contract.pds_calls import CALLS, KEY, NOBODY, PASSWORD, TOKEN, error_of
from tests.contract.proxy import Proxy, Reply, open_proxy
from worker.core.cid import cid_of_blob
from worker.core.clock import now
from worker.core.errors import MediaError, PermanentError, TransientError, WaitError
from worker.dev.stack import Stack
from worker.pds.client import PdsClient, Session
from worker.pds.errors import AccountUnusableError, GatewayError, SessionExpiredError


@dataclass(frozen=True, slots=True)
class Gateway:
    """A proxy before the PDS, and our client of that."""

    proxy: Proxy
    pds: PdsClient


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> Iterator[Gateway]:
    """Return a proxy that each test tells what to answer to all calls."""
    with (
        open_proxy(stack.environment["PDS_URL"]) as proxy,
        closing(PdsClient(proxy.url, timeout=30)) as client,
    ):
        yield Gateway(proxy, client)


HTML = b"<!doctype html><title>Sorry</title>canary"
FAULTS: Mapping[str, tuple[Reply, type[MediaError], str]] = {
    "429": (Reply(429, b'{"error":"RateLimitExceeded"}'), WaitError, "rate_limited"),
    "429 with a JSON text": (Reply(429, b'"slow down"'), WaitError, "rate_limited"),
    "429 with HTML": (Reply(429, HTML, "text/html"), WaitError, "rate_limited"),
    "500": (Reply(500, b'{"error":"InternalServerError"}'), TransientError, "pds_500"),
    "500 with a JSON list": (Reply(500, b"[1, 2]"), GatewayError, "pds_500"),
    "500 with odd JSON": (Reply(500, b'{"error":null,"message":7}'), GatewayError, "pds_500"),
    "500 nested too deep": (Reply(500, b"[" * 100_000), GatewayError, "pds_500"),
    "502 with HTML": (Reply(502, HTML, "text/html"), GatewayError, "pds_502"),
    "503 with nothing": (Reply(503, b"", ""), GatewayError, "pds_503"),
    "404 with HTML": (Reply(404, HTML, "text/html"), GatewayError, "pds_404"),
    "408": (Reply(408), GatewayError, "pds_408"),
    "403 with an error name": (Reply(403, b'{"error":"Odd"}'), AccountUnusableError, "pds_403"),
    "405 with HTML": (Reply(405, HTML, "text/html"), GatewayError, "pds_405"),
    "413 with HTML": (Reply(413, HTML, "text/html"), PermanentError, "payload_too_large"),
    "400 with no body": (Reply(400, b"", ""), PermanentError, "pds_refused"),
    "400 with a name alone": (
        Reply(400, b'{"error":"ExpiredToken"}'),
        SessionExpiredError,
        "session_expired",
    ),
    "200 with HTML": (Reply(200, HTML, "text/html"), GatewayError, "pds_answer_garbled"),
    "200 with JSON as text": (
        Reply(200, b'{"uri":"at://canary"}', "text/plain"),
        GatewayError,
        "pds_answer_garbled",
    ),
    "200 with half the JSON": (Reply(200, b'{"uri":"at://c'), GatewayError, "pds_answer_garbled"),
    "200 with a JSON list": (Reply(200, b"[]"), GatewayError, "pds_answer_garbled"),
    "200 with no UTF-8": (Reply(200, b'{"a":"\xff\xfe"}'), GatewayError, "pds_answer_garbled"),
    "200 nested too deep": (Reply(200, b"[" * 100_000), GatewayError, "pds_answer_garbled"),
    "200 with bad gzip": (
        Reply(200, b"{}", headers={"Content-Encoding": "gzip"}),
        GatewayError,
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
    expected = dict.fromkeys(CALLS, (kind, code))
    if 400 <= reply.status < 500 and kind is not WaitError:
        refused = (AccountUnusableError, f"pds_{reply.status}")
        expected["login"] = refused
        if kind is not SessionExpiredError:
            expected["refresh"] = refused
    assert {name: (type(e), e.code) for name, e in errors.items()} == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 451, 502, 503])
def test_page_of_a_gateway_says_nothing_of_the_account(gateway: Gateway, status: int) -> None:
    """It may reject the content of one call: the call is tried again, and nothing is parked."""
    gateway.proxy.answer(Reply(status, HTML, "text/html; charset=utf-8"))
    errors = [error_of(call, gateway.pds) for step, call in CALLS.values() if step != "session"]
    assert {(type(e), e.code) for e in errors} == {(GatewayError, f"pds_{status}")}


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
    with open_proxy(stack.environment["PDS_URL"]) as elsewhere:
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
    assert "no entry with Bearer (secret), sorry" in error.message


QUOTES: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "for a URL": quote_plus,
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in the middle of base64": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
}


@pytest.mark.parametrize("status", [400, 401, 500])
@pytest.mark.parametrize("spelling", QUOTES)
def test_request_that_an_answer_quotes_is_not_passed_on(
    gateway: Gateway, spelling: str, status: int
) -> None:
    """Neither its token nor its password, be they in the name of the error or in its message."""

    def quoting(text: str) -> str:
        quoted = QUOTES[spelling](text)
        return json.dumps({"error": quoted[-300:], "message": f"refused: {quoted}"})

    net = Net({"token": TOKEN.reveal(), "password": PASSWORD.reveal()})
    assert net.caught(quoting(TOKEN.reveal()) + quoting(PASSWORD.reveal())) == {"token", "password"}
    gateway.proxy.answer(Reply(status, quoting=quoting))
    for _, call in CALLS.values():
        assert not net.caught(error_of(call, gateway.pds).message)


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
    before = now()
    gateway.proxy.answer(Reply(429, b'{"error":"RateLimitExceeded"}', headers=headers()))
    error = error_of(CALLS["put"][1], gateway.pds)
    assert isinstance(error, WaitError)
    asked = timedelta(seconds=seconds)
    # An HTTP date and seconds since 1970 lose up to a second.
    assert before + asked - timedelta(seconds=1.1) <= error.until <= now() + asked
