"""Detect the type of a blob as a PDS does, from its first bytes.

A PDS saves the type that it detects in place of the one that is sent. The reference PDS uses the
package `file-type`, which knows more than a hundred types; these are the common ones.
"""

from __future__ import annotations

from collections.abc import Sequence

# The bytes at an offset, and the type. https://github.com/sindresorhus/file-type
_SIGNATURES: Sequence[tuple[int, bytes, str]] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"BM", "image/bmp"),
    (0, b"%PDF", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"<?xml ", "application/xml"),
    (0, b"ID3", "audio/mpeg"),
    (4, b"ftypisom", "video/mp4"),
    (4, b"ftypmp42", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
)


def detect_type(data: bytes, sent: str) -> str:
    """Return the type that a PDS saves for a blob that was sent with the type `sent`."""
    found = (name for at, mark, name in _SIGNATURES if data.startswith(mark, at))
    return next(found, sent)
