"""A repo read from a CAR file: what it holds, and what is wrong with a bad one."""

from __future__ import annotations

from collections.abc import Callable

import libipld
import pytest

from tests.unit.cars import DID, MOODS, Block, Car, entry, node, raw_cid, repo_of
from worker.core.cid import cid_of_blob, cid_of_record, raw_cid_of_record
from worker.core.errors import TransientError
from worker.pds.repo_snapshot import RepoDamagedError, RepoSnapshot

CALM = {"$type": MOODS, "text": "calm", "ref": "1"}
LINK = {"$link": cid_of_blob(b"picture")}
PICTURE = raw_cid(LINK["$link"])


def damage(car: bytes) -> str:
    """Return what is wrong with a CAR file."""
    with pytest.raises(RepoDamagedError) as raised:
        list(RepoSnapshot.read(DID, [car]).records(MOODS).items())
    assert isinstance(raised.value, TransientError)
    assert DID in raised.value.message
    return raised.value.message.partition(f"{DID}: ")[2]


def test_records_come_by_collection_in_the_order_of_rkeys() -> None:
    """Other collections of the repo are kept apart."""
    records: dict[str, Block] = {
        f"{MOODS}/a": CALM,
        f"{MOODS}/b": {**CALM, "ref": "2"},
        "other.app/a": {"x": 1},
    }
    snapshot = RepoSnapshot.read(DID, [repo_of(records)])
    assert list(snapshot.records(MOODS)) == ["a", "b"]
    assert snapshot.counts == {MOODS: 2, "other.app": 1}
    assert snapshot.records("no.such") == {}


def test_record_is_found_from_any_position() -> None:
    """The search begins where the last one ended."""
    records = RepoSnapshot.read(DID, [repo_of({f"{MOODS}/{key}": CALM for key in "bdfhj"})])
    moods = records.records(MOODS)
    for near in range(7):
        assert [moods.position(key, near) for key in "bdfhj"] == [0, 1, 2, 3, 4]
        assert [moods.position(key, near) for key in ("a", "c", "k", "é", "")] == [None] * 5


def test_record_has_the_cid_and_value_that_it_was_written_with() -> None:
    """In JSON form, links included."""
    blob = {"$type": "blob", "ref": LINK, "mimeType": "image/png", "size": 7}
    value: dict[str, object] = {**CALM, "thumbnail": blob, "raw": {"$bytes": "AQI"}, "list": [1]}
    car = Car()
    stored = {**value, "raw": b"\1\2", "thumbnail": {**blob, "ref": PICTURE}}
    tree = car.add(node([entry(f"{MOODS}/a", car.add(stored))]))
    record = RepoSnapshot.read(DID, [car.commit(tree)]).records(MOODS)["a"]
    assert record.cid == cid_of_record(value)
    assert record.raw_cid == raw_cid_of_record(value)
    assert record.value == value


def test_blobs_are_found_at_any_depth_and_once_each() -> None:
    """The same picture twice is one blob; what only looks like one is none."""
    one, two = raw_cid(cid_of_blob(b"1")), raw_cid(cid_of_blob(b"2"))
    blob = {"$type": "blob", "ref": one}
    parts = {"a": blob, "b": [{"c": blob}, {"$type": "blob", "ref": two}]}
    lookalikes = {"d": {"$type": "blob", "ref": "text"}, "e": {"ref": raw_cid(cid_of_blob(b"3"))}}
    snapshot = RepoSnapshot.read(DID, [repo_of({f"{MOODS}/a": {**parts, **lookalikes}})])
    blobs = snapshot.records(MOODS)["a"].blobs
    assert blobs == (cid_of_blob(b"1"), cid_of_blob(b"2"))


def test_records_of_one_document_come_oldest_first() -> None:
    """The lowest rkey first; early ones name it in `mongoId`, and those of none are left out."""
    moods: dict[str, Block] = {
        "3kb": CALM,
        "3ka": CALM,
        "3kc": {"text": "no ref"},
        "3kd": {**CALM, "ref": 1},
        "3ke": {"text": "early", "mongoId": "1"},
        "3kf": {**CALM, "ref": 1, "mongoId": "1"},
    }
    car = repo_of({f"{MOODS}/{rkey}": moods[rkey] for rkey in sorted(moods)})
    found = RepoSnapshot.read(DID, [car]).by_ref(MOODS)
    assert list(found) == ["1"]
    assert found.positions("1") == [0, 1, 4]
    assert found.positions("2") == []


def test_record_of_a_document_is_the_one_in_its_state_or_the_oldest() -> None:
    """A key in the state counts only if the record there names the document."""
    car = repo_of({f"{MOODS}/a": {**CALM, "ref": "2"}, f"{MOODS}/b": CALM, f"{MOODS}/c": CALM})
    found = RepoSnapshot.read(DID, [car]).by_ref(MOODS)
    chosen = [found.choose("1", rkey) for rkey in ("c", "b", "a", "z", None)]
    assert [record.rkey if record else None for record in chosen] == ["c", "b", "b", "b", "b"]
    assert found.choose("3", "a") is None


def test_keys_are_told_by_what_they_share_with_the_one_before() -> None:
    """Nodes to the left of the first entry and to the right of each are walked in order."""
    car = Car()
    cid = car.add(CALM)
    left, right = (car.add(node([entry(f"{MOODS}/{rkey}", cid)])) for rkey in ("a", "bb"))
    shared = len(MOODS) + 2
    last = entry(f"{MOODS}/bc", cid, shared=shared)
    tree = car.add(node([entry(f"{MOODS}/b", cid, right=right), last], left))
    assert list(RepoSnapshot.read(DID, [car.commit(tree)]).records(MOODS)) == ["a", "b", "bb", "bc"]


def test_signature_may_look_like_anything() -> None:
    """Even like a CID, which an encoder that sees bytes alone takes for a link."""
    car, signature = Car(), b"s" * 64
    tree = car.add(node([entry(f"{MOODS}/a", car.add(CALM))]))
    commit = {"did": DID, "version": 3, "data": tree, "sig": signature}
    likeness = PICTURE.ljust(64, b"s")
    data = libipld.encode_dag_cbor(commit).replace(signature, likeness)
    assert libipld.encode_dag_cbor(libipld.decode_dag_cbor(data)) != data
    assert RepoSnapshot.read(DID, [car.file(car.keep(data))]).counts == {MOODS: 1}


def test_empty_repo_has_no_records() -> None:
    """A new account: a tree of one empty node."""
    assert RepoSnapshot.read(DID, [repo_of({})]).counts == {}


def test_large_number_of_records_of_one_document_is_no_trouble() -> None:
    """A hundred twins of one document are a hundred records."""
    car = repo_of({f"{MOODS}/{n:03}": CALM for n in range(100)})
    assert len(RepoSnapshot.read(DID, [car]).by_ref(MOODS).positions("1")) == 100


@pytest.mark.parametrize(
    "car", [b"", b"\0" * 50, b"<html>", b"\xff" * 50, repo_of({f"{MOODS}/a": CALM})[:-1]]
)
def test_what_is_no_car_file_is_told(car: bytes) -> None:
    """A proxy's page, an answer that was cut short."""
    assert damage(car).startswith("it ")


def no_root(car: Car) -> bytes:
    """The root is not among the blocks."""
    car.add(CALM)
    return car.file(PICTURE)


def other_record(car: Car) -> bytes:
    """A record is kept under another's CID."""
    cid = car.add({"text": "other"}, cid=raw_cid_of_record(CALM))
    return car.commit(car.add(node([entry(f"{MOODS}/a", cid)])))


def circle(car: Car) -> bytes:
    """A node that is its own child: under a false CID, for no true one can be had."""
    cid = raw_cid_of_record({"a": "node"})
    return car.commit(car.add(node([], cid), cid=cid))


def ladder(car: Car) -> bytes:
    """Nodes that hold nothing but the next, deeper than any key can be."""
    cid = car.add(node([]))
    for _ in range(3000):
        cid = car.add(node([], cid))
    return car.commit(cid)


def laughter(car: Car) -> bytes:
    """Nodes that refer to the next one twice each: few blocks, endless keys."""
    record = car.add(CALM)
    cid = car.add(node([entry(f"{MOODS}/a", record)]))
    for _ in range(100):
        cid = car.add(node([entry(f"{MOODS}/b", record, right=cid)], cid))
    return car.commit(cid)


def with_records(*keys: str, block: object = CALM) -> Callable[[Car], bytes]:
    """Return a maker of a repo with a record, or what is none, under each of these keys."""

    def make(car: Car) -> bytes:
        cid = car.add(block)
        return car.commit(car.add(node([entry(key, cid) for key in keys])))

    return make


def with_node(block: object, **commit: object) -> Callable[[Car], bytes]:
    """Return a maker of a repo with a node, or what is none, and changes of its commit."""
    return lambda car: car.commit(car.add(block), **commit)


ODD = {"p": 0, "k": b"a/b", "v": b"cid", "t": None}


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (no_root, "its commit is missing"),
        (with_node(node([entry(f"{MOODS}/a", PICTURE)])), f"record {MOODS}/a is missing"),
        (other_record, "a block does not match its CID, at byte"),
        (with_records(f"{MOODS}/a", block=[1]), f"record {MOODS}/a is not an object"),
        (with_node(node([]), did="did:plc:other"), "its commit is another repo's"),
        (with_node(node([]), version=2), "its commit is another repo's, or of an unknown version"),
        (circle, "a block does not match its CID, at byte"),
        (ladder, "its tree is not a tree"),
        (laughter, "its tree is not a tree"),
        (with_records(f"{MOODS}/b", f"{MOODS}/a"), f"its keys are out of order at b'{MOODS}/a'"),
        (with_records(f"{MOODS}/a", f"{MOODS}/a"), "its keys are out of order"),
        (with_records(*(f"a{n:05}/b" for n in range(10_001))), "it has too many collections"),
        (with_records("noslash"), "an entry of its tree is malformed: b'noslash'"),
        (with_records("/a", "b/c"), "an entry of its tree is malformed"),
        (with_records(f"{MOODS}/a", f"{MOODS}/"), "its keys are out of order"),
        (with_records("ü/a"), "an entry of its tree is malformed"),
        (with_records("a/b", "a/" + "c" * 1100), "an entry of its tree is malformed"),
        (with_records("/a"), "an entry of its tree is malformed"),
        (with_records(f"{MOODS}/"), "an entry of its tree is malformed"),
        (with_records(f"{MOODS}/a/b"), "an entry of its tree is malformed"),
        (with_records(f"{MOODS}/.."), "an entry of its tree is malformed"),
        (with_records(f"{MOODS}/ü"), "an entry of its tree is malformed"),
        (lambda car: car.commit("text"), "its tree is not a tree"),
        (lambda car: car.commit(None), "its tree is not a tree"),
        (with_node({}), "a node of its tree is malformed"),
        (with_node({"l": 1, "e": []}), "its tree is not a tree"),
        (with_node({"l": None, "e": 1}), "a node of its tree is malformed"),
        (with_node({"l": None, "e": [1]}), "a node of its tree is malformed"),
        (with_node({"l": None, "e": [{}]}), "a node of its tree is malformed"),
        (with_node({"l": None, "e": [ODD | {"p": "0"}]}), "a node of its tree is malformed"),
        (with_node({"l": None, "e": [ODD | {"k": "a/b"}]}), "a node of its tree is malformed"),
        (with_node({"l": None, "e": [ODD | {"v": None}]}), "a node of its tree is malformed"),
        (with_node({"l": None, "e": [ODD | {"t": []}]}), "a node of its tree is malformed"),
    ],
)
def test_repo_that_is_damaged_is_told(make: Callable[[Car], bytes], fault: str) -> None:
    """Whatever is wrong has a name; no hostile repo is endless."""
    assert damage(make(Car())).startswith(fault)
