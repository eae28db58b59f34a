"""What holds for every valid record, and for every way to spoil one."""

from __future__ import annotations

import copy
from datetime import UTC
from typing import Any

import libipld
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lexicon_samples import field_of, required_of
from worker.core.cid import cid_of_blob, encode_record
from worker.core.errors import PermanentError
from worker.media.validation import load_lexicons
from worker.media.validation.data_model import MAX_INTEGER
from worker.media.validation.errors import Violation
from worker.media.validation.schema import read_lexicon

LEXICONS = load_lexicons()
Record = dict[str, Any]
Definition = dict[str, Any]


def definitions(nsid: str) -> dict[str, Definition]:
    """Return the definitions of a type's fields, as its document gives them."""
    document: Any = LEXICONS.document(nsid)
    fields: dict[str, Definition] = document["defs"]["main"]["record"]["properties"]
    return fields


FIELDS = {nsid: definitions(nsid) for nsid in LEXICONS.nsids}
nsids = st.sampled_from(LEXICONS.nsids)
dates = st.datetimes(timezones=st.just(UTC)).map(
    lambda when: when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
)
paths = st.text("abcXYZ019-._~!$&'()*+,;=:@/?", max_size=60)
urls = st.builds("https://{}.example/{}".format, st.text("abc", min_size=1, max_size=20), paths)
cids = st.binary(max_size=8).map(cid_of_blob)


def within(limit: int) -> st.SearchStrategy[str]:
    """Return texts of `limit` bytes at most, often exactly that many."""
    short = st.text(max_size=30).filter(lambda text: len(text.encode()) <= limit)
    return short | short.map(lambda text: text + "x" * (limit - len(text.encode())))


def values(definition: Definition) -> st.SearchStrategy[object]:
    """Return the values that a field may have."""
    if definition["type"] == "blob":
        mime_types = [pattern.replace("*", "plain") for pattern in definition["accept"]]
        return st.fixed_dictionaries(
            {
                "$type": st.just("blob"),
                "ref": st.fixed_dictionaries({"$link": cids}),
                "mimeType": st.sampled_from(mime_types),
                "size": st.integers(1, definition["maxSize"]),
            }
        )
    if (name := definition.get("format")) is not None:
        return {"datetime": dates, "uri": urls}[name]
    return within(definition.get("maxLength", 600))


def records_of(nsid: str) -> st.SearchStrategy[Record]:
    """Return the valid records of a type, with and without each of its optional fields."""
    fields = {name: values(definition) for name, definition in FIELDS[nsid].items()}
    required = required_of(nsid)
    return st.fixed_dictionaries(
        {"$type": st.just(nsid), **{name: fields[name] for name in sorted(required)}},
        optional={name: part for name, part in fields.items() if name not in required},
    )


RECORDS = {nsid: records_of(nsid) for nsid in LEXICONS.nsids}
records = nsids.flatmap(RECORDS.__getitem__)

not_data = st.one_of(
    st.floats(),
    st.integers(min_value=MAX_INTEGER + 1),
    st.integers(max_value=-MAX_INTEGER - 1),
    st.binary(),
    st.tuples(st.text()),
    st.builds("{}{}".format, st.text(max_size=5), st.characters(categories=["Cs"])),
)
not_text: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers(0, 9) | st.lists(st.text()) | st.just({})
)


def refused_field(record: Record, changes: Record) -> str:
    """Return the field that a valid record is refused for once `changes` are made to it."""
    with pytest.raises(PermanentError) as refusal:
        LEXICONS.validate(record["$type"], record | changes)
    assert refusal.value.message.encode()
    return field_of(refusal.value)


@given(records)
def test_valid_records_pass_and_can_be_encoded(record: Record) -> None:
    """What is valid can be stored, and comes back from its block as it was."""
    LEXICONS.validate(record["$type"], record)
    decoded = libipld.decode_dag_cbor(encode_record(record))
    assert {name for name in record if record[name] != decoded[name]} <= {"thumbnail", "source"}


@given(records, st.data())
def test_dropping_a_required_field_is_refused(record: Record, data: st.DataObject) -> None:
    """Each required field is missed by name."""
    field = data.draw(st.sampled_from(sorted(required_of(record["$type"]))))
    del record[field]
    assert refused_field(record, {}) == field


@given(records, st.data(), not_text)
def test_a_value_of_the_wrong_type_is_refused(
    record: Record, data: st.DataObject, value: object
) -> None:
    """No field takes a null, a boolean, a number, a list or an empty object."""
    field = data.draw(st.sampled_from(sorted(record)))
    assert refused_field(record, {field: value}).split(".")[0] == field


@given(records, st.data(), not_data)
def test_what_is_no_data_is_refused_wherever_it_is(
    record: Record, data: st.DataObject, value: object
) -> None:
    """Floats, huge integers, bytes and broken text are found in declared and other fields."""
    field = data.draw(st.sampled_from([*sorted(record), "surprise"]))
    assert refused_field(record, {field: value}) == field


@given(records, st.text("abcdefgh", min_size=1), st.text())
def test_an_undeclared_field_is_refused(record: Record, name: str, value: str) -> None:
    """Only the lexicon's own fields may be published."""
    field = f"x{name}"
    assert refused_field(record, {field: value}) == field[:40]


@given(records, st.data())
def test_one_byte_over_a_limit_is_refused(record: Record, data: st.DataObject) -> None:
    """Limits count UTF-8 bytes, and blobs' sizes."""
    fields = FIELDS[record["$type"]]
    limited = [name for name in fields if {"maxLength", "maxSize"} & fields[name].keys()]
    field = data.draw(st.sampled_from(limited))
    if fields[field]["type"] == "blob":
        blob: Any = data.draw(values(fields[field]))
        blob["size"] = fields[field]["maxSize"] + 1
        assert refused_field(record, {field: blob}) == f"{field}.size"
        return
    start = "https://a.example/" if "format" in fields[field] else data.draw(st.text(max_size=3))
    text = start + "x" * (fields[field]["maxLength"] + 1 - len(start.encode()))
    assert refused_field(record, {field: text}) == field


@given(records, st.data(), st.text())
def test_text_in_the_wrong_format_is_refused(
    record: Record, data: st.DataObject, text: str
) -> None:
    """Dates and URLs with something strange in front are neither."""
    fields = FIELDS[record["$type"]]
    field = data.draw(st.sampled_from([name for name in fields if "format" in fields[name]]))
    assert refused_field(record, {field: " " + text}) == field


@given(st.sampled_from(["computer.aesthetic.painting", "computer.aesthetic.piece"]), st.data())
def test_a_spoilt_blob_is_refused_by_its_part(nsid: str, data: st.DataObject) -> None:
    """Every part of a blob reference is needed and checked."""
    (field,) = LEXICONS.blob_rules(nsid)
    record = data.draw(RECORDS[nsid])
    blob: Any = data.draw(values(FIELDS[nsid][field]))
    part = data.draw(st.sampled_from(["$type", "ref", "mimeType", "size", "extra"]))
    blob[part] = data.draw(st.sampled_from([None, False, "", [], -1]))
    assert refused_field(record, {field: blob}) == f"{field}.{part}"


def outcome(document: object, nsid: str) -> str:
    """Return the NSID of a lexicon that can be used, or the place where it is at fault."""
    try:
        return read_lexicon(document, nsid).nsid
    except Violation as fault:
        return fault.field


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(nsids, st.data(), json_values)
def test_a_damaged_lexicon_is_read_or_refused_never_worse(
    nsid: str, data: st.DataObject, value: object
) -> None:
    """Any JSON in any place of a lexicon leads to a usable lexicon or to a named fault."""
    document: Any = copy.deepcopy(LEXICONS.document(nsid))
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    assert outcome(document, nsid)
