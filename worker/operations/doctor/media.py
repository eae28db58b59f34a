"""The store that uploaded files are in."""

from __future__ import annotations

import os
from pathlib import Path

from worker.files.store import SourceKey, SourceStore
from worker.operations.doctor.findings import Finding, fine, wrong

STORE = "media store"
_NOBODYS = "media-atproto-doctor"


def look_at_folder(folder: Path) -> list[Finding]:
    """Look whether a store that is a folder can be read."""
    return [
        judge_folder(folder, there=folder.is_dir(), readable=os.access(folder, os.R_OK | os.X_OK))
    ]


def judge_folder(folder: Path, *, there: bool, readable: bool) -> Finding:
    """Judge a store that is a folder."""
    if not there:
        return wrong(STORE, "folder", f"there is no folder {folder}", "look at MEDIA_STORE_URL")
    if not readable:
        advice = "let the worker's user read it and enter it"
        return wrong(STORE, "folder", f"{folder} cannot be read", advice)
    return fine(STORE, "folder", f"{folder} can be read")


def look_at_store(sources: SourceStore, bucket: str) -> list[Finding]:
    """Ask a store on the web for a file that is nobody's; raises the errors of sources."""
    there = sources.exists(SourceKey(bucket, None, _NOBODYS))
    told = "answers" if not there else "answers, though with a file that nobody stored"
    return [fine(STORE, "answer", f"it {told}")]
