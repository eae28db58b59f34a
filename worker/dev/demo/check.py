"""Check the result of the demo: read records and blobs back from the PDS.

Does not use the worker's PDS client, so that a bug in it cannot hide a difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx

from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import UploadedItem

# By type: the field of the document, and the field of the record that must equal it.
_TEXTS = {
    "painting": ("slug", "slug"),
    "mood": ("mood", "mood"),
    "piece": ("slug", "slug"),
    "kidlisp": ("source", "source"),
}
_BLOBS = {"painting": "thumbnail", "piece": "source"}
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """An item, its state in MongoDB, and its differences from what is expected."""

    item: UploadedItem
    status: str
    why: str
    uri: str
    faults: Sequence[str]


def check_items(platform: Platform, pds_url: str, items: Sequence[UploadedItem]) -> list[Result]:
    """Compare all items with the repos of their owners. Raises httpx.HTTPError."""
    dids = {item.owner.did for item in items if item.owner.did}
    with httpx.Client(base_url=f"{pds_url}/xrpc/", timeout=30, trust_env=False) as http:
        records: dict[str, list[Record]] = defaultdict(list)
        for did, name in product(sorted(dids), _TEXTS):
            params = {"repo": did, "collection": f"computer.aesthetic.{name}", "limit": "100"}
            answer = http.get("com.atproto.repo.listRecords", params=params).raise_for_status()
            for record in answer.json()["records"]:
                records[str(record["value"].get("ref"))].append(record)
        return [
            _check(http, item, platform.state(item.type, item.id), records[str(item.id)])
            for item in items
        ]


def _check(
    http: httpx.Client, item: UploadedItem, state: RawDocument, records: Sequence[Record]
) -> Result:
    """Check an item; `records` are those whose `ref` is its id."""
    error = state.get("error")
    status = str(state.get("status"))
    why = error["code"] if isinstance(error, dict) else state.get("reason")
    faults = []
    if (status, why) != (item.status, item.why):
        faults.append(f"is {status} ({why}) instead of {item.status} ({item.why})")
    if item.is_published:
        faults += _compare(http, item, str(state.get("rkey")), records)
    elif records:
        faults.append(f"still has the record {records[0]['uri']}")
    return Result(item, status, str(why or ""), str(state.get("uri") or ""), faults)


def _compare(
    http: httpx.Client, item: UploadedItem, rkey: str, records: Sequence[Record]
) -> Iterator[str]:
    """Yield the faults of an item's record and blob."""
    expected = f"at://{item.owner.did}/computer.aesthetic.{item.type}/{rkey}"
    found = [record["uri"] for record in records]
    if found != [expected]:
        yield f"has the records {found} instead of {expected}"
        return
    value = records[0]["value"]
    source, target = _TEXTS[item.type]
    if value.get(target) != item.document[source]:
        yield f"has the {target} {value.get(target)!r} instead of {item.document[source]!r}"
    if records[0]["cid"] == item.cid_before:
        yield "has a record from before its edit"
    if item.file and item.status == "synced":
        yield from _check_blob(http, item.owner.did, value.get(_BLOBS[item.type]))


def _check_blob(http: httpx.Client, did: str | None, blob: Record | None) -> Iterator[str]:
    if blob is None:
        yield "has a record without its blob"
        return
    params = {"did": did, "cid": blob["ref"]["$link"]}
    answer = http.get("com.atproto.sync.getBlob", params=params)
    if answer.is_error or len(answer.content) != blob["size"]:
        yield f"has an unreadable blob {params['cid']} (HTTP {answer.status_code})"
