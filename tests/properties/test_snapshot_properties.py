"""What holds for every repo that a CAR file can hold, and for every file that is damaged."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.cars import DID, MOODS, repo_of
from worker.pds.repo_snapshot import RepoDamagedError, RepoSnapshot

rkeys = st.from_regex(r"[A-Za-z0-9_~:-]{1,20}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
records = st.fixed_dictionaries({"text": texts}, optional={"ref": texts, "n": st.integers(0, 9)})
WHOLE = repo_of({f"{MOODS}/{n}": {"text": "calm", "ref": str(n)} for n in range(4)})


@given(st.dictionaries(rkeys, records, max_size=20))
def test_every_record_is_found_again(written: dict[str, dict[str, object]]) -> None:
    """All of them, as they were, in the order of their keys."""
    car = repo_of({f"{MOODS}/{rkey}": written[rkey] for rkey in sorted(written)})
    found = RepoSnapshot.read(DID, [car]).records(MOODS)
    assert {rkey: record.value for rkey, record in found.items()} == written
    assert list(found) == sorted(written)


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=9), st.integers(0, 9))
def test_damaged_file_is_refused_or_what_it_says(position: int, put: bytes, cut: int) -> None:
    """Bytes replaced, added or cut out anywhere: an error with a name, or a repo that is whole."""
    with suppress(RepoDamagedError):
        car = WHOLE[:position] + put + WHOLE[position + cut :]
        snapshot = RepoSnapshot.read(DID, [car])
        for record in snapshot.records(MOODS).values():
            assert record.value["text"] == "calm"
            assert record.value["ref"] == record.rkey
