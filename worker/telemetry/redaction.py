"""Taking secrets out of texts that are about to leave: the last line of defence, not the first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from worker.core.settings import Settings
from worker.telemetry.concealing import concealed

_HIDDEN = "(secret)"
_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?"  # a JWT, as the tokens of a PDS are
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}"  # an Authorization header
    r"|gAAAA[\w-]{40,}=*"  # a Fernet token: a sealed secret
    r"|(?<=://)[^/@\s'\"]*@"  # the user and password of a URL
)


class Scrubber:
    """Replaces the secrets that it was given, and whatever has the shape of a token."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)

    def text(self, text: str) -> str:
        """Return a text without its secrets."""
        return _SHAPES.sub(_HIDDEN, concealed(text, self._secrets, _HIDDEN))

    def tree(self, value: object) -> object:
        """Return a structure of mappings, lists and texts, all its texts scrubbed."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.tree(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.tree(inner) for inner in value]
        return value


def secrets_of(settings: Settings) -> Iterator[str]:
    """Go through the secrets of the environment, as they are and as URLs spell them."""
    yield from (key.reveal() for key in settings.secret_keys)
    urls = (settings.mongodb_url, settings.redis_url, settings.sentry_dsn)
    for url in filter(None, urls):
        yield from _spellings(_password(url.reveal()))


def _password(url: str) -> str:
    # Cut by hand: a URL that no library understands has a password all the same.
    login, at, _ = url.partition("://")[2].rpartition("@")
    if at:
        return login.partition(":")[2] or login
    return url.partition("password=")[2].partition("&")[0]


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    yield unquote(secret)
