"""Parse the setting MEDIA_STORE_URL, and build the URLs of files from it.

`https://{bucket}.cdn.example/{key}` is a template. `{key}` becomes the path segments of the key.
For URLs without placeholders, such as `file:///srv/media`, `/{bucket}/{key}` is appended.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from worker.core.errors import PermanentError
from worker.core.net.allowed_hosts import DEFAULT_PORTS, HostRule, is_host, parse_rules
from worker.files.store import SourceKey

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN = frozenset({"bucket", "key"})
_NAMES = "{bucket} and {key}"
_BUCKET, _KEY = "{bucket}", "{key}"


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """The parsed and validated value of MEDIA_STORE_URL.

    `scheme` is `file`, `https` or `http`. `host` may contain `{bucket}`. `segments` are the
    decoded path segments. `rules` are the allowed hosts.
    """

    scheme: str
    host: str
    port: int | None
    segments: tuple[str, ...]
    rules: frozenset[HostRule]

    @classmethod
    def parse(
        cls, url: str, allowed_hosts: Iterable[str] = (), *, allow_http: bool = False
    ) -> StoreLocation:
        """Parse MEDIA_STORE_URL; raises ValueError if it is invalid.

        `allowed_hosts` are the allowed hosts of file URLs. The default is the host in `url`; a
        host with a placeholder has no default. `allow_http` allows the scheme `http`.
        """
        parts = _split(url)
        _check_scheme(parts, allow_http=allow_http)
        _check_placeholders(unquote(url))
        segments = _segments(parts)
        if parts.scheme == "file":
            if "{" in segments[0]:
                raise ValueError("must name a folder before its first placeholder")
            return cls("file", "", None, segments, frozenset())
        host, port = _host_and_port(parts)
        rules = parse_rules(allowed_hosts)
        if "{" not in host:
            rules = rules or frozenset({HostRule(host, port, below=False)})
        elif not rules:
            raise ValueError("has a placeholder in its host, so it needs a list of allowed hosts")
        location = cls(parts.scheme, host, port, segments, rules)
        if "{" not in host and not location.allows(host):
            raise ValueError(f"leads to {host}, which is not among the allowed hosts")
        return location

    @property
    def root(self) -> Path:
        """Return the folder of a `file:` store: the path before the first placeholder."""
        return Path("/", *itertools.takewhile(lambda part: "{" not in part, self.segments))

    def path(self, key: SourceKey) -> tuple[str, ...]:
        """Return the path segments of a file, with placeholders replaced."""
        filled = (
            key.path if segment == _KEY else (segment.replace(_BUCKET, key.bucket),)
            for segment in self.segments
        )
        return tuple(itertools.chain.from_iterable(filled))

    def url(self, key: SourceKey) -> str:
        """Build the URL of a file; raises PermanentError for an invalid or denied host."""
        path = "/".join(quote(segment, safe="") for segment in self.path(key))
        if self.scheme == "file":
            return f"file:///{path}"
        host = self.host.replace(_BUCKET, key.bucket).lower()
        if not is_host(host):
            bucket = ascii(key.bucket)[:80]
            message = f"the bucket of the source cannot be part of a host name: {bucket}"
            raise PermanentError(message, step="source", code="source_key_invalid")
        if not self.allows(host):
            message = f"{host} is not among the allowed hosts of the store"
            raise PermanentError(message, step="source", code="source_host_not_allowed")
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}/{path}"

    def allows(self, host: str) -> bool:
        """Return whether any rule allows `host` with this scheme and port."""
        return any(rule.allows(self.scheme, host, self.port) for rule in self.rules)


def _split(url: str) -> SplitResult:
    """Split a URL; raises ValueError for a user, password, query or fragment."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("contains a character that must be percent-encoded in a URL")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("is not a URL") from None
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or a password")
    if "?" in url or "#" in url:
        raise ValueError("must not contain a query (?) or a fragment (#)")
    return parts


def _check_scheme(parts: SplitResult, *, allow_http: bool) -> None:
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("must be file:/// followed by an absolute path")
    elif parts.scheme != "https" and not (parts.scheme == "http" and allow_http):
        raise ValueError("must start with file:/// or https:// (http:// only in development)")


def _check_placeholders(url: str) -> None:
    unknown = sorted(set(_PLACEHOLDER.findall(url)) - _KNOWN)
    if unknown:
        raise ValueError(f"has an unknown placeholder {{{unknown[0]}}}; valid are {_NAMES}")
    if "{" in _PLACEHOLDER.sub("", url) or "}" in _PLACEHOLDER.sub("", url):
        raise ValueError(f"has a brace outside the placeholders; valid are {_NAMES}")


def _host_and_port(parts: SplitResult) -> tuple[str, int | None]:
    """Return the host, and the port or None for the default; raises ValueError."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("has a port that is not a number from 1 to 65535")
    host = f"[{parts.hostname}]" if parts.netloc.startswith("[") else (parts.hostname or "")
    if _KEY in host:
        raise ValueError("may have only {bucket} in its host")
    if not is_host(host.replace(_BUCKET, "bucket")):
        raise ValueError("has no valid host")
    return host, None if port == DEFAULT_PORTS[parts.scheme] else port


def _segments(parts: SplitResult) -> tuple[str, ...]:
    """Return the decoded path segments, plus the standard path if not a template."""
    path = unquote(parts.path)
    segments = tuple(path.strip("/").split("/")) if path.strip("/") else ()
    if any(segment in {"", ".", ".."} for segment in segments) or not path.isprintable():
        raise ValueError("has a path with an empty segment, a '.', a '..' or a control character")
    if not _PLACEHOLDER.search(parts.netloc + path):
        return (*segments, _BUCKET, _KEY)
    if _KEY not in segments or any(_KEY in each and each != _KEY for each in segments):
        raise ValueError("is a template without {key} as a whole segment of its path")
    return segments
