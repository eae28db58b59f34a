"""The settings of single programs and services.

They can be loaded without the settings of the engine, so that a program needs only its own secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from worker.core.secrets import Secret
from worker.core.settings.reader import Check, EnvironmentReader
from worker.core.settings.validators import (
    check_database_name,
    check_dsn,
    check_flower_login,
    check_log_format,
    check_login,
    check_mongodb_url,
    check_path,
    check_profile,
    check_redis_url,
)

_CHECKED = "ssl_cert_reqs=required"


def read_guest_subject(reader: EnvironmentReader) -> str:
    """Read the subject of guests' items: the `_id` of their account in `users`."""
    return reader.text("GUEST_SUBJECT", "art-guest")


@dataclass(frozen=True, slots=True)
class MongoSettings:
    """The URL of MongoDB, and the name of the database."""

    url: Secret
    name: str
    selection: float  # seconds that a call waits for an available server

    @classmethod
    def read(cls, reader: EnvironmentReader) -> MongoSettings:
        """Read the settings with a reader that is open."""
        return cls(
            url=Secret(reader.valid_text("MONGODB_CONNECTION_STRING", check_mongodb_url)),
            name=reader.valid_text("MONGODB_NAME", check_database_name),
            selection=reader.number("MONGODB_SERVER_SELECTION_SECONDS", 10, minimum=0.1),
        )

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> MongoSettings:
        """Read the settings; raises SettingsError if any is missing or invalid."""
        with EnvironmentReader(environ) as reader:
            return cls.read(reader)


@dataclass(frozen=True, slots=True)
class SentrySettings:
    """The DSN of Sentry, or None to report nothing, and the environment to report."""

    dsn: Secret | None
    environment: str

    @classmethod
    def read(cls, reader: EnvironmentReader) -> SentrySettings:
        """Read the settings with a reader that is open."""
        dsn = reader.valid_text("SENTRY_DSN", check_dsn, "")
        return cls(Secret(dsn) if dsn else None, reader.text("SENTRY_ENVIRONMENT", "production"))


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """The settings of `media-atproto watch`, besides those of the queue."""

    mongodb: MongoSettings
    guest_subject: str
    sentry: SentrySettings

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> WatchSettings:
        """Read the settings; raises SettingsError if any is missing or invalid."""
        with EnvironmentReader(environ) as reader:
            reader.valid_text("MEDIA_PROFILE", check_profile, "")
            return cls(
                mongodb=MongoSettings.read(reader),
                guest_subject=read_guest_subject(reader),
                sentry=SentrySettings.read(reader),
            )


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The settings of the Celery queue; producers use only `redis_url`."""

    redis_url: Secret
    sweep_interval: float
    visibility_timeout: float
    heartbeat_file: Path | None  # see worker/telemetry/heartbeat.py

    @property
    def broker_url(self) -> Secret:
        """Return the Redis URL for Celery, with certificate checks enabled for TLS."""
        url = urlsplit(self.redis_url.reveal())
        if url.scheme != "rediss":
            return self.redis_url
        # Without an option that begins with `ssl_`, kombu does not check certificates.
        query = f"{url.query}&{_CHECKED}" if url.query else _CHECKED
        return Secret(url._replace(query=query).geturl())

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> QueueSettings:
        """Read the settings; raises SettingsError if any is missing or invalid."""
        with EnvironmentReader(environ) as reader:
            heartbeat_file = reader.valid_text("HEARTBEAT_FILE", check_path, "")
            return cls(
                redis_url=Secret(reader.valid_text("REDIS_URL", check_redis_url)),
                sweep_interval=reader.number("SWEEP_INTERVAL_SECONDS", 30, minimum=0.1),
                visibility_timeout=reader.number("VISIBILITY_TIMEOUT_SECONDS", 600, minimum=1),
                heartbeat_file=Path(heartbeat_file) if heartbeat_file else None,
            )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The format of log lines: `console` or `json`."""

    format: str

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> LogSettings:
        """Read LOG_FORMAT; raises SettingsError if it is invalid."""
        with EnvironmentReader(environ) as reader:
            return cls(format=reader.valid_text("LOG_FORMAT", check_log_format, "console"))


@dataclass(frozen=True, slots=True)
class FlowerSettings:
    """The login for Flower, as `user:password`."""

    basic_auth: Secret

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> FlowerSettings:
        """Read FLOWER_BASIC_AUTH; raises SettingsError if it is missing or invalid."""
        return cls(Secret(_read_login(environ, "FLOWER_BASIC_AUTH", check_flower_login)))


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The user and password for HTTP Basic authentication on the status page."""

    user: str
    password: Secret

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> WebSettings:
        """Read WEB_BASIC_AUTH; raises SettingsError if it is missing or invalid."""
        user, _, password = _read_login(environ, "WEB_BASIC_AUTH", check_login).partition(":")
        return cls(user, Secret(password))


def _read_login(environ: Mapping[str, str], name: str, check: Check) -> str:
    """Return `user:password`, which `stack` does not set; raises SettingsError."""
    with EnvironmentReader(environ, "See .env.example.") as reader:
        login = reader.valid_text(name, check, "")
        if not login:
            example = f'{name}="ops:$(openssl rand -hex 16)"'
            reader.report_missing(name, f", of the form user:password (for example {example})")
    return login
