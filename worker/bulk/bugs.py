"""What nobody expected of one item: kept until its neighbours are done, then raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery.exceptions import SoftTimeLimitExceeded

from worker.errors import MediaError


class Bugs:
    """Unexpected errors met in a batch; each is on its document already."""

    def __init__(self) -> None:
        self._met: list[Exception] = []

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep an unexpected error of the block; let the expected ones through."""
        try:
            yield
        except (MediaError, SoftTimeLimitExceeded):
            raise
        except Exception as bug:  # noqa: BLE001 - raised by `tell`
            self._met.append(bug)

    def tell(self, what: str) -> None:
        """Raise an ExceptionGroup of all that were met, if any."""
        if self._met:
            raise ExceptionGroup(f"unexpected errors with {what}", self._met)
