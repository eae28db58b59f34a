"""The services of this process: made at first use, which in a worker is after its fork."""

from __future__ import annotations

import os
from functools import cache

from worker.services import Services, build
from worker.settings import Settings


@cache
def services() -> Services:
    """Return the process's services; raises SettingsError."""
    return build(Settings.load(os.environ))
