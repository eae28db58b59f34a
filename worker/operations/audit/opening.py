"""An audit made of services."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from worker.media import MediaType
from worker.operations.audit.auditor import Auditor
from worker.operations.audit.blob_reader import BlobReader
from worker.operations.audit.orphans import Strangers
from worker.operations.audit.owners import Owned
from worker.operations.audit.record_removal import Removing
from worker.operations.audit.repair import Repairer
from worker.operations.audit.repo_reader import Reading
from worker.operations.audit.run import Rounds
from worker.operations.expected import Expectations
from worker.pds.record_deleter import Eraser
from worker.services import Services
from worker.sync.run import Observer, unobserved


@contextmanager
def open_audit(
    services: Services,
    kinds: Sequence[MediaType],
    *,
    blobs: bool = True,
    repair: bool = False,
    force: bool = False,
    observer: Observer = unobserved,
) -> Iterator[Rounds]:
    """Have an audit of these types: with their blobs fetched, with repairs, or without.

    `force` lets a repair remove any share of a collection.
    """
    store, accounts = services.store, services.accounts
    reader = BlobReader(lambda did: services.pds_of(did).url)
    auditor = Auditor(
        owned=Owned(services.database, store, accounts),
        strangers=Strangers(store, accounts),
        reading=Reading(services.pds_of, reader),
        expectations=Expectations(services.publisher.site, services.lexicons),
        kinds=kinds,
        blobs=blobs,
        grace=services.settings.sweep.grace,
    )
    try:
        yield Rounds(auditor, _repairer(services) if repair else None, force, observer)
    finally:
        reader.close()


def _repairer(services: Services) -> Repairer:
    lease = services.settings.retry.lease
    eraser = Eraser(services.locks)
    return Repairer(
        corrections=services.corrections,
        removing=Removing(services.store, services.corrections, eraser, lease),
        batches=services.batches,
        open_repo=services.repo,
        holder=f"audit {socket.gethostname()}:{os.getpid()}",
    )
