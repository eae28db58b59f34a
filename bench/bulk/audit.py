"""An audit of one large account, beside the download and decoding that it cannot do without."""

from __future__ import annotations

import time
from contextlib import closing
from statistics import fmean, median

import libipld

from bench.bulk.results import Measured
from bench.bulk.terminal import run
from bench.figures import Figure, Section
from bench.place import Author, Place
from bench.raw import RawPds

_SCRIPT = """
import contextlib, io, json, time
from worker.cli import main
def seconds(handle):
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(["audit", "--user", handle], standalone_mode=False)
    assert not code, code
    return time.perf_counter() - start
print(json.dumps([seconds(handle) for handle in {handles!r}]))
"""


def measure_audit(place: Place, author: Author, records: int, times: int) -> Measured:
    """Audit an account that is in order, in turn with the bare download."""
    (nobody,) = place.recruit("nobody", 1)
    whole = run(place, "audit", "--user", author.handle).seconds
    downloads, audits = [_download(place, author)], []
    for _ in range(times):
        handles = [nobody.handle, author.handle]
        audits.append(place.processes.evaluate(_SCRIPT.format(handles=handles))[1])
        downloads.append(_download(place, author))
    audit, bare = median(audits), fmean(downloads)
    beside = "getRepo + decode_car"
    section = Section(
        "audit",
        f"Audit of an account with {records} records",
        f"Median of {times} runs of `media-atproto audit --user HANDLE`, which all find that "
        "nothing is off, each in a fresh process that has audited an account without records "
        "before, so that imports are not counted; and the whole command. Before and after each: "
        "getRepo and libipld.decode_car, and nothing else.",
        (
            Figure("audit", audit, "s", beside, bare),
            Figure("the whole command", whole, "s", beside, bare),
        ),
    )
    return Measured(section, {"audit_vs_download": audit / bare})


def _download(place: Place, author: Author) -> float:
    with closing(RawPds(place.pds_url)) as pds:
        start = time.perf_counter()
        libipld.decode_car(pds.export(author.did))
        return time.perf_counter() - start
