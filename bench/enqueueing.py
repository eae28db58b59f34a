"""What `enqueue` costs the save it follows: with Redis healthy, stopped and frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.figures import Figure, Section, bounded, compared
from bench.place import Place
from bench.scale import Scale
from worker.dev.stack import Service

BOUND = 250.0  # ms; what `enqueue` promises never to exceed
_PRODUCER = "bench.producer"


def measure_enqueueing(place: Place, scale: Scale) -> Section:
    """Enqueue from processes of their own; no worker runs."""
    with place.processes.conversation(_PRODUCER) as ask:
        healthy = ask(f"beside {scale.enqueued}")
        with _stopped(place.stack.valkey):
            stopped = ask(f"enqueue {scale.refused}")
            first_stopped = _first_calls(place, scale)
        ask("enqueue 1")  # connected again
        with _frozen(place.stack.valkey):
            frozen = ask(f"enqueue {scale.refused}")
            first_frozen = _first_calls(place, scale)
    first = _first_calls(place, scale)
    place.queue.flushdb()
    return Section(
        "enqueue",
        "Enqueueing",
        f"{scale.enqueued} calls in turn with a raw LPUSH of the same message; Redis stopped "
        f"(nothing listens) and frozen (SIGSTOP), {scale.refused} calls each; first calls in "
        f"{scale.first_calls} fresh processes each.",
        (
            *compared("enqueue", "ms", healthy["enqueue"], "raw LPUSH", healthy["raw"]),
            Figure("enqueue max", max(healthy["enqueue"]), "ms", "bound", BOUND),
            *bounded("first call of a process", first, BOUND),
            *bounded("Redis stopped", stopped, BOUND),
            *bounded("Redis stopped, first call", first_stopped, BOUND),
            *bounded("Redis frozen", frozen, BOUND),
            *bounded("Redis frozen, first call", first_frozen, BOUND),
        ),
    )


def _first_calls(place: Place, scale: Scale) -> list[float]:
    return [_first_call(place) for _ in range(scale.first_calls)]


def _first_call(place: Place) -> float:
    with place.processes.conversation(_PRODUCER) as ask:
        return float(ask("enqueue 1")[0])


@contextmanager
def _stopped(service: Service) -> Iterator[None]:
    with _undone(service.stop, service.start):
        yield


@contextmanager
def _frozen(service: Service) -> Iterator[None]:
    with _undone(service.freeze, service.thaw):
        yield


@contextmanager
def _undone(do: Callable[[], None], undo: Callable[[], None]) -> Iterator[None]:
    do()
    try:
        yield
    finally:
        undo()
