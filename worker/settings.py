"""What is read from the environment: every variable, its default, its meaning and its check.

Read with the standard library alone, because an upload function imports it before each save
(see docs/decisions/0005-settings-without-a-library.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from worker.environment import Reader
from worker.rates import Rates, parse_keys
from worker.secrets import Secret

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TEMPLATE_PREFIX = "URL_TEMPLATE_"
_OFF = "off"
DEFAULT_DIRECTORY = "https://plc.directory"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What a producer needs: where the queue is. Everything else is the worker's and beat's.

    `heartbeat_file` is touched for as long as the process does its work (worker/heartbeat.py).
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
        reader = Reader(environ)
        settings = cls(
            redis_url=Secret(reader.checked("REDIS_URL", _redis_fault)),
            sweep_interval=reader.number("SWEEP_INTERVAL_SECONDS", 30, least=0.1),
            visibility_timeout=reader.number("VISIBILITY_TIMEOUT_SECONDS", 600, least=1),
            heartbeat_file=_optional_path(reader.optional("HEARTBEAT_FILE", _path_fault)),
        )
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True)
class FlowerSettings:
    """What Flower needs beside the queue: whom it lets in, as `user:password`."""

    basic_auth: Secret

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> FlowerSettings:
        """Read Flower's settings; raises SettingsError naming each faulty variable."""
        reader = Reader(environ)
        settings = cls(Secret(reader.checked("FLOWER_BASIC_AUTH", login_fault)))
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How log lines look: `console` or `json`."""

    format: str

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> LogSettings:
        """Read the log's settings; raises SettingsError."""
        reader = Reader(environ)
        settings = cls(format=reader.checked("LOG_FORMAT", _log_format_fault, "console"))
        reader.finish()
        return settings


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where a worker tells its figures; `port` is None when it does not."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often and how long a transient failure is retried. Seconds."""

    max_attempts: int
    max_lost: int
    base: float
    ceiling: float
    lease: float
    parked: float


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How far one sweep looks: items, and the age in days of never seen documents."""

    limit: int
    window: int
    horizon_days: float
    requeue: float
    grace: float


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """Where sources are read and what is published about them. Sizes in bytes."""

    store_url: str
    allowed_hosts: tuple[str, ...]
    allowed_networks: tuple[str, ...]
    max_source_bytes: int
    deadline: float
    user_bucket: str
    guest_bucket: str
    site_url: str
    url_templates: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PdsSettings:
    """Where accounts live, and how much may be asked of each PDS.

    `directory` is the URL of a PLC directory, None where all accounts live at `url`; `reserve`
    is the share of each budget, 0 to 1, that only saves may spend; `bypass` has keys by host.
    """

    url: str
    directory: str | None
    rates: Rates
    reserve: float
    bypass: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the worker and the terminal need to know."""

    mongodb_url: Secret
    mongodb_name: str
    redis_url: Secret
    pds: PdsSettings
    secret_keys: tuple[Secret, ...]
    sentry_dsn: Secret | None
    sentry_environment: str
    guest_subject: str
    allow_http: bool
    media: MediaSettings
    retry: RetrySettings
    sweep: SweepSettings
    metrics: MetricsSettings

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        """Read all settings; raises SettingsError naming every missing or malformed variable."""
        reader = Reader(environ)
        allow_http = reader.flag("ALLOW_HTTP")
        settings = cls(
            mongodb_url=Secret(reader.checked("MONGODB_CONNECTION_STRING", _mongodb_fault)),
            mongodb_name=reader.checked("MONGODB_NAME", _database_fault),
            redis_url=Secret(reader.checked("REDIS_URL", _redis_fault)),
            pds=_pds(reader, allow_http),
            secret_keys=_secret_keys(reader),
            sentry_dsn=_optional_secret(reader.optional("SENTRY_DSN", _dsn_fault)),
            sentry_environment=reader.text("SENTRY_ENVIRONMENT", "production"),
            guest_subject=reader.text("GUEST_SUBJECT", "art-guest"),
            allow_http=allow_http,
            media=_media(reader, allow_http),
            retry=_retry(reader),
            sweep=_sweep(reader),
            metrics=_metrics(reader),
        )
        reader.finish()
        return settings


def _pds(reader: Reader, allow_http: bool) -> PdsSettings:  # noqa: FBT001
    http_fault = _http_fault(allow_http)
    directory = reader.checked("DID_RESOLVER", _directory_fault(http_fault), DEFAULT_DIRECTORY)
    keys = reader.parsed("RATE_LIMIT_BYPASS_KEYS", parse_keys, "")
    return PdsSettings(
        url=reader.checked("PDS_URL", http_fault).rstrip("/"),
        directory=None if directory == _OFF else directory.rstrip("/"),
        rates=reader.parsed("RATE_LIMITS", Rates.parse, "reference") or Rates({}),
        reserve=reader.number("LIVE_RESERVE_PERCENT", 20, least=0, most=90) / 100,
        bypass={host: Secret(key) for host, key in (keys or {}).items()},
    )


def _media(reader: Reader, allow_http: bool) -> MediaSettings:  # noqa: FBT001
    templates = reader.prefixed(_TEMPLATE_PREFIX)
    return MediaSettings(
        store_url=reader.checked("MEDIA_STORE_URL", _store_fault(allow_http)),
        allowed_hosts=reader.names("MEDIA_STORE_ALLOWED_HOSTS"),
        allowed_networks=reader.names("MEDIA_STORE_ALLOWED_NETWORKS"),
        max_source_bytes=int(reader.number("MAX_SOURCE_BYTES", 20 * 2**20, least=1)),
        deadline=reader.number("SOURCE_DEADLINE_SECONDS", 20, least=0.1),
        user_bucket=reader.text("USER_BUCKET", "user-aesthetic-computer"),
        guest_bucket=reader.text("GUEST_BUCKET", "art-aesthetic-computer"),
        site_url=reader.text("SITE_URL", "https://aesthetic.computer").rstrip("/"),
        url_templates={k.removeprefix(_TEMPLATE_PREFIX): v for k, v in templates.items()},
    )


def _retry(reader: Reader) -> RetrySettings:
    return RetrySettings(
        max_attempts=int(reader.number("MAX_ATTEMPTS", 24, least=1)),
        max_lost=int(reader.number("MAX_LOST_RUNS", 3, least=1)),
        base=reader.number("RETRY_BASE_SECONDS", 2, least=0.01),
        ceiling=reader.number("RETRY_CEILING_SECONDS", 3600, least=0.01),
        lease=reader.number("LEASE_SECONDS", 100, least=30),
        parked=reader.number("ACCOUNT_PARKED_SECONDS", 900, least=1),
    )


def _sweep(reader: Reader) -> SweepSettings:
    return SweepSettings(
        limit=int(reader.number("SWEEP_LIMIT", 1000, least=1)),
        window=int(reader.number("SWEEP_WINDOW", 2000, least=0)),
        horizon_days=reader.number("SWEEP_HORIZON_DAYS", 7, least=0),
        requeue=reader.number("SWEEP_REQUEUE_SECONDS", 300, least=1),
        grace=reader.number("SWEEP_GRACE_SECONDS", 20, least=0),
    )


def login_fault(value: str) -> str | None:
    """Say what is wrong with a login of HTTP basic authentication."""
    user, colon, password = value.partition(":")
    if user and colon and password and "," not in value:
        return None
    return "must be of the form user:password, without a comma"


def _path_fault(value: str) -> str | None:
    return None if value.startswith("/") else "must be a path that begins with /"


def _optional_path(value: str) -> Path | None:
    return Path(value) if value else None


def _metrics(reader: Reader) -> MetricsSettings:
    port = int(reader.number("METRICS_PORT", 0, least=0, most=65_535))
    return MetricsSettings(host=reader.text("METRICS_HOST", "127.0.0.1"), port=port or None)


def _log_format_fault(value: str) -> str | None:
    return None if value in {"console", "json"} else f"must be console or json, not {value!r}"


def _optional_secret(value: str) -> Secret | None:
    return Secret(value) if value else None


def _secret_keys(reader: Reader) -> tuple[Secret, ...]:
    keys = reader.names("SECRET_KEYS")
    if not keys:
        reader.missing("SECRET_KEYS", " (make one: media-atproto new-key)")
    for number, key in enumerate(keys, start=1):
        if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key):
            reader.problems.append(
                f"SECRET_KEYS key {number} is not a Fernet key: 32 bytes in URL-safe base64"
            )
    return tuple(Secret(key) for key in keys)


def _redis_fault(value: str) -> str | None:
    return _scheme_fault(value, "redis", "rediss")


def _mongodb_fault(value: str) -> str | None:
    return _scheme_fault(value, "mongodb", "mongodb+srv")


def _scheme_fault(value: str, *schemes: str) -> str | None:
    try:
        scheme = urlsplit(value).scheme
    except ValueError:  # which may quote the password
        return "is not a URL"
    if scheme in schemes:
        return None
    return f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}"


def _dsn_fault(value: str) -> str | None:
    # https://docs.sentry.io/concepts/key-terms/dsn-explainer/
    if re.fullmatch(r"https?://[^/@:\s]+(:[^/@\s]*)?@[^/@\s]+/(\S*/)?\d+", value):
        return None
    return "must be of the form https://KEY@HOST/PROJECT"


def _database_fault(value: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,63}", value):
        return None
    return "must be a database name: letters, digits, '_' and '-', 63 at most"


def _http_fault(allow_http: bool) -> Callable[[str], str | None]:  # noqa: FBT001
    def fault(value: str) -> str | None:
        try:
            parts = urlsplit(value)
        except ValueError:
            return "is not a URL"
        if parts.username or parts.password:
            return "must not contain a user name or password"
        if parts.scheme == "https" and parts.hostname:
            return None
        if parts.scheme == "http" and (allow_http or parts.hostname in _LOOPBACK):
            return None
        return "must start with https:// (http:// for loopback, or with ALLOW_HTTP=1)"

    return fault


def _directory_fault(http_fault: Callable[[str], str | None]) -> Callable[[str], str | None]:
    def fault(value: str) -> str | None:
        if value == _OFF:
            return None
        found = http_fault(value)
        return f"{found}, or be 'off'" if found else None

    return fault


def _store_fault(allow_http: bool) -> Callable[[str], str | None]:  # noqa: FBT001
    http_fault = _http_fault(allow_http)

    def fault(value: str) -> str | None:
        if value.startswith("file:///"):
            return None
        return "must start with file:/// or https://" if http_fault(value) else None

    return fault
