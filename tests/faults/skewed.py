"""Celery under a clock that is off: `python -m tests.faults.skewed SECONDS -A worker.app worker`.

What the engine decides goes by `worker.core.clock`, which is shifted here before anything else of
it is imported. Celery's own countdowns are lengths of time, to which a shift makes no difference.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, tzinfo

from celery.__main__ import main

from worker.core import clock

_SHIFT = timedelta(seconds=float(sys.argv.pop(1)))


class _Skewed(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + _SHIFT


vars(clock)["datetime"] = _Skewed

if __name__ == "__main__":
    main()
