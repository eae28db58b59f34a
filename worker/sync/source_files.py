"""Find the source file of a blob or link among its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.files.errors import SourceForbiddenError, SourceMissingError
from worker.files.store import SourceKey, SourceStat, SourceStore
from worker.media.source_keys import SourceRef

_MAX_LIST = 700  # characters; a saved failure has 1000 at most


@dataclass(frozen=True, slots=True)
class FoundFile:
    """An existing source file, with its metadata."""

    ref: SourceRef
    key: SourceKey
    stat: SourceStat


def find_file(sources: SourceStore, files: Sequence[SourceRef], known: str | None) -> FoundFile:
    """Return the first existing file; request `known`, the key of the last sync, first.

    A key that is missing or forbidden is skipped. Raises SourceForbiddenError if no file is found
    and a key was forbidden, otherwise SourceMissingError; the message lists all responses. Raises
    PermanentError for an invalid key, and all other errors of the store.
    """
    errors: list[SourceMissingError | SourceForbiddenError] = []
    keys: list[SourceKey] = []
    for ref in sorted(files, key=lambda ref: ref.text != known):
        keys.append(ref.key())
        try:
            return FoundFile(ref, keys[-1], sources.stat(keys[-1]))
        except (SourceMissingError, SourceForbiddenError) as error:
            errors.append(error)
    responses = _list_responses(keys, [error.response for error in errors])
    message = f"no file in bucket {ascii(files[0].bucket)[:80]}: {responses}"
    if any(isinstance(error, SourceForbiddenError) for error in errors):
        raise SourceForbiddenError(
            f"{message}; the files are missing and may not be listed, or access is denied: with "
            "the right to list (S3: s3:ListBucket) the store answers 404 for missing files"
        )
    raise SourceMissingError(message)


def _list_responses(keys: Sequence[SourceKey], responses: Sequence[str]) -> str:
    """List keys with their responses; long keys are reduced to their ends."""
    width = _MAX_LIST // len(keys) - max(map(len, responses)) - len(" (), ...")
    names = (ascii(key.text)[1:-1] for key in keys)
    short = (name if len(name) <= width else f"...{name[-width:]}" for name in names)
    return ", ".join(f"{name} ({text})" for name, text in zip(short, responses, strict=True))
