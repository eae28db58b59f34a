"""Replace what differs between runs: DIDs, ports, folders and times, and mask them to compare."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_DID = re.compile(r"did:plc:[a-z2-7]{6,24}")
_DID_LENGTH = len("did:plc:") + 24
_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d"), "DATE"),
    (re.compile(r"(?<![\d:])\d\d:\d\d(:\d\d(\.\d+)?)?Z?"), "TIME"),
    (re.compile(r"\b\d+ (second|minute|hour|day)s?\b"), "AGE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\bbaf[a-z2-7]{20,}"), "CID"),
    (re.compile(r"\b(ahead of|behind) this machine"), "off this machine"),
    (re.compile(r" +"), " "),
    (re.compile(r"[─━-]{2,}"), "--"),
    (re.compile(r" $", re.M), ""),
)
_NUMBER = re.compile(r"\d+(\.\d+)*")
_TIMES = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "2026-01-20T10:15:00.000Z"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "2026-01-20T10:15:00Z"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b"), "2026-01-20 10:15:00"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d\b"), "2026-01-20 10:15"),
)


@dataclass(frozen=True)
class Names:
    """What the pages call the accounts and places of a run."""

    dids: Mapping[str, str]  # from DID to handle
    texts: Mapping[str, str]  # from text to replacement

    def replace(self, text: str) -> str:
        """Return an output with the names and times of the pages."""
        for old, new in self.texts.items():
            text = text.replace(old, new)
        for pattern, time in _TIMES:
            text = pattern.sub(time, text)
        return _DID.sub(self._replace_did, text)

    def _replace_did(self, found: re.Match[str]) -> str:
        """Replace a DID, which may be truncated in the output."""
        for did, handle in self.dids.items():
            if did.startswith(found[0]):
                return page_did(handle)[: len(found[0])]
        return found[0]


def page_did(handle: str) -> str:
    """Return the DID that the pages give to an account."""
    digest = base64.b32encode(hashlib.sha256(handle.encode()).digest()).decode().lower()
    return f"did:plc:{digest}"[:_DID_LENGTH]


def mask(text: str, *, numbers: bool = False) -> str:
    """Return a text in which only that is left which every run prints."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return _NUMBER.sub("N", text) if numbers else text
