"""What a repo needs in memory, and what happens if it cannot be stored."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache

import pytest

from tests.unit.cars import DID, MOODS
from tests.unit.large_repos import chunks_of_repo, item_of, mood, rkey_of
from worker.operations.audit.matching import RecordMatcher
from worker.pds.repo_snapshot import RepoSnapshot

FEW, MANY = 500, 3000
CHUNKS = cache(lambda count: list(chunks_of_repo(count)))
MAX_BYTES = 130  # per record, with the copies of a growing array: 130 MB for a million


def read(count: int) -> RepoSnapshot:
    """Read a repo with so many moods."""
    return RepoSnapshot.read(DID, CHUNKS(count))


def adopt(count: int) -> None:
    """Go through the records of all documents, as an adoption does."""
    by_ref = read(count).by_ref(MOODS)
    assert sum(by_ref.choose(ref, None) is not None for ref in by_ref) == count


def match(count: int) -> None:
    """Go through all records, as an audit does."""
    matcher = RecordMatcher(DID, read(count).records(MOODS))
    assert sum(1 for _ in matcher.unmatched()) == count


def peak(call: Callable[[int], object], count: int) -> int:
    """Return the most bytes that Python has for a repo with so many records."""
    CHUNKS(count)
    tracemalloc.start()
    call(count)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@pytest.mark.parametrize("call", [adopt, match])
def test_memory_for_a_repo_is_bounded_per_record(call: Callable[[int], object]) -> None:
    """A record of a usual size has 330 bytes; a hundred times that were needed for all of it."""
    assert peak(call, MANY) - peak(call, FEW) < MAX_BYTES * (MANY - FEW)


def test_generated_repo_has_all_its_records() -> None:
    """In a tree of several layers."""
    records = read(FEW).records(MOODS)
    assert list(records) == [rkey_of(number) for number in range(FEW)]
    assert records[rkey_of(7)].value == mood(7)
    assert records[rkey_of(7)].ref == item_of(7)


FULL = f"""
import resource
from tests.unit.large_repos import chunks_of_repo
from worker.pds.repo_snapshot import RepoSnapshot
car = list(chunks_of_repo({FEW}))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
RepoSnapshot.read("{DID}", car)
"""


def test_repo_that_does_not_fit_into_the_temporary_directory_has_an_error_of_its_own() -> None:
    """As of any file that can grow no more."""
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=False)
    assert "TemporaryStorageError" in done.stderr.splitlines()[-1]
    assert f"the repo of {DID} cannot be stored in" in done.stderr
