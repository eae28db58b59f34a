"""Foreign text that attacks terminals, regular expressions and readers, and a check of outputs."""

from __future__ import annotations

import json
import unicodedata

# Escape sequences for the terminal, its title and its C1 form, bidirectional controls, a faked log
# line, a lone surrogate as JSON escapes it, markup and rich's markup.
CONTROLS = (
    "\x1b[31m\x1b]0;owned\x07\x9b2J\x7f\b\u202e\u2066\u200f\u061c\u2028"
    "\r\n2026-01-01T00:00:00Z [error] forged\t<b>[red]{0}%s"
)
WORST = "eyJ" * 350_000
"""1 MB on which the pattern of a JWT took a time quadratic in the length."""
HOSTILE = CONTROLS + WORST
LONG = HOSTILE[:100_000]
SHORT = CONTROLS + "x" * 300
_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_MARKS = frozenset("\u200e\u200f\u061c\u2028\u2029")
MAX_LINE = 25_000
"""A row of a table has up to ten cells of 2000 characters, each up to 10 when escaped."""


def faults(output: str, *, max_line: int = MAX_LINE) -> set[str]:
    """Return what an output must not contain: controls but line breaks, and endless lines."""
    found = {ascii(c) for c in set(output) if c != "\n" and _is_control(c)}
    longest = max(map(len, output.split("\n")))
    return found | ({f"a line of {longest} characters"} if longest > max_line else set())


def json_faults(output: str) -> set[str]:
    """Return what a JSON output must not contain; its length is that of the data."""
    for line in output.splitlines() if output.startswith('{"') else [output]:
        json.loads(line)
    return faults(output, max_line=len(output))


def _is_control(character: str) -> bool:
    category = unicodedata.category(character)
    bidi = unicodedata.bidirectional(character) in _BIDI
    return category in {"Cc", "Cs"} or bidi or character in _MARKS
