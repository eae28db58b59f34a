"""Load task modules from installed packages only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.loaders.app import AppLoader


class InstalledLoader(AppLoader):
    """Does not import modules from the current folder first, as Celery does.

    Other users may write to it, and their modules would run with our keys.
    """

    def import_from_cwd(
        self, module: str, imp: Callable[..., Any] | None = None, package: str | None = None
    ) -> Any:
        return (imp or self.import_module)(module, package=package)
