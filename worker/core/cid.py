"""Compute the CIDs of records and blobs without a request to the PDS.

The protocol allows only CIDv1 with SHA-256, in base32. The codec is `dag-cbor` for a record and
`raw` for a blob.
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
"""The length of a binary CID in bytes."""


def cid_of_record(record: Mapping[str, object]) -> str:
    """Compute the CID of a record in JSON form; raises ValueError if invalid."""
    return spell_cid(raw_cid_of_record(record))


def raw_cid_of_record(record: Mapping[str, object]) -> bytes:
    """Compute the binary CID of a record in JSON form; raises ValueError if invalid."""
    return _RECORD_PREFIX + hashlib.sha256(encode_record(record)).digest()


def cid_of_blob(data: bytes) -> str:
    """Compute the CID of a blob from its bytes."""
    return spell_cid(_BLOB_PREFIX + hashlib.sha256(data).digest())


def spell_cid(raw: bytes) -> str:
    """Encode a binary CID as base32 text."""
    text: str = libipld.encode_multibase("b", raw)
    return text


def is_raw_cid(raw: bytes) -> bool:
    """Return whether `raw` is the binary CID of a record or blob."""
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
    # Comparing the re-encoded CID checks version, codec, hash, multibase, case and padding bits.
    return spell_cid(prefix + digest) == text


def encode_record(record: Mapping[str, object]) -> bytes:
    """Encode a record in JSON form as the DAG-CBOR block that a repo stores.

    Links (`{"$link": cid}`) become CIDs, and `{"$bytes": base64}` becomes bytes. Raises
    ValueError for values that DAG-CBOR cannot represent.
    """
    # Most values are texts, for which a call would take longer than the encoding.
    return libipld.encode_dag_cbor(
        {key: value if type(value) is str else _ipld(value) for key, value in record.items()}
    )


def json_form(value: object) -> object:
    """Convert a value decoded from a DAG-CBOR block to JSON form."""
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
    """Convert links and bytes in JSON form to Python bytes, as libipld expects."""
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
    """Decode the base64 text of `$bytes`, with or without padding.

    Raises ValueError for bytes that start like a CID: libipld would encode them as a link.
    """
    if not isinstance(text, str):
        raise ValueError("$bytes is not a base64 string")  # noqa: TRY004 - bad data, not a bad call
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if libipld.encode_dag_cbor(data)[0] == _CBOR_LINK_TAG:
        raise ValueError("$bytes begins like a CID, so it would be encoded as a link")
    return data
