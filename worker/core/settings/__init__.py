"""The settings: each environment variable with its default and its check.

Only the standard library is used, because an upload function imports this before each save
(see docs/decisions/0005-settings-without-a-library.md).
"""

from worker.core.settings.engine import (
    MediaSettings,
    MetricsSettings,
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
    "FlowerSettings",
    "LogSettings",
    "MediaSettings",
    "MetricsSettings",
    "QueueSettings",
    "RetrySettings",
    "Settings",
    "SweepSettings",
    "WebSettings",
]
