"""Read all settings from environment variables, with defaults and validation.

Only the standard library is used, because producers such as upload functions import this package
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
    MongoSettings,
    QueueSettings,
    SentrySettings,
    WatchSettings,
    WebSettings,
)

__all__ = [
    "FlowerSettings",
    "LogSettings",
    "MediaSettings",
    "MetricsSettings",
    "MongoSettings",
    "QueueSettings",
    "RetrySettings",
    "SentrySettings",
    "Settings",
    "SweepSettings",
    "WatchSettings",
    "WebSettings",
]
