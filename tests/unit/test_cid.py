"""CIDs against known ones, and the blocks behind them."""

from __future__ import annotations

import hashlib

import libipld
import pytest

from tests.unit.lexicon_samples import PAINTING, SAMPLES
from worker.core.cid import cid_of_blob, cid_of_record, encode_record, is_blob_cid

EMPTY_BLOB = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_RECORD = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"


@pytest.mark.parametrize(
    ("data", "cid"),
    [
        (b"", EMPTY_BLOB),
        (b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
    ],
)
def test_the_cid_of_a_blob_is_the_well_known_one(data: bytes, cid: str) -> None:
    """Any IPFS tool names the same bytes the same way; the spelling is that of a PDS."""
    assert cid_of_blob(data) == cid
    assert is_blob_cid(cid)


@pytest.mark.parametrize(
    ("record", "block"),
    [
        ({}, "a0"),
        ({"a": None, "b": True, "c": -1}, "a3 6161 f6 6162 f5 6163 20"),
        ({"aa": 1, "b": 2}, "a2 6162 02 626161 01"),
        ({"a": [1, "\N{LATIN SMALL LETTER E WITH ACUTE}"]}, "a1 6161 82 01 62c3a9"),
        ({"a": 2**53 - 1}, "a1 6161 1b001fffffffffffff"),
        ({"a": {"$bytes": "AAEC"}}, "a1 6161 43 000102"),
        ({"a": {"$bytes": "AA"}}, "a1 6161 41 00"),
        ({"a": {"$bytes": "AA=="}}, "a1 6161 41 00"),
        ({"a": {"$bytes": ""}}, "a1 6161 40"),
        (
            {"a": {"$link": EMPTY_BLOB}},
            "a1 6161 d82a 5825 00 01551220" + hashlib.sha256(b"").hexdigest(),
        ),
    ],
)
def test_a_record_is_encoded_as_dag_cbor(record: dict[str, object], block: str) -> None:
    """Keys are sorted by length first, links are tag 42 and bytes are bytes."""
    assert encode_record(record).hex() == block.replace(" ", "")


def test_the_cid_of_a_record_is_that_of_its_block() -> None:
    """CIDv1, codec dag-cbor, SHA-256."""
    parts = libipld.decode_cid(cid_of_record(PAINTING))
    digest = hashlib.sha256(encode_record(PAINTING)).digest()
    assert (parts["version"], parts["codec"], parts["hash"]["code"]) == (1, 0x71, 0x12)
    assert parts["hash"]["digest"] == digest
    assert cid_of_record({}) == EMPTY_RECORD


@pytest.mark.parametrize("nsid", SAMPLES)
def test_a_block_holds_what_went_in(nsid: str) -> None:
    """Decoding gives the record back, with links as binary CIDs."""
    decoded = libipld.decode_dag_cbor(encode_record(SAMPLES[nsid]))
    for field in ("thumbnail", "source"):
        if isinstance(decoded.get(field), dict):
            decoded[field]["ref"] = {"$link": libipld.encode_cid(decoded[field]["ref"])}
    assert decoded == SAMPLES[nsid]


def test_the_order_of_keys_does_not_matter() -> None:
    """A record read back from anywhere has the same CID."""
    assert cid_of_record(dict(reversed(PAINTING.items()))) == cid_of_record(PAINTING)


def test_an_object_that_has_more_than_a_link_is_an_object() -> None:
    """Only an object with the one key is a link."""
    block = encode_record({"a": {"$link": EMPTY_BLOB, "b": 1}})
    assert libipld.decode_dag_cbor(block) == {"a": {"$link": EMPTY_BLOB, "b": 1}}


@pytest.mark.parametrize(
    "value",
    [
        {"$link": "bafkrei"},
        {"$link": "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"},
        {"$link": 7},
        {"$link": ""},
        {"$link": "b\ud800"},
        {"$bytes": 7},
        {"$bytes": "A"},
        {"$bytes": "A-_A"},
        {"$bytes": "AVUSIOOwxEKY/BwUmvv0yJlvuSQnrkHkZJuTTKSVmRt4UrhV"},
        {1: 2},
        {"a": "\ud800"},
        ("a",),
        2**64,
    ],
    ids=repr,
)
def test_what_dag_cbor_cannot_hold_is_refused(value: object) -> None:
    """Broken links and bytes, bytes that read as a link, keys that are no text."""
    with pytest.raises(ValueError, match=r"CID|\$link|\$bytes|base64|padded|encode"):
        encode_record({"field": [value]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "bafkrei",
        EMPTY_RECORD,
        EMPTY_BLOB.upper(),
        EMPTY_BLOB[1:],
        EMPTY_BLOB[:-1],
        EMPTY_BLOB + "a",
        EMPTY_BLOB + "=",
        EMPTY_BLOB + "\n",
        EMPTY_BLOB[:-1] + "v",
        EMPTY_BLOB[:-1] + "1",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
        libipld.encode_multibase("z", libipld.decode_multibase(EMPTY_BLOB)[1]),
        libipld.encode_multibase("b", b"\x01\x55\x13\x20" + bytes(32)),
        libipld.encode_multibase("b", b"\x01\x55\x12\x1f" + bytes(31)),
        "\ud800",
        "\N{ARTIST PALETTE}",
    ],
    ids=ascii,
)
def test_any_other_text_is_no_cid_of_a_blob(text: str) -> None:
    """Other versions, codecs, hashes, bases, capitals and trailing bits are refused."""
    assert not is_blob_cid(text)
