"""Export the metrics of a worker to Prometheus.

Each child process writes metric files to a shared folder; the main process sums and serves them.
The files are named after the pool position of the child. A replacement child continues the files.
Source: https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIServer

from billiard.process import current_process
from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from worker.core.exposure import find_exposure
from worker.core.settings import MetricsSettings
from worker.telemetry.metrics import NULL_METRICS, Metrics
from worker.telemetry.metrics_server import serve_metrics
from worker.telemetry.prometheus import PrometheusMetrics

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client

log = logging.getLogger(__name__)


@dataclass(slots=True)
class MetricsExporter:
    """Serves the metrics of all child processes on a port of the main process."""

    settings: MetricsSettings
    _owner: int = 0
    _server: WSGIServer | None = None

    def prepare(self) -> None:
        """Create the folder for metric files; call this before the first child starts."""
        if self.settings.port is None:
            return
        folder = tempfile.mkdtemp(prefix="media-atproto-metrics-")
        os.environ[_FOLDER] = folder
        self._owner = os.getpid()
        atexit.register(_remove, folder, self._owner)

    def serve(self) -> None:
        """Start the metrics server; log an error if the address is not available."""
        host, port = self.settings.host, self.settings.port
        if port is None:
            return
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        try:
            self._server = serve_metrics(host, port, registry)
        except OSError as error:
            message = "metrics are not served at %s:%d: %s; see METRICS_HOST and METRICS_PORT"
            log.error(message, host, port, error.strerror)  # noqa: TRY400 - the cause is the address

    def metrics(self) -> Metrics:
        """Create the metrics of this process; return NULL_METRICS if not available."""
        if self.settings.port is None:
            return NULL_METRICS
        if self._server is not None and os.getpid() != self._owner:
            # A socket inherited by fork would keep the port open after the main process ends.
            self._server.socket.close()
        folder = Path(os.environ[_FOLDER])
        try:
            # The system may have deleted the temporary folder while the worker was running.
            folder.mkdir(mode=0o700, exist_ok=True)
            if exposure := find_exposure(folder):
                raise PermissionError(errno.EPERM, exposure)
            values.ValueClass = values.MultiProcessValue(_pool_position)  # type: ignore[no-untyped-call]
            return PrometheusMetrics(CollectorRegistry())
        except OSError as error:
            log.error("metrics are not counted: %s: %s", folder, error.strerror)  # noqa: TRY400
            return NULL_METRICS


def _pool_position() -> str:
    """Return the position of this process in the Celery pool, or `main`."""
    index = getattr(current_process(), "index", None)
    return "main" if index is None else str(index)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
