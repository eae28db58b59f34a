"""The edge to a Personal Data Server: one method per XRPC call, and what its errors mean to us.

Built on the SDK's request layer, without its session: one connection pool, and each call carries
its own token, so that no call can run under another account's name.
Source: https://atproto.com/specs/xrpc
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import httpx
from atproto import Request
from atproto_client.request import Response

from worker.core.cid import cid_of_blob
from worker.core.errors import MediaError, WaitError
from worker.core.net.transports import LimitedTransport, PublicOnlyTransport, ResponseLimits
from worker.core.rate_limits import REQUEST, UPLOAD, Cost, Resource
from worker.core.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob, Write
from worker.core.secrets import Secret
from worker.pds.errors import error_name, malformed_response
from worker.pds.rate_limiter import HostLimiter, Reservation
from worker.pds.xrpc import Json, bearer, headers_of, pds_errors, raise_for_status, status_of
from worker.telemetry.metrics import NULL_METRICS, Metrics

_BYPASS = "x-ratelimit-bypass"
POINTS = {"create": 3, "update": 2, "delete": 1}  # as the reference PDS charges writes


@dataclass(frozen=True, slots=True)
class Session:
    """An account's tokens at its PDS; `active` is False for a deactivated account."""

    did: str
    access: Secret
    refresh: Secret
    active: bool = True


@dataclass(frozen=True, slots=True)
class _Call:
    """What is called: a method by its NSID, for which step of an item, and what it costs."""

    nsid: str
    step: str
    costs: Sequence[Cost] = (REQUEST,)


def open_http_client(
    timeout: float = 15, *, public_only: bool = False, limits: ResponseLimits | None = None
) -> Request:
    """Return connections for calls to any number of PDSes; `timeout` in seconds for each wait.

    With `public_only` they lead to public addresses alone; with `limits` answers are cut off.
    """
    pool = httpx.Limits(max_connections=16, keepalive_expiry=60)
    transport: httpx.BaseTransport | None = PublicOnlyTransport() if public_only else None
    if limits:
        transport = LimitedTransport(transport or httpx.HTTPTransport(limits=pool), limits)
    return Request(
        timeout=httpx.Timeout(timeout, connect=3),
        limits=pool,
        event_hooks={"response": [raise_for_status]},
        transport=transport,
    )


class PdsClient:
    """Calls to one PDS. Every method raises the errors of `worker.pds.errors`.

    With `limiter` each call is charged before it is sent, and raises RateLimitReachedError if it
    has to wait. `bypass` is the key with which an operator lifts the limits of their own PDS.
    Connections are this client's own (`timeout` in seconds), or those of `request`. `metrics`
    counts calls and blobs.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 15,
        request: Request | None = None,
        limiter: HostLimiter | None = None,
        bypass: Secret | None = None,
        metrics: Metrics = NULL_METRICS,
    ) -> None:
        self.url = url
        self._metrics = metrics
        self._request = request or open_http_client(timeout)
        self._limiter = limiter
        self._bypass = {_BYPASS: bypass.reveal()} if bypass else {}

    def close(self) -> None:
        """Close the connections."""
        self._request.close()

    def create_session(self, identifier: str, password: Secret) -> Session:
        """Log in; the PDS takes a third of a second for it and limits how often."""
        body = {"identifier": identifier, "password": password.reveal()}
        costs = (Cost(Resource.LOGINS, 1, identifier), REQUEST)
        call = _Call("com.atproto.server.createSession", "session", costs)
        return _session(self._post(call, body))

    def refresh_session(self, refresh: Secret) -> Session:
        """Trade a refresh token for new tokens."""
        call = _Call("com.atproto.server.refreshSession", "session")
        return _session(self._post(call, None, refresh))

    def is_active(self, token: Secret) -> bool:
        """Tell whether the token's account is active; raises SessionExpiredError and the like."""
        call = _Call("com.atproto.server.getSession", "session")
        url, headers = self._url(call.nsid), bearer(token) | self._bypass
        response = self._send(call, partial(self._request.get, url, headers=headers))
        return _json(call.step, response).flag("active", default=True)

    def remaining_points(self, repo: str) -> int | None:
        """Return how many points of writes a repo has left now; None when nobody counts them."""
        return self._limiter.remaining_points(repo) if self._limiter else None

    def put_record(
        self, token: Secret, key: RecordKey, record: Mapping[str, object], swap: str | None
    ) -> RecordRef:
        """Write a record, provided that `swap` is its present CID (None: that there is none).

        Sent again with the same content it changes nothing and succeeds, whatever `swap` is.
        """
        body = {**key.as_json(), "record": record, "validate": False, "swapRecord": swap}
        points = Cost(Resource.POINTS, POINTS["update"], key.repo)  # a new one costs as much
        call = _Call("com.atproto.repo.putRecord", "write", (points, REQUEST))
        answer = self._post(call, body, token)
        return RecordRef(answer.text("uri"), answer.text("cid"))

    def delete_record(self, token: Secret, key: RecordKey) -> None:
        """Delete a record; succeeds when there is none."""
        points = Cost(Resource.POINTS, POINTS["delete"], key.repo)
        call = _Call("com.atproto.repo.deleteRecord", "remove", (points, REQUEST))
        self._post(call, key.as_json(), token)

    def apply_writes(
        self, token: Secret, repo: str, writes: Sequence[Write], swap: str | None
    ) -> None:
        """Carry out all writes or none, provided that `swap` is the repo's present commit.

        200 writes and 1,000,000 bytes of JSON at most. A create of a key that is there, or an
        update or delete of one that is not, fails all as a fault of the server (500).
        """
        listed = [write.as_json() for write in writes]
        body = {"repo": repo, "validate": False, "writes": listed, "swapCommit": swap}
        points = Cost(Resource.POINTS, _points_of(writes), repo)
        self._post(_Call("com.atproto.repo.applyWrites", "write", (points, REQUEST)), body, token)

    def latest_commit(self, did: str) -> str:
        """Return the CID of a repo's present commit."""
        return self._get("com.atproto.sync.getLatestCommit", {"did": did}).text("cid")

    def get_repo(self, did: str) -> bytes:
        """Return a whole repo as a CAR file (https://atproto.com/specs/repository)."""
        # Packing hashes costs the PDS time and saves little. Its limit is far above our pace, and
        # no other call counts towards it.
        plain = {"Accept-Encoding": "identity"}
        call = _Call("com.atproto.sync.getRepo", "read", ())
        content = self._fetch(call, {"did": did}, plain).content
        if not isinstance(content, bytes):
            raise malformed_response("read")
        return content

    def get_record(self, key: RecordKey) -> RemoteRecord | None:
        """Return a record as it is now, or None."""
        try:
            return _remote_record(self._get("com.atproto.repo.getRecord", key.as_json()))
        except MediaError as error:
            if error_name(error.__cause__) == "RecordNotFound":
                return None
            raise

    def list_records(
        self, repo: str, collection: str, cursor: str | None = None, *, ascending: bool = False
    ) -> tuple[list[RemoteRecord], str | None]:
        """Return a page of a collection and the cursor of the next one: the key to go on from.

        The highest key comes first, or with `ascending` the lowest.
        """
        params: dict[str, object] = {"repo": repo, "collection": collection, "limit": 100}
        if ascending:
            params["reverse"] = "true"
        if cursor:
            params["cursor"] = cursor
        answer = self._get("com.atproto.repo.listRecords", params)
        records = [_remote_record(item) for item in answer.objects("records")]
        return records, answer.optional_text("cursor")

    def upload_blob(self, token: Secret, data: bytes, mime_type: str) -> UploadedBlob:
        """Upload a blob to the token's account; it stays only if a record refers to it soon."""
        url = self._url("com.atproto.repo.uploadBlob")
        headers = bearer(token) | {"Content-Type": mime_type} | self._bypass
        call = _Call("com.atproto.repo.uploadBlob", "upload", (UPLOAD, REQUEST))
        send = partial(self._request.post, url, headers=headers, content=data)
        answer = _json(call.step, self._send(call, send))
        self._metrics.count_blob(len(data))
        blob = answer.inner("blob")
        cid = blob.inner("ref").text("$link")
        return UploadedBlob(cid, blob.text("mimeType"), blob.number("size"))

    def get_blob(self, did: str, cid: str) -> bytes | None:
        """Return a blob's bytes, or None when the PDS does not have it."""
        params = {"did": did, "cid": cid}
        try:
            content = self._fetch(_Call("com.atproto.sync.getBlob", "read"), params).content
        except MediaError as error:
            # The lexicon says BlobNotFound; the reference PDS says InvalidRequest.
            if error_name(error.__cause__) in {"BlobNotFound", "InvalidRequest"}:
                return None
            raise
        if not isinstance(content, bytes) or cid_of_blob(content) != cid:
            raise malformed_response("read")
        return content

    def _post(
        self, call: _Call, body: Mapping[str, object] | None, token: Secret | None = None
    ) -> Json:
        url, headers = self._url(call.nsid), (bearer(token) if token else {}) | self._bypass
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False).encode()
            headers |= {"Content-Type": "application/json"}
        send = partial(self._request.post, url, headers=headers, content=content)
        return _json(call.step, self._send(call, send))

    def _get(self, nsid: str, params: Mapping[str, object]) -> Json:
        return _json("read", self._fetch(_Call(nsid, "read"), params))

    def _fetch(
        self,
        call: _Call,
        params: Mapping[str, object],
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        full = {**(headers or {}), **self._bypass}
        url, sent = self._url(call.nsid), dict(params)
        return self._send(call, partial(self._request.get, url, params=sent, headers=full))

    def _url(self, nsid: str) -> str:
        return f"{self.url}/xrpc/{nsid}"

    def _send(self, call: _Call, send: Callable[[], Response]) -> Response:
        """Make a call within the rate limits, count it, and learn from its response."""
        reservation = self._limiter.acquire(call.step, call.costs) if self._limiter else None
        began, status = time.monotonic(), "none"
        try:
            with pds_errors(call.step):
                response = send()
            status = str(response.status_code)
        except MediaError as error:
            status = status_of(error.__cause__)
            refusal = error if isinstance(error, WaitError) else None
            self._settle(reservation, headers_of(error.__cause__), refusal)
            raise
        finally:
            self._metrics.count_call(call.nsid, status, time.monotonic() - began)
        self._settle(reservation, response.headers)
        return response

    def _settle(
        self,
        reservation: Reservation | None,
        headers: Mapping[str, str],
        refusal: WaitError | None = None,
    ) -> None:
        if self._limiter and reservation:
            self._limiter.settle(reservation, headers, refusal)


def _points_of(writes: Sequence[Write]) -> int:
    return sum(POINTS[write.action] for write in writes)


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
    return RemoteRecord(answer.text("uri"), answer.text("cid"), answer.mapping("value"))
