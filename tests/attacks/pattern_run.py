"""Apply all patterns of worker/ and tasks/ to worst-case texts; a program of its own.

The kernel ends it when it has used the CPU time given as its argument. A pattern of quadratic run
time needs more than that for one of the texts.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import resource
import sys
from collections.abc import Iterator
from typing import Any

import tasks
import worker
from worker.telemetry.redaction import redact

LENGTH = 240_000
_PIECES = (
    *("a", "A", "1", "-", ".", "/", ":", "%", "{", "[", "@", "'", " ", "\t", "_", "=", "*"),
    *("eyJ", "eyJa", "eyJ.", "bearer ", "basic\t", "gAAAA", "://", "://a", "at://", "a.", "a-"),
    *("a/", "1.", "%41", "a=", "{a", "[:", "export ", "did:plc:", "text/", "media-atproto:", "\0"),
    *("a@", "a:1", "2026-01-01T00:00:00.", "*/*", "\ud800", "\u00e9", "A-", "0-"),
)


def texts() -> Iterator[str]:
    """Yield repeated pieces, after and before what may keep a pattern from matching."""
    for piece in _PIECES:
        repeated = piece * (LENGTH // len(piece))
        for start in ("", "at://"):
            yield f"{start}{repeated}\n!"


def patterns() -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    """Yield the module-level patterns, with their names, and whether texts are searched for them.

    A search starts at each character, while `match` and `fullmatch` start at the first only.
    """
    for package in (worker, tasks):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".dev." in info.name or info.name.endswith("__main__"):
                continue
            module = importlib.import_module(info.name)
            source = inspect.getsource(module)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    searched = re.search(rf"\b{name}\.(search|sub|find|split)", source) is not None
                    yield f"{info.name}.{name}", value, searched


def main(seconds: int) -> None:
    """Apply each pattern to each text, and print its name."""
    every = list(texts())
    known = list(patterns())
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, 2 * seconds))
    for name, pattern, is_searched in known:
        print(name, flush=True)  # noqa: T201 - the test reads it
        for text in every:
            subject = text if isinstance(pattern.pattern, str) else text.encode(errors="replace")
            pattern.fullmatch(subject)
            pattern.match(subject)
            if is_searched:
                pattern.sub(subject[:0], subject)
    print("redact", flush=True)  # noqa: T201
    for text in every:
        redact(text, ["eyJeyJeyJa", "a" * 200 + "b"])


if __name__ == "__main__":
    main(int(sys.argv[1]))
