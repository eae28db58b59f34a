"""Redact secrets from texts before they leave the process, in any common encoding."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, quote_plus, unquote

from worker.core.settings import Settings

_HIDDEN = "(secret)"
_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?"  # a JWT, as the tokens of a PDS are
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}"  # an Authorization header
    r"|gAAAA[\w-]{40,}=*"  # a Fernet token: a sealed secret
    r"|(?<=://)[^/@\s'\"]*@"  # the user and password of a URL
)
_MIN_LENGTH = 4  # characters; anything shorter is a part of too many words


def redact(text: str, secrets: Iterable[str], word: str = "(secret)") -> str:
    """Return a text in which `word` stands for each of the secrets."""
    forms = {form for secret in secrets for form in encodings(secret) if len(form) >= _MIN_LENGTH}
    if not forms:
        return text
    # The longest first: one may be a part of another.
    longest_first = sorted(forms, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), word, text)


def encodings(secret: str) -> Iterator[str]:
    """Go through the ways a text is written: as it is, in URLs, in JSON, somewhere in base64."""
    yield secret
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield from _base64_forms(secret.encode(errors="replace"))


def _base64_forms(data: bytes) -> Iterator[str]:
    """Go through what is left of a text in base64, however many bytes stand before it."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data).decode()
        # Characters that hold bits of neighbours too differ from text to text.
        own = encoded[(0, 2, 3)[before] : (before + len(data)) // 3 * 4]
        if len(own) >= 2 * _MIN_LENGTH:
            yield own
            yield own.translate(str.maketrans("+/", "-_"))


class Redactor:
    """Replaces the secrets that it was given, and whatever has the shape of a token."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        return _SHAPES.sub(_HIDDEN, redact(text, self._secrets, _HIDDEN))

    def nested(self, value: object) -> object:
        """Return a structure of mappings, lists and texts, all its texts scrubbed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.nested(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.nested(inner) for inner in value]
        return value


def collect_secrets(settings: Settings) -> Iterator[str]:
    """Go through the secrets of the environment, as they are and as URLs spell them."""
    yield from (key.reveal() for key in settings.secret_keys)
    urls = (settings.mongodb_url, settings.redis_url, settings.sentry_dsn)
    for url in filter(None, urls):
        yield from _setting_encodings(_password(url.reveal()))


def _password(url: str) -> str:
    # Cut by hand: a URL that no library understands has a password all the same.
    login, at, _ = url.partition("://")[2].rpartition("@")
    if at:
        return login.partition(":")[2] or login
    return url.partition("password=")[2].partition("&")[0]


def _setting_encodings(secret: str) -> Iterator[str]:
    yield secret
    yield unquote(secret)
