"""The PDS, and the directory that says where accounts live."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from worker.core.errors import TransientError
from worker.core.rate_limits import Limit, RateLimitHeaders, Resource, parse_headers
from worker.media.validation import Lexicons
from worker.operations.doctor.machine import Clock
from worker.operations.doctor.results import CheckResult, fail, ok, warn

SUBJECT, DIRECTORY = "pds", "directory"
_TIMEOUT = httpx.Timeout(5, connect=3)
_DESCRIBE = "/xrpc/com.atproto.server.describeServer"
_HEALTH = "/xrpc/_health"
_HALF = 0.5  # seconds: where a moment lies, on average, that was cut to whole seconds


@dataclass(frozen=True, slots=True)
class PdsFacts:
    """What a PDS says of itself; `ahead` is its clock's lead in seconds, None if it does not say.

    `upload_limit` is in bytes; `told` what its headers say of a budget.
    """

    version: str
    upload_limit: int | None
    ahead: float | None
    told: RateLimitHeaders | None


def fetch(url: str, clock: Clock = time.time) -> PdsFacts:
    """Ask a PDS; raises TransientError when nothing answers that is one."""
    with httpx.Client(timeout=_TIMEOUT) as http:
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
        told=parse_headers(headers, middle),
    )


def evaluate(facts: PdsFacts, limits: tuple[Limit, ...]) -> Iterator[CheckResult]:
    """Judge what a PDS says, by the budgets that we count; clock and blobs apart."""
    yield ok(SUBJECT, "version", facts.version)
    yield _limits(facts.told, limits)


def max_blob_size(lexicons: Lexicons) -> int:
    """Return how many bytes the largest blob has that a lexicon lets a record refer to."""
    rules = [rule for nsid in lexicons.nsids for rule in lexicons.blob_rules(nsid).values()]
    return max((rule.max_size or 0 for rule in rules), default=0)


def check_directory(url: str | None) -> list[CheckResult]:
    """Ask the PLC directory whether it is there; raises TransientError."""
    if url is None:
        return [ok(DIRECTORY, "answer", "DID_RESOLVER=off: all accounts live at PDS_URL")]
    with httpx.Client(timeout=_TIMEOUT) as http:
        try:
            status = http.get(f"{url}/_health").status_code
        except httpx.HTTPError as error:
            raise TransientError(f"no answer from {url} ({type(error).__name__})") from error
    return [evaluate_directory(url, status)]


def evaluate_directory(url: str, status: int) -> CheckResult:
    """Judge the answer of a directory by its HTTP status."""
    if status == httpx.codes.OK:
        return ok(DIRECTORY, "answer", f"{url} answers")
    return fail(DIRECTORY, "answer", f"{url} answers {status}", "look at DID_RESOLVER")


def evaluate_uploads(limit: int | None, largest: int) -> CheckResult:
    """Judge how large a blob a PDS takes, by the largest of our lexicons; bytes."""
    if limit is None:
        return ok(SUBJECT, "blob limit", "it does not say")
    found = f"it takes {limit} bytes, our lexicons {largest} at most"
    if limit < largest:
        advice = "raise PDS_BLOB_UPLOAD_LIMIT, or larger files are refused"
        return warn(SUBJECT, "blob limit", found, advice)
    return ok(SUBJECT, "blob limit", found)


def _limits(said: RateLimitHeaders | None, limits: tuple[Limit, ...]) -> CheckResult:
    requests = {
        (limit.points, limit.window) for limit in limits if limit.resource is Resource.REQUESTS
    }
    if said is None:
        counted = "we count by RATE_LIMITS" if limits else "nor do we"
        return ok(SUBJECT, "rate limits", f"it tells of none, {counted}")
    found = f"it allows {said.points} requests in {said.window:g} s"
    if not limits:
        advice = (
            "RATE_LIMITS is off for it: set it to reference, or lift the limits for our address"
        )
        return warn(SUBJECT, "rate limits", found, advice)
    if (said.points, said.window) not in requests:
        ours = ", ".join(f"{points} in {window:g} s" for points, window in requests) or "none"
        advice = "have requests_5min in RATE_LIMITS say the same"
        return warn(SUBJECT, "rate limits", f"{found}; we count {ours}", advice)
    return ok(SUBJECT, "rate limits", f"{found}, as we count")


def _json(http: httpx.Client, url: str) -> tuple[Mapping[str, object], Mapping[str, str]]:
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    try:
        answer = http.get(url)
        body = answer.json() if answer.is_success else None
    except (httpx.HTTPError, ValueError) as error:
        raise TransientError(f"no answer of a PDS from {where} ({type(error).__name__})") from error
    if not isinstance(body, dict):
        raise TransientError(f"what answers at {where} is no PDS: {answer.status_code}")
    return body, answer.headers


def _ahead(headers: Mapping[str, str], middle: float) -> float | None:
    try:
        return parsedate_to_datetime(headers["date"]).timestamp() + _HALF - middle
    except (KeyError, ValueError):
        return None
