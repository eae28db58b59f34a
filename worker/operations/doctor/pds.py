"""Check the PDS, and the directory that names the PDS of each account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from worker.core.clock import http_timestamp
from worker.core.errors import TransientError
from worker.core.net.client import ClientLimits, open_client
from worker.core.rate_limits import Limit, RateLimitHeaders, Resource, parse_headers
from worker.media.validation import Lexicons
from worker.operations.doctor.installation import FIRST_TIMEOUT, Installation
from worker.operations.doctor.machine import evaluate_clock
from worker.operations.doctor.results import CheckResult, fail, judge, ok, warn

SUBJECT, DIRECTORY = "pds", "directory"
_LIMITS = ClientLimits(seconds=8, max_bytes=100_000)
_DESCRIBE = "/xrpc/com.atproto.server.describeServer"
_HEALTH = "/xrpc/_health"
_HALF = 0.5  # seconds that are cut from an HTTP date on average


@dataclass(frozen=True, slots=True)
class PdsFacts:
    """What a PDS reports; `ahead` is the lead of its clock in seconds, None if unknown.

    `upload_limit` is in bytes; `advertised` is the rate limit in its headers, `limits` are those
    of the settings.
    """

    version: str
    upload_limit: int | None
    ahead: float | None
    advertised: RateLimitHeaders | None
    limits: tuple[Limit, ...] = ()


def fetch(installation: Installation) -> PdsFacts:
    """Query the PDS; raises TransientError without a valid response."""
    settings, clock = installation.settings.pds, installation.clock
    url = settings.url
    with _open_client() as http:
        began = clock()
        described = _json(http, url + _DESCRIBE)
        middle = (began + clock()) / 2
        health = _json(http, url + _HEALTH)[0]
    body, headers = described
    limit = body.get("blobUploadLimit")
    return PdsFacts(
        version=str(health.get("version", "unknown")),
        upload_limit=limit if isinstance(limit, int) else None,
        ahead=_ahead(headers, middle),
        advertised=parse_headers(headers, middle),
        limits=settings.rates.of(urlsplit(url).netloc),
    )


def evaluate(facts: PdsFacts) -> Iterator[CheckResult]:
    """Evaluate what a PDS reports, except its blob limit."""
    yield ok(SUBJECT, "version", facts.version)
    yield _limits(facts.advertised, facts.limits)
    if facts.ahead is not None:
        yield evaluate_clock(SUBJECT, facts.ahead)


def fetch_uploads(installation: Installation) -> tuple[int | None, int]:
    """Return the blob limits in bytes of the PDS and our lexicons; raises as `fetch`."""
    from worker.media.lexicons import type_lexicons  # imports the media types

    return fetch(installation).upload_limit, max_blob_size(type_lexicons())


def evaluate_uploads(allowed: tuple[int | None, int]) -> Iterator[CheckResult]:
    """Evaluate whether the PDS accepts the largest blob that our lexicons allow."""
    limit, largest = allowed
    found = f"the PDS accepts {limit} bytes, our lexicons allow {largest}"
    yield judge(
        SUBJECT,
        "blob limit",
        "the PDS does not report it" if limit is None else found,
        "raise PDS_BLOB_UPLOAD_LIMIT, or the PDS rejects larger files",
        passes=limit is None or limit >= largest,
    )


def max_blob_size(lexicons: Lexicons) -> int:
    """Return the size in bytes of the largest blob that a lexicon allows."""
    rules = [rule for nsid in lexicons.nsids for rule in lexicons.blob_rules(nsid).values()]
    return max((rule.max_size or 0 for rule in rules), default=0)


def fetch_directory(installation: Installation) -> tuple[str | None, int]:
    """Return the URL of the PLC directory, if any, and its HTTP status; raises TransientError."""
    url = installation.settings.pds.directory
    if url is None:
        return None, httpx.codes.OK
    with _open_client() as http:
        try:
            return url, http.get(f"{url}/_health").status_code
        except httpx.HTTPError as error:
            raise TransientError(f"no response from {url} ({type(error).__name__})") from error


def evaluate_directory(answer: tuple[str | None, int]) -> Iterator[CheckResult]:
    """Evaluate the response of a directory."""
    url, status = answer
    if status != httpx.codes.OK:
        yield fail(DIRECTORY, "answer", f"{url} returned status {status}", "check DID_RESOLVER")
    elif url is None:
        yield ok(DIRECTORY, "answer", "DID_RESOLVER=off: all accounts are at PDS_URL")
    else:
        yield ok(DIRECTORY, "answer", f"{url} responds")


def _limits(advertised: RateLimitHeaders | None, limits: tuple[Limit, ...]) -> CheckResult:
    requests = {
        (limit.points, limit.window) for limit in limits if limit.resource is Resource.REQUESTS
    }
    if advertised is None:
        ours = "RATE_LIMITS applies" if limits else "RATE_LIMITS is off"
        return ok(SUBJECT, "rate limits", f"the PDS advertises none, {ours}")
    found = f"the PDS allows {advertised.points} requests in {advertised.window:g} s"
    if not limits:
        found += ", RATE_LIMITS is off for it"
        advice = "set RATE_LIMITS to reference"
        return warn(SUBJECT, "rate limits", found, advice)
    if (advertised.points, advertised.window) not in requests:
        ours = ", ".join(f"{points} in {window:g} s" for points, window in requests) or "none"
        advice = "set requests_5min in RATE_LIMITS to the same"
        return warn(SUBJECT, "rate limits", f"{found}, RATE_LIMITS has {ours}", advice)
    return ok(SUBJECT, "rate limits", f"{found}, as in RATE_LIMITS")


def _open_client() -> httpx.Client:
    return open_client(foreign=False, timeout=FIRST_TIMEOUT, limits=_LIMITS)


def _json(http: httpx.Client, url: str) -> tuple[Mapping[str, object], Mapping[str, str]]:
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    try:
        answer = http.get(url)
        body = answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError) as error:
        raise TransientError(
            f"no response of a PDS from {where} ({type(error).__name__})"
        ) from error
    if not isinstance(body, dict):
        raise TransientError(f"the server at {where} is not a PDS: status {answer.status_code}")
    return body, answer.headers


def _ahead(headers: Mapping[str, str], middle: float) -> float | None:
    sent_at = http_timestamp(headers.get("date", ""))
    return None if sent_at is None else sent_at + _HALF - middle
