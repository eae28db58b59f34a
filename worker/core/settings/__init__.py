"""What is read from the environment: every variable, its default, its meaning and its check.

Read with the standard library alone, because an upload function imports it before each save
(see docs/decisions/0005-settings-without-a-library.md).
"""

from worker.core.settings.engine import (
    DEFAULT_DIRECTORY,
    MediaSettings,
    MetricsSettings,
    PdsSettings,
    RetrySettings,
    Settings,
    SweepSettings,
)
from worker.core.settings.programs import (
    FlowerSettings,
    LogSettings,
    QueueSettings,
    WebSettings,
)

__all__ = [
    "DEFAULT_DIRECTORY",
    "FlowerSettings",
    "LogSettings",
    "MediaSettings",
    "MetricsSettings",
    "PdsSettings",
    "QueueSettings",
    "RetrySettings",
    "Settings",
    "SweepSettings",
    "WebSettings",
]
