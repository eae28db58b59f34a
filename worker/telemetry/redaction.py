"""Redact secrets, plain or in common encodings, from texts sent elsewhere."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote, quote_plus, unquote

from worker.core.secrets import Secret
from worker.core.text import printable

_HIDDEN = "(secret)"
_TOKENS = re.compile(
    # Each alternative matches or fails in a number of steps that is linear in the text.
    r"eyJ[\w-]{8,}(\.[\w-]*){0,2}"  # a JWT, such as a session token of a PDS
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}"  # an Authorization header
    r"|gAAAA[\w-]{40,}=*"  # a Fernet token, which is an encrypted secret
    r"|(?<=://)[^/@\s'\"]*@"  # the user and password of a URL
)
_MAX_CHARACTERS = 2000
_MIN_LENGTH = 4  # characters; shorter texts occur in too many words


def redact(text: str, secrets: Sequence[str]) -> str:
    """Replace all `secrets` in a text, and all substrings that look like tokens.

    A text of more than 2000 characters is truncated first, and what may be a part of a secret at
    its end is removed.
    """
    forms = {form for secret in secrets for form in encodings(secret) if len(form) >= _MIN_LENGTH}
    # Longer forms first, because one form may contain another.
    longest_first = sorted(forms, key=len, reverse=True)
    start = text[:_MAX_CHARACTERS]
    if longest_first:
        start = re.sub("|".join(map(re.escape, longest_first)), _HIDDEN, start)
    if len(text) > _MAX_CHARACTERS:
        start = _drop_partial(start, max(map(len, longest_first), default=0))
    return _TOKENS.sub(_HIDDEN, start)


def _drop_partial(text: str, length: int) -> str:
    """Remove the last `length` characters, and the word before them."""
    return text[: max(len(text) - length, 0)].rpartition(" ")[0]


def redact_nested(value: object, secrets: Sequence[str]) -> object:
    """Return a copy of nested mappings and lists with all strings redacted and printable."""
    if isinstance(value, str):
        return printable(redact(value, secrets))
    if isinstance(value, Mapping):
        return {key: redact_nested(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact_nested(inner, secrets) for inner in value]
    return value


def encodings(secret: str) -> Iterator[str]:
    """Yield a secret as plain text, URL-encoded, JSON-escaped and in base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield from _base64_forms(secret.encode(errors="replace"))


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield how `data` appears in base64 of a longer text, at all three offsets.

    Characters that also encode bits of neighbouring bytes are omitted.
    """
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        own = encoded[(0, 2, 3)[before] : (before + len(data)) // 3 * 4]
        if len(own) >= 2 * _MIN_LENGTH:
            yield own
            yield own.translate(str.maketrans("+/", "-_"))


def collect_secrets(urls: Iterable[Secret | None], keys: Iterable[Secret] = ()) -> Iterator[str]:
    """Yield the secret keys and the passwords in URLs, quoted and unquoted."""
    yield from (key.reveal() for key in keys)
    for url in filter(None, urls):
        password = _password(url.reveal())
        yield from (password, unquote(password))


def _password(url: str) -> str:
    # urlsplit is not used, because it rejects some URLs that contain a password.
    login, at, _ = url.partition("://")[2].rpartition("@")
    if at:
        return login.partition(":")[2] or login
    return url.partition("password=")[2].partition("&")[0]
