"""Read all records and blobs from the PDS, and compare them with the documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults import expected
from tests.faults.expected import FoundRecord, PdsReader
from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import Person, UploadedItem

_TID = re.compile(r"[234567abcdefghij][2-7a-z]{12}")


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong with each item, in their order, and records and blobs that belong to none."""

    faults: tuple[tuple[str, ...], ...]
    strays: tuple[str, ...]

    @property
    def complaints(self) -> list[str]:
        """Return all faults and strays."""
        return [*(fault for faults in self.faults for fault in faults), *self.strays]


@dataclass(slots=True)
class _Seen:
    """The URIs of records and the CIDs of blobs, by DID, that belong to an item."""

    records: set[str] = field(default_factory=set)
    blobs: dict[str, set[str]] = field(default_factory=dict)


class Verification:
    """Compares repos with documents; `people` own all repos."""

    def __init__(self, platform: Platform, reader: PdsReader, people: Sequence[Person]) -> None:
        self._platform = platform
        self._reader = reader
        self._dids = [person.did for person in people if person.did]

    def run(self, items: Sequence[UploadedItem]) -> Report:
        """Verify all items, and that the repos contain nothing else."""
        listed = {found.uri: found for found in self._list_records()}
        seen = _Seen()
        faults = tuple(tuple(self._item_faults(item, listed, seen)) for item in items)
        return Report(faults, tuple(self._strays(listed, seen)))

    def _list_records(self) -> Iterator[FoundRecord]:
        for did in self._dids:
            for name in expected.TYPES:
                yield from self._reader.records(did, expected.nsid(name))

    def _item_faults(
        self, item: UploadedItem, listed: Mapping[str, FoundRecord], seen: _Seen
    ) -> Iterator[str]:
        state = self._platform.state(item.type, item.id)
        yield from self._document_faults(item)
        yield from _state_faults(item, state)
        if item.is_published:
            yield from self._record_faults(item, state, listed, seen)
        elif state.get("uri"):
            yield f"its state still names the record {state['uri']}"

    def _document_faults(self, item: UploadedItem) -> Iterator[str]:
        now = self._platform.document(item.type, item.id)
        for name in sorted(now.keys() | item.document.keys()):
            if now.get(name) != item.document.get(name):
                yield f"its document's {name} was changed to {now.get(name)!r}"

    def _record_faults(
        self,
        item: UploadedItem,
        state: RawDocument,
        listed: Mapping[str, FoundRecord],
        seen: _Seen,
    ) -> Iterator[str]:
        did, collection = item.owner.did or "", expected.nsid(item.type)
        rkey = str(state.get("rkey"))
        uri = f"at://{did}/{collection}/{rkey}"
        if state.get("uri") != uri:
            yield f"its state names {state.get('uri')}, and {uri} is where it should be"
        if not _TID.fullmatch(rkey):
            yield f"its rkey {rkey!r} is not a TID"
        found = self._reader.record(did, collection, rkey)
        if found is None:
            yield "the PDS has no record of it"
            return
        seen.records.add(uri)
        if listed.get(uri) != found:
            yield "listRecords and getRecord do not agree about it"
        if state.get("cid") != found.cid:
            yield f"its state says {state.get('cid')}, the PDS {found.cid}"
        blob_field = expected.BLOB_FIELDS.get(item.type, "")
        yield from _value_faults(item, found, blob_field)
        yield from self._blob_faults(item, found.value.get(blob_field), did, seen)

    def _blob_faults(self, item: UploadedItem, ref: object, did: str, seen: _Seen) -> Iterator[str]:
        if not isinstance(ref, dict):
            if item.file is not None:
                yield f"the record has no {expected.BLOB_FIELDS[item.type]}"
            return
        cid = str(ref["ref"]["$link"])
        seen.blobs.setdefault(did, set()).add(cid)
        fetched = self._reader.blob(did, cid)
        if fetched is None:
            yield f"the PDS does not have the blob {cid}, or not the whole of it"
            return
        data, mime_type = fetched
        if expected.blob_cid(data) != cid:
            yield f"the bytes of the blob {cid} are those of {expected.blob_cid(data)}"
        if (ref["size"], ref["mimeType"]) != (len(data), mime_type):
            yield f"the blob is {len(data)} bytes of {mime_type}, not as the record says: {ref}"
        if fault := expected.blob_fault(item, data, mime_type):
            yield f"the blob {cid}: {fault}"

    def _strays(self, listed: Mapping[str, FoundRecord], seen: _Seen) -> Iterator[str]:
        known = {listed[uri].cid for uri in listed.keys() & seen.records}
        for uri in sorted(listed.keys() - seen.records):
            yield f"{uri} belongs to no item: {listed[uri].value}"
            known.add(listed[uri].cid)
        for did in self._dids:
            for cid in sorted(self._reader.export(did) - known):
                yield f"the record {cid} in the export of {did} belongs to no item"
            for cid in sorted(self._reader.blobs(did) - seen.blobs.get(did, set())):
                yield f"the blob {cid} of {did} belongs to no item"


def _state_faults(item: UploadedItem, state: RawDocument) -> Iterator[str]:
    if state.get("status") != item.status:
        yield f"its status is {state.get('status')}, and should be {item.status}"
    why = _why(state)
    if why != item.why:
        yield f"the reason is {why}, and should be {item.why}"


def _why(state: RawDocument) -> str | None:
    """Return the code of a state's error, or else the reason that it gives."""
    error = state.get("error")
    why = error.get("code") if isinstance(error, dict) else state.get("reason")
    return None if why is None else str(why)


def _value_faults(item: UploadedItem, found: FoundRecord, blob_field: str) -> Iterator[str]:
    right = expected.record(item)
    there = {name: value for name, value in found.value.items() if name != blob_field}
    for name in sorted(right.keys() | there.keys()):
        if right.get(name) != there.get(name):
            yield f"{name} is {there.get(name)!r}, and should be {right.get(name)!r}"
    if item.cid_before == found.cid:
        yield "the record was not written anew"
