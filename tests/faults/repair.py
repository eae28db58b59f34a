"""What an operator does after a crash of the PDS: repair the blobs that it did not keep whole.

A PDS that is killed while it stores a blob may keep a part of its file, and serve that for good. It
has confirmed the upload by then, so only an audit, which fetches all blobs, can find out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.terminal import run

_TRUNCATED = "blob_truncated"


def repair_truncated_blobs(environ: Mapping[str, str]) -> int:
    """Repair truncated blobs if an audit finds nothing else; return how many there were."""
    _, output, _ = run(["audit", "--json"], environ)
    accounts = [json.loads(line) for line in output.splitlines()]
    faults = [each["finding"] for account in accounts[:-1] for each in account["findings"]]
    if not faults or set(faults) != {_TRUNCATED}:
        return 0
    run(["audit", "--repair", "--yes"], environ)
    return len(faults)
