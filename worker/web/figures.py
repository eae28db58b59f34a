"""What Prometheus is told: the same pictures as people look at, and what Redis knows besides."""

from __future__ import annotations

from contextlib import closing

from worker.core.clock import now
from worker.operations.status import Queues
from worker.operations.status.prometheus import PlatformFigures, Traffic
from worker.operations.watch import checkpoint as position
from worker.services import Services
from worker.web.boxes import Missing, Shared, asked
from worker.web.snapshots import Pictures

_KEPT = 5.0  # seconds


class Figures:
    """The platform's figures; what was seen is kept for a few seconds, whoever asks."""

    def __init__(self, services: Services, pictures: Pictures) -> None:
        self._services = services
        self._pictures = pictures
        self._traffic = Shared(lambda: asked(self._look), _KEPT)
        self._watch = Shared(lambda: asked(lambda: position.read(services.database)), _KEPT)

    def now(self) -> PlatformFigures:
        """Return the figures of this moment."""
        picture, traffic = self._pictures.overview(), self._traffic.get()
        watch = None if isinstance(picture, Missing) else self._watch.get()
        return PlatformFigures(
            at=now(),
            counts=None if isinstance(picture, Missing) else picture.types,
            traffic=None if isinstance(traffic, Missing) else traffic,
            watch=None if isinstance(watch, Missing) else watch,
        )

    def _look(self) -> Traffic:
        services = self._services
        with closing(Queues(services.settings.redis_url)) as queues:
            lengths = queues.lengths()
        return Traffic(lengths, services.budget.gates(), len(services.parking.dids()))
