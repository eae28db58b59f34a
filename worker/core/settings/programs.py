"""The settings of programs that need no engine: a producer, the log, Flower, the status page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from worker.core.secrets import Secret
from worker.core.settings.reader import EnvironmentReader
from worker.core.settings.validators import (
    check_log_format,
    check_login,
    check_path,
    check_redis_url,
)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a producer needs: where the queue is. Everything else is the worker's and beat's.

    `heartbeat_file` is touched for as long as the process does its work: see
    `worker/telemetry/heartbeat.py`.
    """

    redis_url: Secret
    sweep_interval: float
    visibility_timeout: float
    heartbeat_file: Path | None

    @property
    def broker_url(self) -> Secret:
        """Return the address as Celery is to get it.

        Its transport checks no certificate where the URL has no option of TLS at all.
        """
        url = self.redis_url.reveal()
        if urlsplit(url).scheme != "rediss" or urlsplit(url).query:
            return self.redis_url
        return Secret(f"{url}?ssl_cert_reqs=required")

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> QueueSettings:
        """Read the queue's settings; raises SettingsError naming each faulty variable."""
        reader = EnvironmentReader(environ)
        settings = cls(
            redis_url=Secret(reader.valid_text("REDIS_URL", check_redis_url)),
            sweep_interval=reader.number("SWEEP_INTERVAL_SECONDS", 30, minimum=0.1),
            visibility_timeout=reader.number("VISIBILITY_TIMEOUT_SECONDS", 600, minimum=1),
            heartbeat_file=_optional_path(reader.optional("HEARTBEAT_FILE", check_path)),
        )
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How log lines look: `console` or `json`."""

    format: str

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> LogSettings:
        """Read the log's settings; raises SettingsError."""
        reader = EnvironmentReader(environ)
        settings = cls(format=reader.valid_text("LOG_FORMAT", check_log_format, "console"))
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True)
class FlowerSettings:
    """What Flower needs beside the queue: whom it lets in, as `user:password`."""

    basic_auth: Secret

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> FlowerSettings:
        """Read Flower's settings; raises SettingsError naming each faulty variable."""
        reader = EnvironmentReader(environ)
        settings = cls(Secret(reader.valid_text("FLOWER_BASIC_AUTH", check_login)))
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Who may see the status page: one user, who is asked for by HTTP Basic authentication."""

    user: str
    password: Secret

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> WebSettings:
        """Read the page's own settings; raises SettingsError naming each faulty variable."""
        reader = EnvironmentReader(environ)
        login = reader.optional("WEB_BASIC_AUTH", check_login)
        if not login:
            make = 'make one: echo "ops:$(openssl rand -hex 16)"'
            reader.problems.append(f"WEB_BASIC_AUTH is missing, of the form user:password ({make})")
        user, _, password = login.partition(":")
        reader.finish()
        return cls(user, Secret(password))


def _optional_path(value: str) -> Path | None:
    return Path(value) if value else None
