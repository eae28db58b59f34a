"""From enqueue to a record that anyone can read, beside the calls that nothing can avoid."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from bson import ObjectId

from bench.crowd import publish
from bench.drawings import landscape
from bench.figures import Figure, Section, compared, percentile
from bench.items import Subject, in_turn, mood, painting
from bench.memory import Memory, memory_of
from bench.place import Author, Place
from bench.queues import await_published
from bench.raw import RawPds
from bench.scale import Pool, Scale
from tasks import enqueue
from worker.media import media_type

_CUT = 1.0  # ms; the documents' times are cut to milliseconds, so this much is added to them


@dataclass(frozen=True, slots=True)
class Sample:
    """One item, in milliseconds: until a worker had it, until its record was up; the raw calls."""

    taken: float
    published: float
    raw: float


def measure_latency(place: Place, pool: Pool, scale: Scale) -> tuple[Section, Memory]:
    """Publish one item at a time on a system that does nothing else, in turn with raw calls.

    Returns what the worker's memory was after it, too.
    """
    paintings = [
        painting(place, f"painting {side}x{side}", [landscape(side, (side, side))])
        for side in scale.sides
    ]
    figures: list[Figure] = []
    with (
        place.processes.worker("worker.app", *pool.options) as worker,
        closing(RawPds(place.pds_url)) as pds,
    ):
        _samples(place, pds, mood(place), scale.warm_up * pool.concurrency)
        for subject in (mood(place), *paintings):
            figures += _figures(subject, _samples(place, pds, subject, scale.latency))
        memory = memory_of(worker)
    section = Section(
        "latency",
        "From enqueue to record",
        f"{scale.latency} items each, one at a time on an otherwise idle system, in turn with "
        f"the raw calls; worker: {pool}. The end is when the PDS has answered putRecord, by the "
        "document's syncedAt: cut to 1 ms, so 1 ms is added. That each record can then be read "
        "is checked by getRecord; asking for it all the while would slow down what is measured.",
        tuple(figures),
    )
    return section, memory


def _figures(subject: Subject, samples: list[Sample]) -> list[Figure]:
    published, raw = [s.published for s in samples], [s.raw for s in samples]
    whole = compared(subject.label, "ms", published, subject.raw, raw)
    taken = percentile([s.taken for s in samples], 50)
    beside, all_of_it = whole[0].label, whole[0].value
    queue = Figure(f"{subject.label}, until a worker has it", taken, "ms", beside, all_of_it)
    return [*whole, queue]


def _samples(place: Place, pds: RawPds, subject: Subject, number: int) -> list[Sample]:
    return [_sample(place, pds, subject, author) for author in in_turn(place, number)]


def _sample(place: Place, pds: RawPds, subject: Subject, author: Author) -> Sample:
    item, job = subject.save(author), subject.job(author)
    start = datetime.now(UTC)
    while not enqueue(subject.type, item):
        pass  # on a busy machine a producer's patience may run out, and that counts
    await_published(place, "live", subject.type, [item])
    taken, published = _times(place, pds, subject, author, item)
    before = time.perf_counter()
    publish(pds, job)
    raw = (time.perf_counter() - before) * 1000
    return Sample(_since(start, taken), _since(start, published), raw)


def _times(
    place: Place, pds: RawPds, subject: Subject, author: Author, item: ObjectId
) -> tuple[datetime, datetime]:
    """Return when a worker took an item and when its record was up, which it must be."""
    state, nsid = place.platform.state(subject.type, item), media_type(subject.type).nsid
    taken, published = state.get("attemptedAt"), state.get("syncedAt")
    if not pds.has_record(author.did, nsid, str(state.get("rkey"))):
        raise RuntimeError(f"{subject.type} {item} has no record")
    if not isinstance(taken, datetime) or not isinstance(published, datetime):
        raise TypeError(f"{subject.type} {item} was not published")
    return taken, published


def _since(start: datetime, moment: datetime) -> float:
    return (moment - start).total_seconds() * 1000 + _CUT
