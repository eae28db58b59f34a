"""The client of a Personal Data Server (PDS), with one method per XRPC call.

The client uses the HTTP layer of the SDK, but not its session. Each call sends its own token, so a
call cannot use the session of another account. Source: https://atproto.com/specs/xrpc
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import httpx
from atproto import Request
from atproto_client.request import Response

from worker.core.cid import cid_of_blob
from worker.core.errors import MediaError, WaitError
from worker.core.net.client import (
    CONNECT_SECONDS,
    LIMITS,
    ClientLimits,
    ClientTransport,
    DirectClient,
)
from worker.core.rate_limits import REQUEST, UPLOAD, Cost, Resource
from worker.core.records import (
    RecordKey,
    RecordRef,
    RemoteRecord,
    UploadedBlob,
    Write,
    is_record_version,
)
from worker.core.secrets import Secret
from worker.pds.call_limits import TRUSTED, CallLimits
from worker.pds.errors import error_name, malformed_response
from worker.pds.host_slots import HoldSlot
from worker.pds.rate_limiter import NO_LIMITS, HostLimiter
from worker.pds.repo_snapshot import RepoSnapshot
from worker.pds.xrpc import (
    Json,
    bearer,
    headers_of,
    pds_errors,
    raise_for_status,
    redirect_target,
    status_of,
)
from worker.telemetry.metrics import NULL_METRICS, Metrics

T = TypeVar("T")
_BYPASS = "x-ratelimit-bypass"
_CHUNK_BYTES = 65_536  # of a stream
MAX_REDIRECTS = 3  # of a blob
POINTS = {"create": 3, "update": 2, "delete": 1}  # points per write at the reference PDS


@dataclass(frozen=True, slots=True)
class Session:
    """An account's tokens at its PDS; `active` is False for a deactivated account."""

    did: str
    access: Secret
    refresh: Secret
    active: bool = True


@dataclass(frozen=True, slots=True)
class _Call:
    """An XRPC call: its method (NSID), the step named in errors, its costs and limits."""

    nsid: str
    step: str
    costs: Sequence[Cost] = (REQUEST,)
    limits: ClientLimits | None = None

    @property
    def extensions(self) -> dict[str, object]:
        """Return the extensions of the request; without limits, the client's own apply."""
        return {LIMITS: self.limits}


@dataclass(frozen=True, slots=True)
class StreamedResponse(Generic[T]):
    """A response whose body was read as a stream; `content` is the result."""

    status_code: int
    content: T
    headers: Mapping[str, str]


class HttpClient(Request):  # type: ignore[misc]  # the SDK is not typed
    """The HTTP client of the SDK, which can also read a response as a stream.

    It raises httpx.HTTPStatusError for all other statuses than 2xx, and follows no redirects.
    """

    def __init__(self, transport: ClientTransport, timeout: httpx.Timeout) -> None:
        super().__init__(transport=transport, trust_env=False)
        self._client = DirectClient(transport, timeout, raise_for_status)

    def read_stream(
        self,
        url: str,
        read: Callable[[Iterator[bytes]], T],
        *,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        extensions: Mapping[str, object],
    ) -> StreamedResponse[T]:
        """Send a GET request; return the result of `read` for the chunks of the body."""
        full = self.get_headers(dict(headers))
        with self._client.stream(
            "GET", url, params=params, headers=full, extensions=dict(extensions)
        ) as response:
            content = read(response.iter_bytes(_CHUNK_BYTES))
            return StreamedResponse(response.status_code, content, response.headers)


R = TypeVar("R", bound=Response | StreamedResponse[Any])


def open_http_client(
    timeout: float = 15,
    *,
    foreign: bool = False,
    limits: ClientLimits = TRUSTED.ordinary,
    first: float | None = None,
) -> HttpClient:
    """Create an HTTP client for PDSes of our settings, or for `foreign` ones.

    `timeout` limits each read and write, in seconds. `limits` are used for calls without their own.
    `first` limits each read until the host has responded once.
    """
    transport = ClientTransport(limits, foreign=foreign, first=first)
    return HttpClient(transport, httpx.Timeout(timeout, connect=CONNECT_SECONDS))


class PdsClient:
    """Calls the XRPC methods of one PDS.

    Methods raise the errors that `translate` returns. `limiter` charges each call before it is
    sent, and raises RateLimitReachedError or RedisUnavailableError. `hold_slot` limits the
    concurrent calls to a foreign PDS, and `hold_waiting` the waits for locks. `bypass` is a key
    that lifts the rate limits of an operator's own PDS. `request` is the HTTP client to use.
    Without it, a new one is created with `timeout` in seconds. `redirects` is the client that
    follows the redirect of a blob; without it, none is followed. `limits` are those of the calls.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 15,
        request: HttpClient | None = None,
        redirects: HttpClient | None = None,
        limiter: HostLimiter = NO_LIMITS,
        hold_slot: HoldSlot = nullcontext,
        hold_waiting: HoldSlot = nullcontext,
        bypass: Secret | None = None,
        metrics: Metrics = NULL_METRICS,
        limits: CallLimits = TRUSTED,
    ) -> None:
        self.url = url
        self._limits = limits
        self.hold_slot = hold_slot
        self.hold_waiting = hold_waiting
        self._metrics = metrics
        self._redirects = redirects
        self._request = request or open_http_client(timeout, limits=limits.ordinary)
        self.limiter = limiter
        self._bypass = {_BYPASS: bypass.reveal()} if bypass else {}

    def close(self) -> None:
        self._request.close()

    def create_session(self, identifier: str, password: Secret) -> Session:
        """Log in and return the session; takes about 0.3 s and is rate-limited."""
        body = {"identifier": identifier, "password": password.reveal()}
        costs = (Cost(Resource.LOGINS, 1, identifier), REQUEST)
        call = _Call("com.atproto.server.createSession", "session", costs)
        return _session(self._post(call, body))

    def refresh_session(self, refresh: Secret) -> Session:
        """Exchange a refresh token for a session with new tokens."""
        call = _Call("com.atproto.server.refreshSession", "session")
        return _session(self._post(call, None, refresh))

    def is_active(self, token: Secret) -> bool:
        call = _Call("com.atproto.server.getSession", "session")
        return _json(call.step, self._fetch(call, {}, bearer(token))).flag("active", default=True)

    def remaining_points(self, repo: str) -> int | None:
        return self.limiter.remaining_points(repo)

    def put_record(
        self, token: Secret, key: RecordKey, record: Mapping[str, object], swap: str | None
    ) -> RecordRef:
        """Create or replace a record, and return its URI and CID.

        `swap` is the expected current CID, or None for a new record. Raises RecordConflictError
        if it does not match. Writing the current content again succeeds with any `swap`.
        """
        body = {**key.as_json(), "record": record, "validate": False, "swapRecord": swap}
        points = Cost(Resource.POINTS, POINTS["update"], key.repo)  # also for a new record
        call = _Call("com.atproto.repo.putRecord", "write", (points, REQUEST))
        answer = self._post(call, body, token)
        return RecordRef(*_version(answer, call.step))

    def delete_record(self, token: Secret, key: RecordKey, swap: str | None = None) -> None:
        """Delete a record. Succeeds if the record does not exist.

        `swap` is the expected current CID. Raises RecordConflictError if it does not match.
        """
        points = Cost(Resource.POINTS, POINTS["delete"], key.repo)
        call = _Call("com.atproto.repo.deleteRecord", "remove", (points, REQUEST))
        body = key.as_json() | ({"swapRecord": swap} if swap else {})
        self._post(call, body, token)

    def apply_writes(
        self, token: Secret, repo: str, writes: Sequence[Write], swap: str | None
    ) -> None:
        """Apply all writes or none.

        `swap` is the expected commit of the repo; raises RecordConflictError if it does not match.
        The limits are 200 writes and 1,000,000 bytes of JSON. Creating an existing record, or
        updating or deleting a missing one, fails the call with a server error (500).
        """
        listed = [write.as_json() for write in writes]
        body = {"repo": repo, "validate": False, "writes": listed, "swapCommit": swap}
        points = Cost(Resource.POINTS, sum(POINTS[write.action] for write in writes), repo)
        self._post(_Call("com.atproto.repo.applyWrites", "write", (points, REQUEST)), body, token)

    def latest_commit(self, did: str) -> str:
        return self._get("com.atproto.sync.getLatestCommit", {"did": did}).text("cid")

    def get_repo(self, did: str) -> RepoSnapshot:
        """Read a whole repo as a stream; raises RepoDamagedError."""
        # No charge: getRepo has a separate rate limit, far above our number of calls.
        call = _Call("com.atproto.sync.getRepo", "read", (), self._limits.repo)
        get = partial(
            self._request.read_stream,
            self._url(call),
            lambda chunks: RepoSnapshot.read(did, chunks),
            params={"did": did},
            headers=self._bypass,
            extensions=call.extensions,
        )
        return self._send(call, get).content

    def get_record(self, key: RecordKey) -> RemoteRecord | None:
        try:
            return _remote_record(self._get("com.atproto.repo.getRecord", key.as_json()))
        except MediaError as error:
            if error_name(error.__cause__) == "RecordNotFound":
                return None
            raise

    def list_records(
        self, repo: str, collection: str, cursor: str | None = None, *, ascending: bool = False
    ) -> tuple[list[RemoteRecord], str | None]:
        """Return a page of records (by default, by descending key) and the next cursor."""
        params: dict[str, object] = {"repo": repo, "collection": collection, "limit": 100}
        if ascending:
            params["reverse"] = "true"
        if cursor:
            params["cursor"] = cursor
        call = _Call("com.atproto.repo.listRecords", "read", limits=self._limits.page)
        answer = _json(call.step, self._fetch(call, params))
        records = [_remote_record(item) for item in answer.objects("records")]
        return records, answer.optional_text("cursor")

    def upload_blob(self, token: Secret, data: bytes, mime_type: str) -> UploadedBlob:
        """Upload a blob. The PDS deletes it later unless a record refers to it."""
        costs = (UPLOAD, REQUEST)
        call = _Call("com.atproto.repo.uploadBlob", "upload", costs, self._limits.upload)
        answer = self._post(call, data, token, mime_type)
        self._metrics.count_blob(len(data))
        blob = answer.inner("blob")
        cid = blob.inner("ref").text("$link")
        return UploadedBlob(cid, blob.text("mimeType"), blob.number("size"))

    def get_blob(self, did: str, cid: str) -> bytes | None:
        """Return a blob's bytes, or None if the PDS does not have the blob."""
        limits = self._limits.blob
        call = _Call("com.atproto.sync.getBlob", "read", limits=limits)
        end = time.monotonic() + limits.seconds
        try:
            content = self._fetch(call, {"did": did, "cid": cid}).content
        except MediaError as error:
            # The lexicon names BlobNotFound; the reference PDS sends InvalidRequest.
            if error_name(error.__cause__) in {"BlobNotFound", "InvalidRequest"}:
                return None
            if self._redirects is None or redirect_target(error.__cause__) is None:
                raise
            content = self._follow_redirects(self._redirects, error, end)
        if not isinstance(content, bytes) or cid_of_blob(content) != cid:
            raise malformed_response("read")
        return content

    def _follow_redirects(self, http: HttpClient, redirected: MediaError, end: float) -> object:
        """Return the content that a PDS redirects to, or raise the last error.

        All responses must arrive before `end`, in monotonic time. No token is sent. The content may
        be anything: the caller compares its hash. A slow target holds a slot of the PDS.
        """
        error = redirected
        with self.hold_slot("read"):
            for _ in range(MAX_REDIRECTS):
                url = redirect_target(error.__cause__)
                if url is None:
                    break
                limits = replace(self._limits.blob, seconds=end - time.monotonic())
                try:
                    with pds_errors("read"):
                        return http.get(url, extensions={LIMITS: limits}).content
                except MediaError as following:
                    error = following
        raise error

    def _post(
        self,
        call: _Call,
        body: Mapping[str, object] | bytes | None,
        token: Secret | None = None,
        content_type: str = "application/json",
    ) -> Json:
        headers = (bearer(token) if token else {}) | self._bypass
        if isinstance(body, Mapping):
            body = json.dumps(body, ensure_ascii=False).encode()
        if body is not None:
            headers["Content-Type"] = content_type
        send = partial(
            self._request.post,
            self._url(call),
            headers=headers,
            content=body,
            extensions=call.extensions,
        )
        return _json(call.step, self._send(call, send))

    def _get(self, nsid: str, params: Mapping[str, object]) -> Json:
        return _json("read", self._fetch(_Call(nsid, "read"), params))

    def _fetch(
        self, call: _Call, params: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> Response:
        full = {**(headers or {}), **self._bypass}
        get = partial(
            self._request.get,
            self._url(call),
            params=dict(params),
            headers=full,
            extensions=call.extensions,
        )
        return self._send(call, get)

    def _url(self, call: _Call) -> str:
        return f"{self.url}/xrpc/{call.nsid}"

    def _send(self, call: _Call, send: Callable[[], R]) -> R:
        """Send a call within the slots and rate limits of the host; update the metrics."""
        # The slot comes first: a call that finds none must not be charged.
        with self.hold_slot(call.step):
            reservation = self.limiter.acquire(call.step, call.costs)
            began, status = time.monotonic(), "none"
            try:
                with pds_errors(call.step):
                    response = send()
                status = str(response.status_code)
            except MediaError as error:
                status = status_of(error.__cause__)
                refusal = error if isinstance(error, WaitError) else None
                self.limiter.settle(reservation, headers_of(error.__cause__), refusal)
                raise
            finally:
                self._metrics.count_call(call.nsid, status, time.monotonic() - began)
            self.limiter.settle(reservation, response.headers)
            return response


def _json(step: str, response: Response) -> Json:
    content = response.content
    if not isinstance(content, dict):
        raise malformed_response(step)
    return Json(step, content)


def _session(answer: Json) -> Session:
    return Session(
        did=answer.text("did"),
        access=Secret(answer.text("accessJwt")),
        refresh=Secret(answer.text("refreshJwt")),
        active=answer.flag("active", default=True),
    )


def _remote_record(answer: Json) -> RemoteRecord:
    return RemoteRecord(*_version(answer, "read"), answer.mapping("value"))


def _version(answer: Json, step: str) -> tuple[str, str]:
    uri, cid = answer.text("uri"), answer.text("cid")
    if not is_record_version(uri, cid):
        raise malformed_response(step)
    return uri, cid
