"""The services of this process: made at first use, which in a worker is after its fork."""

from __future__ import annotations

import os
from functools import cache

from worker.app import app
from worker.reporter import SILENT
from worker.sentry import SentryReporter
from worker.services import Services, build
from worker.settings import Settings


@cache
def services() -> Services:
    """Return the process's services; raises SettingsError."""
    # In a process of the platform's own, Sentry is the platform's.
    reporter = SentryReporter() if app.is_worker else SILENT
    return build(Settings.load(os.environ), reporter)
