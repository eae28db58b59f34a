"""Check the store of uploaded files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from worker.files.errors import SourceForbiddenError
from worker.files.opening import open_sources, store_location
from worker.files.store import SourceKey
from worker.operations.doctor.installation import TIMEOUT, Installation
from worker.operations.doctor.results import CheckResult, fail, ok

SUBJECT = "media store"
_TEST_FILE = "media-atproto-doctor"


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Facts about a folder, or about a store on the web if `folder` is None.

    `exists` and `readable` are about the folder, or about a test file on the web.
    """

    folder: Path | None
    exists: bool
    readable: bool = True


def fetch(installation: Installation) -> StoreFacts:
    """Check the folder, or request a file; raises SettingsError and source errors."""
    settings = installation.settings
    if settings.media.store_url.startswith("file:"):
        folder = store_location(settings).root
        return StoreFacts(folder, folder.is_dir(), os.access(folder, os.R_OK | os.X_OK))
    with closing(open_sources(settings, deadline=TIMEOUT)) as sources:
        key = SourceKey(settings.media.guest_bucket, (_TEST_FILE,))
        try:
            return StoreFacts(None, sources.exists(key))
        except SourceForbiddenError:
            return StoreFacts(None, exists=False, readable=False)


def evaluate(facts: StoreFacts) -> Iterator[CheckResult]:
    """Evaluate whether files can be read."""
    folder = facts.folder
    if folder is None:
        remark = ", even for a file that does not exist" if facts.exists else ""
        if not facts.readable:
            remark = ", with 403 for missing files, because it does not list files"
        yield ok(SUBJECT, "answer", f"the store responds{remark}")
    elif not facts.exists:
        yield fail(SUBJECT, "folder", f"{folder} does not exist", "check MEDIA_STORE_URL")
    elif not facts.readable:
        advice = "allow the worker's user to read and enter it"
        yield fail(SUBJECT, "folder", f"{folder} cannot be read", advice)
    else:
        yield ok(SUBJECT, "folder", f"{folder} can be read")
