"""Compute the CIDs of records and blobs without asking the PDS.

Both are CIDv1 with SHA-256, written in base32: codec `dag-cbor` for a record, `raw` for a blob.
This is the only form that the protocol allows.
https://atproto.com/specs/data-model#link-and-cid-formats
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

import libipld

# version, codec, hash function, length of the hash
_RECORD_PREFIX = bytes((0x01, 0x71, 0x12, 0x20))
_BLOB_PREFIX = bytes((0x01, 0x55, 0x12, 0x20))
_CBOR_LINK_TAG = 0xD8

RAW_CID_LENGTH = len(_RECORD_PREFIX) + 32
"""The bytes of a CID."""


def cid_of_record(record: Mapping[str, object]) -> str:
    """Return the CID that a PDS gives a record in JSON form; raises ValueError."""
    return spell_cid(raw_cid_of_record(record))


def raw_cid_of_record(record: Mapping[str, object]) -> bytes:
    """Return the CID of a record as bytes, the form in the blocks of a repo."""
    return _RECORD_PREFIX + hashlib.sha256(encode_record(record)).digest()


def cid_of_blob(data: bytes) -> str:
    """Return the CID of a blob with these bytes."""
    return spell_cid(_BLOB_PREFIX + hashlib.sha256(data).digest())


def spell_cid(raw: bytes) -> str:
    """Return the base32 form of a CID."""
    text: str = libipld.encode_multibase("b", raw)
    return text


def is_raw_cid(raw: bytes) -> bool:
    """Return whether bytes are the CID of a record or blob."""
    return len(raw) == RAW_CID_LENGTH and raw.startswith((_RECORD_PREFIX, _BLOB_PREFIX))


def is_blob_cid(text: str) -> bool:
    """Return whether `text` is the CID of a blob."""
    return _is_cid(text, _BLOB_PREFIX)


def is_record_cid(text: str) -> bool:
    """Return whether `text` is the CID of a record."""
    return _is_cid(text, _RECORD_PREFIX)


def _is_cid(text: str, prefix: bytes) -> bool:
    if not text.isascii():
        return False
    try:
        digest: bytes = libipld.decode_cid(text)["hash"]["digest"]
    except ValueError:
        return False
    # Encoding it again checks version, codec, hash, multibase, case and padding bits at once.
    return spell_cid(prefix + digest) == text


def encode_record(record: Mapping[str, object]) -> bytes:
    """Return the DAG-CBOR block of a record in JSON form, as a repo stores it.

    Links (`{"$link": cid}`) and bytes (`{"$bytes": base64}`) are encoded as CIDs and bytes.
    Raises ValueError for values that DAG-CBOR cannot hold.
    """
    return libipld.encode_dag_cbor({key: _ipld(value) for key, value in record.items()})


def json_form(value: object) -> object:
    """Return a value of a decoded block in JSON form, the inverse of `encode_record`."""
    if isinstance(value, dict):
        return {key: json_form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_form(item) for item in value]
    if not isinstance(value, bytes):
        return value
    if is_raw_cid(value):
        return {"$link": spell_cid(value)}
    return {"$bytes": base64.b64encode(value).decode().rstrip("=")}


def _ipld(value: object) -> object:
    """Convert JSON for libipld, which expects links and bytes as Python bytes."""
    if isinstance(value, list):
        return [_ipld(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$link"}:
        return _link(value["$link"])
    if value.keys() == {"$bytes"}:
        return _bytes(value["$bytes"])
    return {key: _ipld(item) for key, item in value.items()}


def _link(text: object) -> bytes:
    if not isinstance(text, str) or not text.startswith("b"):
        raise ValueError("$link is not a CID in base32")
    libipld.decode_cid(text)
    raw: bytes = libipld.decode_multibase(text)[1]
    return raw


def _bytes(text: object) -> bytes:
    """Decode `$bytes`, with or without padding.

    Bytes that begin like a CID are rejected, because libipld would encode them as a link.
    """
    if not isinstance(text, str):
        raise ValueError("$bytes is not a base64 string")  # noqa: TRY004 - bad data, not a bad call
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if libipld.encode_dag_cbor(data)[0] == _CBOR_LINK_TAG:
        raise ValueError("$bytes begins like a CID, so it would be encoded as a link")
    return data
