"""The edge to a Personal Data Server: one method per XRPC call, and what its errors mean to us.

Built on the SDK's request layer, without its session: one connection pool, and each call carries
its own token, so that no call can run under another account's name.
Source: https://atproto.com/specs/xrpc
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx
from atproto import Request
from atproto.exceptions import AtProtocolError
from atproto_client.request import Response

from worker.cid import cid_of_blob
from worker.errors import MediaError
from worker.pds_errors import error_name, garbled, translate
from worker.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob
from worker.secrets import Secret

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """An account's tokens at its PDS; `active` is False for a deactivated account."""

    did: str
    access: Secret
    refresh: Secret
    active: bool = True


class Pds:
    """Calls to one PDS. Every method raises the errors of `worker.pds_errors`."""

    def __init__(self, url: str, *, timeout: float = 15) -> None:
        self._request = Request(
            timeout=httpx.Timeout(timeout, connect=3),
            limits=httpx.Limits(max_connections=16, keepalive_expiry=60),
            event_hooks={"response": [_refuse]},
        )
        self.url = url

    def close(self) -> None:
        """Close the connections."""
        self._request.close()

    def create_session(self, identifier: str, password: Secret) -> Session:
        """Log in; the PDS takes a third of a second for it and limits how often."""
        body = {"identifier": identifier, "password": password.reveal()}
        return _session(self._post("session", "com.atproto.server.createSession", body))

    def refresh_session(self, refresh: Secret) -> Session:
        """Trade a refresh token for new tokens."""
        nsid = "com.atproto.server.refreshSession"
        return _session(self._post("session", nsid, None, refresh))

    def put_record(
        self, token: Secret, key: RecordKey, record: Mapping[str, object], swap: str | None
    ) -> RecordRef:
        """Write a record, provided that `swap` is its present CID (None: that there is none).

        Sent again with the same content it changes nothing and succeeds, whatever `swap` is.
        """
        body = {**key.as_json(), "record": record, "validate": False, "swapRecord": swap}
        answer = self._post("write", "com.atproto.repo.putRecord", body, token)
        return RecordRef(answer.text("uri"), answer.text("cid"))

    def delete_record(self, token: Secret, key: RecordKey) -> None:
        """Delete a record; succeeds when there is none."""
        self._post("remove", "com.atproto.repo.deleteRecord", key.as_json(), token)

    def get_record(self, key: RecordKey) -> RemoteRecord | None:
        """Return a record as it is now, or None."""
        try:
            return _remote_record(self._get("com.atproto.repo.getRecord", key.as_json()))
        except MediaError as error:
            if error_name(error.__cause__) == "RecordNotFound":
                return None
            raise

    def list_records(
        self, repo: str, collection: str, cursor: str | None = None
    ) -> tuple[list[RemoteRecord], str | None]:
        """Return a page of a collection, newest key first, and the cursor of the next page."""
        params: dict[str, object] = {"repo": repo, "collection": collection, "limit": 100}
        if cursor:
            params["cursor"] = cursor
        answer = self._get("com.atproto.repo.listRecords", params)
        records = [_remote_record(item) for item in answer.objects("records")]
        return records, answer.optional_text("cursor")

    def upload_blob(self, token: Secret, data: bytes, mime_type: str) -> UploadedBlob:
        """Upload a blob to the token's account; it stays only if a record refers to it soon."""
        url = self._at("com.atproto.repo.uploadBlob")
        headers = _bearer(token) | {"Content-Type": mime_type}
        answer = self._call(
            "upload", lambda: self._request.post(url, headers=headers, content=data)
        )
        blob = answer.inner("blob")
        cid = blob.inner("ref").text("$link")
        return UploadedBlob(cid, blob.text("mimeType"), blob.number("size"))

    def get_blob(self, did: str, cid: str) -> bytes | None:
        """Return a blob's bytes, or None when the PDS does not have it."""
        url, params = self._at("com.atproto.sync.getBlob"), {"did": did, "cid": cid}
        try:
            content = _translated("read", lambda: self._request.get(url, params=params)).content
        except MediaError as error:
            # The lexicon says BlobNotFound; the reference PDS says InvalidRequest.
            if error_name(error.__cause__) in {"BlobNotFound", "InvalidRequest"}:
                return None
            raise
        if not isinstance(content, bytes) or cid_of_blob(content) != cid:
            raise garbled("read")
        return content

    def _post(
        self, step: str, nsid: str, body: Mapping[str, object] | None, token: Secret | None = None
    ) -> Json:
        headers = _bearer(token) if token else {}
        if body is None:
            return self._call(step, lambda: self._request.post(self._at(nsid), headers=headers))
        content = json.dumps(body, ensure_ascii=False).encode()
        headers |= {"Content-Type": "application/json"}
        return self._call(
            step, lambda: self._request.post(self._at(nsid), headers=headers, content=content)
        )

    def _get(self, nsid: str, params: Mapping[str, object]) -> Json:
        return self._call("read", lambda: self._request.get(self._at(nsid), params=dict(params)))

    def _at(self, nsid: str) -> str:
        return f"{self.url}/xrpc/{nsid}"

    def _call(self, step: str, send: Callable[[], Response]) -> Json:
        content = _translated(step, send).content
        if not isinstance(content, dict):
            raise garbled(step)
        return Json(step, content)


class Json:
    """An answer's body, read field by field; raises the garbled answer's error."""

    def __init__(self, step: str, body: Mapping[str, object]) -> None:
        self._step = step
        self._body = body

    def text(self, name: str) -> str:
        """Return a text field."""
        return self._typed(name, str)

    def optional_text(self, name: str) -> str | None:
        """Return a text field, or None when there is none."""
        return self._typed(name, str) if name in self._body else None

    def number(self, name: str) -> int:
        """Return a whole number field."""
        return self._typed(name, int)

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a flag, or the default when there is none."""
        return self._typed(name, bool) if name in self._body else default

    def inner(self, name: str) -> Json:
        """Return a field that is an object, to read on in it."""
        return Json(self._step, self._typed(name, dict))

    def mapping(self, name: str) -> Mapping[str, object]:
        """Return a field that is an object, as it is."""
        return self._typed(name, dict)

    def objects(self, name: str) -> list[Json]:
        """Return a field that is a list of objects."""
        items = self._typed(name, list)
        if not all(isinstance(item, dict) for item in items):
            raise garbled(self._step)
        return [Json(self._step, item) for item in items]

    def _typed(self, name: str, kind: type[T]) -> T:
        value = self._body.get(name)
        if not isinstance(value, kind):
            raise garbled(self._step)
        return value


def _translated(step: str, send: Callable[[], Response]) -> Response:
    # The SDK lets httpx's and pydantic's own errors through besides its own.
    try:
        return send()
    except (AtProtocolError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise translate(error, step) from error


def _refuse(response: httpx.Response) -> None:
    # Before the SDK does: it follows redirects, and reads errors only in their usual form.
    if not response.is_success:
        response.read()
        raise httpx.HTTPStatusError("refused", request=response.request, response=response)


def _bearer(token: Secret) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.reveal()}"}


def _session(answer: Json) -> Session:
    return Session(
        did=answer.text("did"),
        access=Secret(answer.text("accessJwt")),
        refresh=Secret(answer.text("refreshJwt")),
        active=answer.flag("active", default=True),
    )


def _remote_record(answer: Json) -> RemoteRecord:
    return RemoteRecord(answer.text("uri"), answer.text("cid"), answer.mapping("value"))
