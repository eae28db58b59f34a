"""CAR files read frame by frame: the blocks as they are, or what is wrong."""

from __future__ import annotations

import libipld
import pytest

from tests.unit.cars import Car, raw_cid, repo_of
from worker.core.cid import cid_of_blob
from worker.pds.repo_snapshot import read_car

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
    root, found = read_car(car.file(ROOT))
    assert root == ROOT
    assert found == dict(zip(cids, map(libipld.encode_dag_cbor, blocks), strict=True))


def test_it_reads_what_libipld_reads() -> None:
    """The same blocks, once decoded."""
    car = repo_of({f"computer.aesthetic.mood/{n}": {"n": n} for n in range(50)})
    decoded = {cid: libipld.decode_dag_cbor(block) for cid, block in read_car(car)[1].items()}
    assert decoded == libipld.decode_car(car)[1]


@pytest.mark.parametrize(
    ("car", "fault"),
    [
        (b"", "it is cut short, or no CAR file, at byte 0"),
        (b"\xff" * 20, "it is cut short, or no CAR file, at byte 0"),
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
        (header([ROOT]) + b"\x80" * 8 + b"\x7f" + ROOT, "it is cut short, or no CAR file"),
    ],
)
def test_fault_is_named_with_its_place(car: bytes, fault: str) -> None:
    """Whatever the file is."""
    with pytest.raises(ValueError, match=fault):
        read_car(car)
