"""CAR files read frame by frame: the blocks as they are, or what is wrong."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import libipld
import pytest

from tests.unit.cars import Car, framed_block, raw_cid, repo_of
from worker.core.cid import cid_of_blob
from worker.pds.car import CarBlocks

ROOT = raw_cid(cid_of_blob(b"root"))


def framed(data: bytes) -> bytes:
    """Return a short frame."""
    return bytes([len(data)]) + data


def header(roots: object) -> bytes:
    """Return a header."""
    return framed(libipld.encode_dag_cbor({"version": 1, "roots": roots}))


def test_blocks_are_the_bytes_that_were_written() -> None:
    """Under their CIDs; the sizes of frames take one byte or several."""
    car = Car()
    blocks = [{"n": "x" * size} for size in (1, 80, 200, 20_000)]
    cids = [car.add(block) for block in blocks]
    file = car.file(ROOT)
    for size in (1, 7, 1000, len(file)):
        found = CarBlocks.read(file[n : n + size] for n in range(0, len(file), size))
        assert found.root == ROOT
        loaded = [found.load(found.find(cid) or 0, cid) for cid in cids]
        assert loaded == list(map(libipld.encode_dag_cbor, blocks))


def test_it_reads_what_libipld_reads() -> None:
    """The same blocks, once decoded."""
    car = repo_of({f"computer.aesthetic.mood/{n}": {"n": n} for n in range(50)})
    blocks = CarBlocks.read([car])
    for cid, block in libipld.decode_car(car)[1].items():
        place = blocks.find(cid)
        assert place is not None
        assert libipld.decode_dag_cbor(blocks.load(place, cid)) == block


def test_temporary_file_is_gone_with_the_blocks() -> None:
    """Nothing of a repo stays in the temporary directory, and no file stays open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    blocks = CarBlocks.read([repo_of({"computer.aesthetic.mood/a": {"n": 1}})])
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
    del blocks
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_blocks_with_hashes_that_begin_equally_are_told_apart() -> None:
    """Two blocks with equal first 64 bits can be found by trying; blocks are looked up by these."""
    car = Car()
    cid = car.add({"n": 1})
    like = cid[:-1] + bytes([cid[-1] ^ 1])
    blocks = CarBlocks.read([car.file(ROOT)])
    place = blocks.find(like)
    assert place is not None
    with pytest.raises(ValueError, match="is missing"):
        blocks.load(place, like)
    assert blocks.load(place, cid) == libipld.encode_dag_cbor({"n": 1})
    assert blocks.contains(place, cid)
    assert not blocks.contains(place, like)


def test_finding_a_block_that_is_listed_often_reads_no_copy_of_it() -> None:
    """A PDS could list a block millions of times, and name it by as many keys."""
    car = Car()
    cids = [car.add({"n": 1}) for _ in range(1000)]
    blocks = CarBlocks.read([car.file(ROOT)])
    before = reads()
    places = {blocks.find(cid) for cid in cids}
    assert reads() - before < 100
    assert len(places) == 1


def reads() -> int:
    """Return how often this process has read from a file."""
    count = Path("/proc/self/io").read_text().split("syscr: ")[1].split()[0]
    return int(count)


def test_copies_of_a_block_need_no_memory_for_sorting() -> None:
    """All have the same key in the index, which needs 16 bytes for each until it is sorted."""
    assert peak_of_copies(20_000) - peak_of_copies(2_000) < 50 * 18_000


def peak_of_copies(count: int) -> int:
    """Return the most bytes that Python has while it reads copies of a block."""
    copies = framed_block({"n": 1}) * count
    chunks = [copies[n : n + 4096] for n in range(0, len(copies), 4096)]
    tracemalloc.start()
    CarBlocks.read([header([ROOT]), *chunks])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_block_longer_than_a_chunk_is_written_whole() -> None:
    """Each chunk is written to the temporary file before it is parsed."""
    car = Car()
    cid = car.add({"n": "x" * 500_000})
    file = car.file(ROOT)
    found = CarBlocks.read(file[n : n + 4096] for n in range(0, len(file), 4096))
    assert len(found.load(found.find(cid) or 0, cid)) > 500_000


def test_temporary_file_is_private() -> None:
    """It has no name, so that it is gone if the process is killed."""
    before = set(Path("/proc/self/fd").iterdir())
    blocks = CarBlocks.read([repo_of({"computer.aesthetic.mood/a": {"n": 1}})])
    (file,) = set(Path("/proc/self/fd").iterdir()) - before
    assert file.readlink().name.endswith("(deleted)")
    assert file.stat().st_mode & 0o077 == 0
    del blocks


@pytest.mark.parametrize(
    ("car", "fault"),
    [
        (b"", "it is cut short, or no CAR file, at byte 0"),
        (b"\xff" * 20, "it is cut short, or no CAR file, at byte 0"),
        (b"\x80" * 9 + b"\x01", "it is cut short, or no CAR file, at byte 0"),
        (b"\xff\xff\xff\xff\x03" + b"x" * 50, "a block is too large, at byte 0"),
        (b"\x05ab", "it is cut short, or no CAR file, at byte 0"),
        (b"\x00", "it has no header that names a commit"),
        (b"\x01\xa0", "it has no header that names a commit"),
        (header([]), "it has no header that names a commit"),
        (header("text"), "it has no header that names a commit"),
        (header([5]), "it has no header that names a commit"),
        (header([ROOT]) + b"\x00", "a block has no CID, at byte"),
        (header([ROOT]) + framed(b"x" * 40), "a block has no CID, at byte"),
        (header([ROOT]) + framed(ROOT[:-1]), "a block has no CID, at byte"),
        (header([ROOT]) + b"\x28" + ROOT, "it is cut short, or no CAR file, at byte"),
        (header([ROOT]) + b"\x80" * 8 + b"\x7f" + ROOT, "a block is too large, at byte"),
    ],
)
def test_fault_is_named_with_its_place(car: bytes, fault: str) -> None:
    """Whatever the file is."""
    with pytest.raises(ValueError, match=fault):
        CarBlocks.read([car])
