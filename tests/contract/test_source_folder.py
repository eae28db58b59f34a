"""The defences of a store that is a folder, against real links, pipes and races."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.source_stores import ENOUGH, GUEST, KEY, outcome, put
from tests.refusals import fails_with
from worker.files.store import SourceKey, SourceStore


def test_a_symlink_within_the_store_is_followed(local: SourceStore, folder: Path) -> None:
    """Of a file and of a folder."""
    put(folder, GUEST, b"inside")
    (folder / "linked").symlink_to(folder / "paintings", target_is_directory=True)
    (folder / "paintings" / "alias.png").symlink_to("slug.png")
    key = SourceKey("linked", ("alias.png",))
    assert local.read(key, max_bytes=ENOUGH).data == b"inside"


@pytest.mark.parametrize("target", ["secret", "secret/slug.png", "/dev/zero", "/dev/null"])
def test_a_symlink_out_of_the_store_is_refused(
    local: SourceStore, folder: Path, target: str
) -> None:
    """Whether it stands for the bucket or for the file."""
    put(folder.parent, SourceKey("secret", ("slug.png",)), b"secret")
    (folder / "paintings").symlink_to(folder.parent / target)
    (folder / "bucket").mkdir()
    (folder / "bucket" / "slug.png").symlink_to(folder.parent / target)
    for key in (GUEST, SourceKey("bucket", ("slug.png",))):
        with fails_with("source_not_regular"):
            local.read(key, max_bytes=ENOUGH)


def test_what_is_no_regular_file_is_refused(local: SourceStore, folder: Path) -> None:
    """A folder, a pipe without a writer, a socket, a loop of links, a path below a file."""
    bucket = folder / "paintings"
    bucket.mkdir()
    (bucket / "folder").mkdir()
    os.mkfifo(bucket / "pipe")
    (bucket / "loop").symlink_to("loop")
    (bucket / "file").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(bucket)  # the path of a socket may not be long
        listener.bind("socket")
        os.chdir(here)
        for name in ("folder", "pipe", "loop", "socket"):
            with fails_with("source_not_regular"):
                local.read(SourceKey("paintings", (name,)), max_bytes=ENOUGH)
    with fails_with("source_not_regular"):
        local.stat(SourceKey("paintings", ("file", "slug.png")))


def test_a_swapped_folder_never_leads_outside(local: SourceStore, folder: Path) -> None:
    """While a folder is replaced by a link to the outside again and again."""
    outside = folder.parent / "outside"
    put(outside, GUEST, b"secret")
    put(folder, GUEST, b"inside")
    with swapping(folder / "paintings", outside / "paintings"):
        seen = {outcome(local) for _ in range(3000)}
    assert {b"inside", "source_not_regular"} <= seen
    assert b"secret" not in seen


def test_a_folder_that_is_gone_is_no_missing_file(local: SourceStore, folder: Path) -> None:
    """A volume that is not mounted must not look like uploads that were deleted."""
    folder.rmdir()
    with fails_with("source_unavailable", match="MEDIA_STORE_URL"):
        local.exists(KEY)


def test_no_descriptor_is_left_open(local: SourceStore, folder: Path) -> None:
    """Neither after success nor after any failure."""
    put(folder, GUEST, b"x")
    (folder / "paintings" / "folder").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name in ("slug.png", "folder", "missing"):
        outcome(local, SourceKey("paintings", (name,)))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@contextmanager
def swapping(bucket: Path, outside: Path) -> Iterator[None]:
    """Replace a folder by a link to the outside, and back, as fast as another process can."""
    aside, link = bucket.with_name("aside"), bucket.with_name("link")
    link.symlink_to(outside)
    swap = f"""
import os
while True:
    os.rename({str(bucket)!r}, {str(aside)!r})
    os.rename({str(link)!r}, {str(bucket)!r})
    os.rename({str(bucket)!r}, {str(link)!r})
    os.rename({str(aside)!r}, {str(bucket)!r})
"""
    with subprocess.Popen([sys.executable, "-c", swap]) as swapper:
        try:
            yield
        finally:
            swapper.kill()
