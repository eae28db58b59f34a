"""How a worker's figures reach Prometheus: counted by its children, told by its main process.

Each child writes to files in a folder that they share; whoever asks gets the sums. A file is
named by its child's place in the pool: a child that is replaced leaves its place and its file to
the next one, so there are never more files than places.
Source: https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from billiard.process import current_process
from prometheus_client import CollectorRegistry, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector

from worker.core.settings import MetricsSettings
from worker.telemetry.metrics import NULL_METRICS, Metrics
from worker.telemetry.prometheus import PrometheusMetrics

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where the library looks for it

log = logging.getLogger(__name__)


@dataclass(slots=True)
class MetricsExporter:
    """The figures of one worker, told on a port of its main process."""

    settings: MetricsSettings
    _owner: int = 0
    _server: WSGIServer | None = None

    def prepare(self) -> None:
        """Make the folder for the figures, before the first child is there."""
        if self.settings.port is None:
            return
        folder = tempfile.mkdtemp(prefix="media-atproto-metrics-")
        os.environ[_FOLDER] = folder
        self._owner = os.getpid()
        atexit.register(_remove, folder, self._owner)

    def serve(self) -> None:
        """Begin to answer. A port that cannot be had is no reason not to publish."""
        if self.settings.port is None:
            return
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        try:
            self._server, _ = start_http_server(
                self.settings.port, self.settings.host, registry=registry
            )
        except OSError as error:
            log.error(  # noqa: TRY400 - the address is all that is wrong
                "metrics are not served at %s:%d: %s; see METRICS_HOST and METRICS_PORT",
                self.settings.host,
                self.settings.port,
                error.strerror,
            )

    def metrics(self) -> Metrics:
        """Return what the present process counts with: nothing, if its files cannot be had."""
        if self.settings.port is None:
            return NULL_METRICS
        if self._server is not None and os.getpid() != self._owner:
            # A fork of the main process, which would keep the port when that has gone.
            self._server.socket.close()
        folder = Path(os.environ[_FOLDER])
        try:
            # Whoever tidies up temporary files may have taken it from a worker that runs for weeks.
            folder.mkdir(mode=0o700, exist_ok=True)
            values.ValueClass = values.MultiProcessValue(_pool_position)  # type: ignore[no-untyped-call]
            return PrometheusMetrics(CollectorRegistry())
        except OSError as error:
            log.error("nothing is counted: %s: %s", folder, error.strerror)  # noqa: TRY400
            return NULL_METRICS


def _pool_position() -> str:
    """Return the name of this process's place in the pool, the same for whoever has it next."""
    index = getattr(current_process(), "index", None)
    return "main" if index is None else str(index)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
