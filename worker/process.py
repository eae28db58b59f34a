"""The services of this process: made at first use, which in a worker is after its fork."""

from __future__ import annotations

import os
from functools import cache

from worker.core.settings import Settings
from worker.services import Services, build
from worker.telemetry.exporter import Exposition
from worker.telemetry.sentry import SentryReporter


@cache
def services(*, is_worker: bool) -> Services:
    """Return the process's services; raises SettingsError."""
    settings = Settings.load(os.environ)
    if not is_worker:
        return build(settings)  # of the platform's own, as are its log and its Sentry
    return build(settings, SentryReporter(), exposition().recorder())


@cache
def exposition() -> Exposition:
    """Return how a worker tells its figures: made before its children are; raises SettingsError."""
    return Exposition(Settings.load(os.environ).metrics)
