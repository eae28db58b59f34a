"""Whose records are whose: by state, by `ref`, by age."""

from __future__ import annotations

from bson import ObjectId

from tests.unit.cars import DID, MOODS, repo_of
from worker.core.documents import DocumentId, ItemRef, MediaDocument, SyncState
from worker.core.fields import Fields
from worker.operations.audit.claims import Claim
from worker.operations.audit.matching import Expected, RecordMatcher
from worker.pds.repo_snapshot import CollectionRecords, RepoSnapshot
from worker.sync.plan import Skip


def document(item: DocumentId, rkey: str | None = None, repo: str | None = DID) -> Expected:
    """Return a document whose state names a record, or none."""
    state = SyncState(repo=repo if rkey else None, rkey=rkey)
    ref = ItemRef("mood", item)
    value = MediaDocument(ref, "ada", is_guest=False, hidden=None, fields=Fields({}), state=state)
    return Expected(value, Skip("any"))


def pairs(
    refs: dict[str, str | None], *expected: Expected, unnamed: frozenset[DocumentId] = frozenset()
) -> tuple[list[object], list[str]]:
    """Pair records, given by rkey and `ref`; return each document's own and twins, and the rest.

    The text of an `_id` in `unnamed` names another document.
    """
    records = {rkey: {"ref": ref} if ref else {} for rkey, ref in refs.items()}
    return pairs_of(records, *expected, unnamed=unnamed)


def pairs_of(
    records: dict[str, dict[str, str]],
    *expected: Expected,
    unnamed: frozenset[DocumentId] = frozenset(),
) -> tuple[list[object], list[str]]:
    """Pair records with documents."""
    matcher = RecordMatcher(DID, stored(records))
    cases = [matcher.match(each, is_named=each.document.ref.id not in unnamed) for each in expected]
    told: list[object] = [
        (case.own.rkey if case.own else None, *(twin.rkey for twin in case.duplicates))
        for case in cases
    ]
    rest = [record.rkey for record in matcher.unmatched()]
    for case in cases:
        matcher.release(case)
    assert [record.rkey for record in matcher.unmatched()] == list(records)
    return told, rest


def stored(records: dict[str, dict[str, str]]) -> CollectionRecords:
    """Return the records of a repo."""
    car = repo_of({f"{MOODS}/{rkey}": record for rkey, record in records.items()})
    return RepoSnapshot.read(DID, [car]).records(MOODS)


def test_claim_is_accepted_for_the_record_with_its_cid_only() -> None:
    """In any order, and once: two documents may claim one record that names none."""
    records = stored({"a": {"ref": "1"}, "b": {"ref": "2"}, "c": {}})
    cids = {rkey: record.cid for rkey, record in records.items()}
    matcher = RecordMatcher(DID, records)
    claims = [
        Claim("3", "c", cids["c"]),
        Claim("1", "a", cids["b"]),
        Claim("2", "b", cids["b"]),
        Claim("4", "c", cids["c"]),
        Claim("5", "z", cids["c"]),
        Claim("6"),
    ]
    assert [matcher.accept(claim) for claim in claims] == [2, None, 1, None, None, None]
    assert [record.rkey for record in matcher.unmatched()] == ["a"]


def test_accepted_document_that_another_record_names_is_matched_again() -> None:
    """With both records, and only if it was accepted."""
    records = stored({"a": {"ref": "1"}, "b": {"ref": "1", "old": ""}, "c": {"ref": "2"}})
    matcher = RecordMatcher(DID, records)
    assert matcher.accept(Claim("1", "b", records["b"].cid)) == 1
    first, second = document("1", "b"), document("2", "c")
    assert [matcher.retract(each.document) for each in (second, first, first)] == [
        False,
        True,
        False,
    ]
    match = matcher.match(first, is_named=True)
    assert match.own is not None
    assert [match.own.rkey, *(record.rkey for record in match.duplicates)] == ["b", "a"]


def test_record_belongs_to_the_document_whose_state_names_it() -> None:
    """Unless the record itself names another one, whoever wrote the state."""
    assert pairs({"a": None}, document("1", "a"), document("2")) == ([("a",), (None,)], [])
    assert pairs({"a": "2"}, document("1", "a"), document("2")) == ([(None,), ("a",)], [])


def test_of_two_ids_with_the_same_text_it_is_the_object_id_or_the_text() -> None:
    """As in a message."""
    item = ObjectId()
    first, second = document(str(item), "a"), document(item, "a")
    unnamed: frozenset[DocumentId] = frozenset({str(item), 7})
    told = pairs({"a": str(item)}, first, second, unnamed=unnamed)
    assert told == ([(None,), ("a",)], [])
    told = pairs({"a": "7"}, document(7, "a"), document("7"), unnamed=unnamed)
    assert told == ([(None,), ("a",)], [])


def test_record_belongs_to_the_document_that_it_names() -> None:
    """Where no state says otherwise; numbers are named by their digits."""
    assert pairs({"a": "1", "b": "2"}, document("1"), document(2)) == ([("a",), ("b",)], [])


def test_of_several_records_the_lowest_key_is_the_documents() -> None:
    """The others are twins."""
    assert pairs({"a": "1", "b": "1", "c": "1"}, document("1")) == ([("a", "b", "c")], [])


def test_of_several_records_the_one_that_the_state_names_is_the_documents() -> None:
    """Older ones are twins all the same."""
    assert pairs({"a": "1", "b": "1"}, document("1", "b")) == ([("b", "a")], [])


def test_state_that_names_no_record_does_not_count() -> None:
    """There is nothing at that key, or it is in another repo."""
    assert pairs({"a": "1"}, document("1", "z")) == ([("a",)], [])
    assert pairs({"a": "9"}, document("1", "a", "did:plc:other")) == ([(None,)], ["a"])


def test_of_two_documents_that_claim_a_record_it_is_the_one_that_it_names() -> None:
    """States of older programs name no repo, and may name one key twice."""
    first, second = document("1", "a", None), document("2", "a", None)
    assert pairs({"a": "2"}, first, second) == ([(None,), ("a",)], [])
    assert pairs({"a": "1"}, first, second) == ([("a",), (None,)], [])
    assert pairs({"a": None}, first, second) == ([("a",), (None,)], [])


def test_record_of_an_early_mood_names_its_document_in_mongo_id() -> None:
    """Where `ref` is missing, and only there."""
    records = {"a": {"mongoId": "1"}, "b": {"mongoId": "1", "ref": "2"}}
    assert pairs_of(records, document("1")) == ([("a",)], ["b"])


def test_records_of_nobody_are_strangers() -> None:
    """They name nothing, or a document that is not among these."""
    assert pairs({"a": None, "b": "9"}, document("1")) == ([(None,)], ["a", "b"])


def test_twin_of_one_document_is_not_another_ones_record() -> None:
    """Even if the state of that one names it."""
    told = pairs({"a": "1", "b": "1"}, document("1", "a"), document("2", "b"))
    assert told == ([("a", "b"), (None,)], [])
