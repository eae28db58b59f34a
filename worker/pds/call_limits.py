"""Limits on the time and size of calls to a PDS.

Each call ends within the soft time limit of a task (`worker.queue.names.SOFT_LIMIT`), and so do an
upload and the write after it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from worker.core.net.client import ClientLimits

_MB, _MIB = 1_000_000, 2**20

# A record has 1 MB at most, which is also the limit of the reference PDS for the JSON of a call.
# Parsing JSON needs up to 25 times its size in memory.
_ORDINARY = ClientLimits(seconds=20, max_bytes=2 * _MB)
# Blobs of 1 MiB, the limit of our lexicons, at 35 KB/s.
_UPLOAD = ClientLimits(seconds=30, max_bytes=2 * _MB)
# A media type of another package may allow larger blobs than ours, up to MAX_SOURCE_BYTES (20 MiB).
_BLOB = ClientLimits(seconds=30, max_bytes=32 * _MIB)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of the calls to a PDS; `page` is for a page of 100 records."""

    ordinary: ClientLimits
    page: ClientLimits
    upload: ClientLimits
    blob: ClientLimits
    repo: ClientLimits

    @classmethod
    def equal(cls, limits: ClientLimits) -> CallLimits:
        """Create limits that are equal for all calls."""
        return cls(limits, limits, limits, limits, limits)


# For PDS_URL and TRUSTED_PDS_URLS: 100 of the largest records, with the worst escaping in JSON, and
# repos of more than a million records (380 bytes each, sent at 17 MB/s).
TRUSTED = CallLimits(
    ordinary=_ORDINARY,
    page=ClientLimits(seconds=20, max_bytes=32 * _MB),
    upload=_UPLOAD,
    blob=_BLOB,
    repo=ClientLimits(seconds=60, max_bytes=512 * _MIB),
)
# For all others: 100 records of 80 KB, and repos of 350,000 records.
FOREIGN = replace(
    TRUSTED,
    page=ClientLimits(seconds=20, max_bytes=8 * _MB),
    repo=ClientLimits(seconds=40, max_bytes=128 * _MIB),
)
