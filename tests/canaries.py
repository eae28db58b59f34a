"""A net for secrets that got out: it finds them in whatever spelling they got there."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

_RUN = re.compile(r"[A-Za-z0-9+/_-]{12,}")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))")
_ALIGNMENTS = 4


@dataclass
class Net:
    """Secrets by name, which are to be nowhere."""

    canaries: dict[str, str] = field(default_factory=dict)

    def caught(self, text: str) -> set[str]:
        """Return the names of the secrets that are in a text: plain, escaped or encoded."""
        readings = list(_readings(text))
        return {
            name
            for name, canary in self.canaries.items()
            if any(canary in reading for reading in readings)
        }


def _readings(text: str) -> Iterator[str]:
    """Go through a text as it is, and with the encodings of URLs, JSON and base64 undone."""
    yield from _unescaped(text)
    for start in range(_ALIGNMENTS):
        decoded = "\n".join(_decoded(run[start:]) for run in _RUN.findall(text))
        yield from _unescaped(decoded)


def _unescaped(text: str) -> Iterator[str]:
    yield text
    yield unquote(text)
    yield unquote_plus(text)
    yield _ESCAPED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else match[3]


def _decoded(run: str) -> str:
    whole = run[:-1] if len(run) % 4 == 1 else run
    padded = whole + "=" * (-len(whole) % 4)
    data = base64.urlsafe_b64decode(padded.replace("+", "-").replace("/", "_"))
    return data.decode(errors="replace")
