"""A client of the PDS that only reads: plain HTTP, nothing in common with the worker's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpx
import libipld


@dataclass(frozen=True, slots=True)
class Found:
    """A record as the PDS gives it."""

    uri: str
    cid: str
    value: dict[str, Any]


class Reader:
    """Reads repos without an account. Methods raise httpx.HTTPError."""

    def __init__(self, pds_url: str) -> None:
        self._http = httpx.Client(base_url=f"{pds_url}/xrpc/", timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def record(self, did: str, collection: str, rkey: str) -> Found | None:
        """Return a record, or None when there is none."""
        params = {"repo": did, "collection": collection, "rkey": rkey}
        answer = self._http.get("com.atproto.repo.getRecord", params=params)
        refused = answer.status_code == httpx.codes.BAD_REQUEST
        if refused and answer.json().get("error") == "RecordNotFound":
            return None
        return _found(answer.raise_for_status().json())

    def records(self, did: str, collection: str) -> Iterator[Found]:
        """Go through all records of a collection."""
        params = {"repo": did, "collection": collection, "limit": "100"}
        for page in self._pages("com.atproto.repo.listRecords", params):
            yield from map(_found, page["records"])

    def exported(self, did: str) -> set[str]:
        """Return the CIDs of all records in a repo's export, whatever their collection.

        The other blocks, of the tree and the commit, have no `$type`.
        Source: https://atproto.com/specs/repository
        """
        answer = self._http.get("com.atproto.sync.getRepo", params={"did": did})
        _, blocks = libipld.decode_car(answer.raise_for_status().content)
        return {
            libipld.encode_cid(cid)
            for cid, block in blocks.items()
            if isinstance(block, dict) and "$type" in block
        }

    def blob(self, did: str, cid: str) -> tuple[bytes, str] | None:
        """Return a blob's bytes and the MIME type it is served as; None if it is not all there.

        Each on a connection of its own: after a blob of another length than was announced, what
        comes next on a connection is anything.
        """
        params, alone = {"did": did, "cid": cid}, {"Connection": "close"}
        try:
            answer = self._http.get("com.atproto.sync.getBlob", params=params, headers=alone)
        except httpx.RemoteProtocolError:
            return None
        if answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND}:
            return None
        answer.raise_for_status()
        return answer.content, answer.headers.get("Content-Type", "").partition(";")[0]

    def blobs(self, did: str) -> set[str]:
        """Return the CIDs of all blobs that a repo refers to."""
        pages = self._pages("com.atproto.sync.listBlobs", {"did": did, "limit": "500"})
        return {cid for page in pages for cid in page["cids"]}

    def _pages(self, method: str, params: dict[str, str]) -> Iterator[Any]:
        while True:
            page = self._json(method, params)
            yield page
            if not page.get("cursor"):
                return
            params = {**params, "cursor": page["cursor"]}

    def _json(self, method: str, params: dict[str, str]) -> Any:
        return self._http.get(method, params=params).raise_for_status().json()


def _found(answer: Any) -> Found:
    return Found(answer["uri"], answer["cid"], answer["value"])
