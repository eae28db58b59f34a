"""The expected record of a document, derived from the published rules alone.

Shares no code with the engine or with its PDS client, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
import libipld
from PIL import Image, ImageChops, ImageOps, ImageStat

from worker.dev.demo.uploads import UploadedItem

SITE = "https://aesthetic.computer"
TYPES = ("painting", "mood", "piece", "kidlisp")
BLOB_FIELDS = {"painting": "thumbnail", "piece": "source"}
_SIDE = 512
_DOWNSCALED = 32  # pixels a side: enough to tell pictures apart
_MAX_DIFFERENCE = 12.0  # of 255, on average


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record as the PDS gives it."""

    uri: str
    cid: str
    value: dict[str, Any]


class PdsReader:
    """Reads repos without an account. Methods raise httpx.HTTPError."""

    def __init__(self, pds_url: str) -> None:
        self._http = httpx.Client(base_url=f"{pds_url}/xrpc/", timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def record(self, did: str, collection: str, rkey: str) -> FoundRecord | None:
        """Return a record, or None if it is missing."""
        params = {"repo": did, "collection": collection, "rkey": rkey}
        answer = self._http.get("com.atproto.repo.getRecord", params=params)
        refused = answer.status_code == httpx.codes.BAD_REQUEST
        if refused and answer.json().get("error") == "RecordNotFound":
            return None
        return _parse_record(answer.raise_for_status().json())

    def records(self, did: str, collection: str) -> Iterator[FoundRecord]:
        """Yield all records of a collection."""
        params = {"repo": did, "collection": collection, "limit": "100"}
        for page in self._pages("com.atproto.repo.listRecords", params):
            yield from map(_parse_record, page["records"])

    def export(self, did: str) -> set[str]:
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
        """Return a blob's bytes and the MIME type it is served as; None if any of it is missing.

        Each call uses a connection of its own, because a blob that is longer or shorter than
        announced leaves its connection in an undefined state.
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


def _parse_record(answer: Any) -> FoundRecord:
    return FoundRecord(answer["uri"], answer["cid"], answer["value"])


def nsid(type_name: str) -> str:
    """Return the collection of a type's records."""
    return f"computer.aesthetic.{type_name}"


def record(item: UploadedItem) -> dict[str, object]:
    """Return the fields of an item's record, except its blob."""
    document = item.document
    when = document["when"]
    if not isinstance(when, datetime):
        raise TypeError(f"{item.type} {item.id} was saved without a date")
    moment = f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"
    common = {"$type": nsid(item.type), "when": moment, "ref": str(item.id)}
    return common | _own_fields(item, {name: str(value) for name, value in document.items()})


def _own_fields(item: UploadedItem, document: dict[str, str]) -> dict[str, object]:
    match item.type:
        case "mood":
            return {"mood": document["mood"], "text": document["mood"]}
        case "kidlisp":
            code = document["code"]
            return {"code": code, "source": document["source"], "acUrl": f"{SITE}/${code}"}
        case "piece":
            name = item.owner.screen_name
            path = f"@{name}/" if name else ""
            url = f"{SITE}/{path}{quote(document['slug'])}"
            return {"slug": document["slug"], "code": document["code"], "acUrl": url}
        case _:
            return _painting(document)


def _painting(document: dict[str, str]) -> dict[str, object]:
    code = document["code"]
    urls = {"imageUrl": f"{SITE}/media/paintings/{code}", "acUrl": f"{SITE}/#{code}"}
    return {"slug": document["slug"], "code": code, **urls}


def blob_cid(data: bytes) -> str:
    """Return the CID of a blob: version 1, raw, SHA-256, in base32.

    https://atproto.com/specs/data-model#link-and-cid-formats
    """
    cid = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()
    return "b" + base64.b32encode(cid).decode().lower().rstrip("=")


def blob_fault(item: UploadedItem, data: bytes, mime_type: str) -> str | None:
    """Return what is wrong with a blob for an item that has a file, or None."""
    if item.file is None:
        return "it has a blob without a file"
    if item.type == "piece":
        if mime_type != "text/javascript":
            return f"a program should be text/javascript, not {mime_type}"
        return None if data == item.file.read_bytes() else "it is not the program that was uploaded"
    if mime_type not in {"image/png", "image/jpeg"}:
        return f"a thumbnail should be image/png or image/jpeg, not {mime_type}"
    return _thumbnail_fault(data, mime_type, item.file)


def _thumbnail_fault(data: bytes, mime_type: str, file: Path) -> str | None:
    with Image.open(BytesIO(data)) as thumbnail:
        found = thumbnail.get_format_mimetype(), thumbnail.size
        if found != (mime_type, (_SIDE, _SIDE)):
            return f"it is {found[0]} of {found[1]}, not {mime_type} of {_SIDE}x{_SIDE}"
        seen = thumbnail.convert("RGB").resize((_DOWNSCALED, _DOWNSCALED), Image.Resampling.BOX)
    with Image.open(file) as original:
        peek = _downscale(original)
    unlike = sum(ImageStat.Stat(ImageChops.difference(seen, peek)).mean) / 3
    return f"it does not look like {file.name}" if unlike > _MAX_DIFFERENCE else None


def _downscale(picture: Image.Image) -> Image.Image:
    """Return an opaque picture very small, letterboxed to a square."""
    large = ImageOps.pad(picture.convert("RGB"), (_SIDE, _SIDE), Image.Resampling.BOX)
    return large.resize((_DOWNSCALED, _DOWNSCALED), Image.Resampling.BOX)
