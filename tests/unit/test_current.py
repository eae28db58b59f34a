"""Which published records are current: those of older programs, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import pytest

from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.current import is_current, optional_additions
from worker.core.documents import BlobState, ItemRef, MediaDocument, SyncState
from worker.core.fields import Fields
from worker.core.records import document_ref
from worker.media import media_type

Record = Mapping[str, object]


def blob(data: bytes) -> Record:
    """Return a reference to a blob."""
    link = {"$link": cid_of_blob(data)}
    return {"$type": "blob", "ref": link, "mimeType": "text/javascript", "size": len(data)}


MOOD: Record = {"$type": "computer.aesthetic.mood", "mood": "calm", "when": "now", "ref": "1"}
PIECE: Record = {
    "$type": "computer.aesthetic.piece",
    "slug": "walk",
    "code": "abc",
    "acUrl": "https://aesthetic.computer/walk",
    "source": blob(b"walk"),
    "when": "now",
    "ref": "1",
}
ADDITIONS = media_type("piece").additions
SUBSETS = [
    subset for count in range(len(ADDITIONS) + 1) for subset in combinations(ADDITIONS, count)
]


def without(record: Record, *names: str) -> dict[str, object]:
    """Return a record without some fields."""
    return {name: value for name, value in record.items() if name not in names}


def named_by_mongo_id(record: Record) -> dict[str, object]:
    """Return a record with `mongoId` in place of `ref`."""
    return {**without(record, "ref"), "mongoId": record["ref"]}


def current(published: Record, expected: Record, additions: tuple[str, ...] = ADDITIONS) -> bool:
    """Compare a published record with the expected one."""
    return is_current(cid_of_record(published), cid_of_record(expected), expected, additions)


@pytest.mark.parametrize("removed", SUBSETS, ids=" and ".join)
def test_records_may_lack_any_additions(removed: tuple[str, ...]) -> None:
    """With `ref`, or with `mongoId` in its place."""
    older = without(PIECE, *removed)
    assert current(older, PIECE)
    assert current(named_by_mongo_id(older), PIECE)


def test_records_may_lack_additions_that_the_expected_record_has_not() -> None:
    """A painting without a code has none to remove."""
    expected = without(PIECE, "code")
    assert current(without(expected, "source"), expected)
    assert not current(PIECE, expected)


def test_moods_may_lack_the_text_and_the_ref() -> None:
    """The early moods of one user have neither."""
    expected = {**MOOD, "text": "calm"}
    assert current(MOOD, expected, ("text",))
    assert current(named_by_mongo_id(MOOD), expected, ("text",))
    assert current(named_by_mongo_id(expected), expected, ("text",))


@pytest.mark.parametrize(
    "change",
    [
        {"acUrl": "https://old.example/walk"},
        {"code": "abd"},
        {"source": blob(b"run")},
        {"slug": "run"},
        {"when": "later"},
        {"ref": "2"},
        {"mongoId": "1"},
        {"stranger": 1},
        {"acUrl": None},
    ],
    ids=str,
)
def test_any_other_difference_is_not_current(change: Record) -> None:
    """An addition that is present must be right, whatever others are missing."""
    for removed in SUBSETS:
        assert not current({**without(PIECE, *removed), **change}, PIECE)


@pytest.mark.parametrize("name", ["$type", "slug", "when", "ref"])
def test_other_fields_may_not_be_missing(name: str) -> None:
    """Without additions or with them."""
    assert not current(without(PIECE, name), PIECE)
    assert not current(without(PIECE, name, *ADDITIONS), PIECE)


def test_types_without_additions_have_two_current_records() -> None:
    """The one with `ref`, and the one with `mongoId`."""
    assert current(named_by_mongo_id(PIECE), PIECE, ())
    assert not current(without(PIECE, "code"), PIECE, ())


def piece(**state: object) -> MediaDocument:
    """Return a piece with a state that knows its content."""
    fields = Fields({"slug": "walk"})
    known = SyncState(**{"fingerprint": fields.fingerprint, **state})  # type: ignore[arg-type]
    ref = ItemRef("piece", 1)
    return MediaDocument(ref, "ada", is_guest=False, hidden=None, fields=fields, state=known)


@pytest.mark.parametrize("state", [{}, {"cid": "bafy", "adopted": True}, {"fingerprint": None}])
def test_additions_are_optional_in_records_of_older_programs(state: dict[str, object]) -> None:
    """In one that is adopted, and in one that no run has read."""
    assert optional_additions(ADDITIONS, piece(**state)) == [*ADDITIONS]


def test_a_blob_that_the_state_knows_is_not_optional() -> None:
    """It was uploaded for this record, or its file is awaited."""
    failed = piece(cid="bafy", adopted=True, blobs={"source": BlobState()})
    assert optional_additions(ADDITIONS, failed) == ["acUrl", "code"]


@pytest.mark.parametrize(
    "state",
    [
        {"cid": "bafy"},
        {"cid": "bafy", "adopted": True, "fingerprint": "of an earlier content"},
        {"fingerprint": "of an earlier content"},
    ],
    ids=["own record", "edited", "edited, and not read yet"],
)
def test_no_addition_is_optional_in_own_records_and_after_an_edit(state: dict[str, object]) -> None:
    """An edit causes a rewrite, also of an addition alone."""
    assert optional_additions(ADDITIONS, piece(**state)) == []


def test_other_records_are_computed_only_if_necessary() -> None:
    """An audit compares 50,000 records: most have the CID of the expected one, or none."""
    not_computable: Record = {"acUrl": object()}
    assert is_current("cid", "cid", not_computable, ADDITIONS)
    assert not is_current(None, "cid", not_computable, ADDITIONS)


def test_record_names_its_document_in_ref_or_else_in_mongo_id() -> None:
    """Only text counts, and `mongoId` only where there is no `ref` at all."""
    assert document_ref({"ref": "1", "mongoId": "2"}) == "1"
    assert document_ref({"mongoId": "2"}) == "2"
    assert document_ref({"ref": 1, "mongoId": "2"}) is None
    assert document_ref({}) is None
