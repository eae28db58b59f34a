"""Finding a secret in a text that somebody else wrote, in whatever spelling it is quoted there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

_SHORTEST = 4  # characters; anything shorter is a part of too many words


def concealed(text: str, secrets: Iterable[str], word: str = "(secret)") -> str:
    """Return a text in which `word` stands for each of the secrets."""
    forms = {form for secret in secrets for form in spellings(secret) if len(form) >= _SHORTEST}
    if not forms:
        return text
    # The longest first: one may be a part of another.
    longest_first = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), word, text)


def spellings(secret: str) -> Iterator[str]:
    """Go through the ways a text is written: as it is, in URLs, in JSON, somewhere in base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield from _in_base64(secret.encode(errors="replace"))


def _in_base64(data: bytes) -> Iterator[str]:
    """Go through what is left of a text in base64, however many bytes stand before it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        # Characters that hold bits of neighbours too differ from text to text.
        own = encoded[(0, 2, 3)[before] : (before + len(data)) // 3 * 4]
        if len(own) >= 2 * _SHORTEST:
            yield own
            yield own.translate(str.maketrans("+/", "-_"))
