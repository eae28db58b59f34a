"""The calls that nothing can avoid, made as cheaply as Python can: ready JSON, a kept connection.

The baseline of every figure: no Celery, no MongoDB, no Redis, no validation, no SDK.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from bson import ObjectId

from worker.core.clock import now, rfc3339
from worker.core.record_keys import tid_for
from worker.media import media_type


@dataclass(frozen=True, slots=True)
class Put:
    """A putRecord call: its token and its record, without a blob."""

    repo: str
    token: str = field(repr=False)
    collection: str
    rkey: str
    record: Mapping[str, object]

    def body(self, **blobs: object) -> bytes:
        """Return the call's body."""
        key = {"repo": self.repo, "collection": self.collection, "rkey": self.rkey}
        rest = {"record": {**self.record, **blobs}, "validate": False, "swapRecord": None}
        return json.dumps(key | rest).encode()


class RawPds:
    """One connection to a PDS."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def put(self, token: str, body: bytes) -> None:
        """Write a record."""
        self._post("com.atproto.repo.putRecord", token, "application/json", body)

    def upload(self, token: str, data: bytes) -> Mapping[str, object]:
        """Upload a PNG, and return what a record refers to it by."""
        blob: Mapping[str, object] = self._post(
            "com.atproto.repo.uploadBlob", token, "image/png", data
        )["blob"]
        return blob

    def log_in(self, handle: str, password: str) -> str:
        """Return an access token; the PDS takes a third of a second for it."""
        body = json.dumps({"identifier": handle, "password": password}).encode()
        answer = self._post("com.atproto.server.createSession", None, "application/json", body)
        return str(answer["accessJwt"])

    def create(self, token: str, body: bytes) -> None:
        """Write a record under a key of the PDS's choice."""
        self._post("com.atproto.repo.createRecord", token, "application/json", body)

    def apply(self, token: str, body: bytes) -> None:
        """Carry out many writes."""
        self._post("com.atproto.repo.applyWrites", token, "application/json", body)

    def export(self, repo: str) -> bytes:
        """Download a whole repo as a CAR file."""
        query = urlencode({"did": repo})
        self._connection.request("GET", f"/xrpc/com.atproto.sync.getRepo?{query}")
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"getRepo: {answer.status} {content[:200]!r}")
        return content

    def has_record(self, repo: str, collection: str, rkey: str) -> bool:
        """Tell whether a record can be read."""
        query = urlencode({"repo": repo, "collection": collection, "rkey": rkey}, quote_via=quote)
        self._connection.request("GET", f"/xrpc/com.atproto.repo.getRecord?{query}")
        answer = self._connection.getresponse()
        answer.read()
        return answer.status == http.HTTPStatus.OK

    def _post(self, nsid: str, token: str | None, content_type: str, body: bytes) -> Any:
        headers = {"Content-Type": content_type}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._connection.request("POST", f"/xrpc/{nsid}", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise ConnectionError(f"{nsid}: {answer.status} {content[:200]!r}")
        return json.loads(content)


def new_put(type_name: str, repo: str, token: str) -> Put:
    """Return a putRecord call for a new item, as a worker would send it."""
    item, when, nsid = ObjectId(), now(), media_type(type_name).nsid
    texts: Mapping[str, Mapping[str, str]] = {
        "mood": {"text": "drawing on the train"},
        "painting": {
            "slug": f"painting-{item}",
            "code": "abcd",
            "imageUrl": "https://aesthetic.computer/media/paintings/abcd",
            "acUrl": "https://aesthetic.computer/#abcd",
        },
    }
    record = {"$type": nsid, **texts[type_name], "when": rfc3339(when), "ref": str(item)}
    return Put(repo, token, nsid, tid_for(item, when), record)
