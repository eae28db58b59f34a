"""The settings of workers and commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.net.urls import configured_pds_url
from worker.core.rate_limits import Rates, parse_keys
from worker.core.secrets import Secret
from worker.core.settings.programs import MongoSettings, SentrySettings, read_guest_subject
from worker.core.settings.reader import Check, EnvironmentReader
from worker.core.settings.validators import (
    OFF,
    check_egress_name,
    check_profile,
    check_redis_url,
    directory_checker,
    http_url_checker,
    origin_checker,
    store_url_checker,
)

DEFAULT_DIRECTORY = "https://plc.directory"
_TEMPLATE_PREFIX = "URL_TEMPLATE_"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """The address of the metrics server of a worker; without a port it is disabled."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The limits of retries, leases and locks; durations are in seconds."""

    max_attempts: int
    max_lost: int
    base: float
    ceiling: float
    lease: float
    repo_lock: float  # after this time, the lock of a killed process expires
    parked: float


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """The limits of a sweep.

    Each list of the queue is filled up to `limit` messages. `window` is the number of documents of
    each media type checked for edits (0: none). Documents without a status are enqueued if they
    were saved between `horizon_days` days and `grace` seconds ago. An enqueued item is due again
    after `requeue` seconds.
    """

    limit: int
    window: int
    horizon_days: float
    requeue: float
    grace: float


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """The settings of the media store and of published URLs."""

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
    """The settings of PDS hosts and their rate limits.

    `trusted` contains `url` and the URLs of TRUSTED_PDS_URLS. `directory` is the URL of a PLC
    directory, or None if all accounts are on the PDS at `url`. `reserve` is the share of each limit
    (0 to 1) that only saves may use. `foreign_calls` is the number of concurrent calls to each
    foreign host. `bypass` contains the rate limit bypass keys by host. `egress` names the IP
    address that this process sends calls from, or is empty if all processes share one.
    """

    url: str
    trusted: frozenset[str]
    directory: str | None
    rates: Rates
    reserve: float
    foreign_calls: int
    egress: str
    bypass: Mapping[str, Secret]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of workers and commands.

    `password_readers` are the programs of the profile's platform that read stored passwords in
    plain text.
    """

    mongodb: MongoSettings
    redis_url: Secret
    pds: PdsSettings
    secret_keys: tuple[Secret, ...]
    sentry: SentrySettings
    guest_subject: str
    allow_http: bool
    media: MediaSettings
    retry: RetrySettings
    sweep: SweepSettings
    metrics: MetricsSettings
    password_readers: tuple[str, ...]

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings; raises SettingsError listing all invalid variables."""
        with EnvironmentReader(environ) as reader:
            reader.valid_text("MEDIA_PROFILE", check_profile, "")
            allow_http = reader.flag("ALLOW_HTTP")
            check_url = http_url_checker(allow_http)
            return cls(
                mongodb=MongoSettings.read(reader),
                redis_url=Secret(reader.valid_text("REDIS_URL", check_redis_url)),
                pds=_pds(reader, check_url),
                secret_keys=read_secret_keys(reader),
                sentry=SentrySettings.read(reader),
                guest_subject=read_guest_subject(reader),
                allow_http=allow_http,
                media=_media(reader, check_url),
                retry=_retry(reader),
                sweep=_sweep(reader),
                metrics=MetricsSettings(
                    host=reader.text("METRICS_HOST", "127.0.0.1"),
                    port=int(reader.number("METRICS_PORT", 0, minimum=0, maximum=65_535)) or None,
                ),
                password_readers=reader.profile.password_readers,
            )


def _pds(reader: EnvironmentReader, check_url: Check) -> PdsSettings:
    directory = reader.valid_text("DID_RESOLVER", directory_checker(check_url), DEFAULT_DIRECTORY)
    keys = reader.parse("RATE_LIMIT_BYPASS_KEYS", parse_keys, "") or {}
    url = configured_pds_url(reader.valid_text("PDS_URL", check_url))
    further = reader.valid_names("TRUSTED_PDS_URLS", origin_checker(check_url))
    return PdsSettings(
        url=url,
        trusted=frozenset({url, *map(configured_pds_url, further)}),
        directory=None if directory == OFF else directory.rstrip("/"),
        rates=reader.parse("RATE_LIMITS", Rates.parse, "reference") or Rates({}),
        reserve=reader.number("LIVE_RESERVE_PERCENT", 20, minimum=0, maximum=90) / 100,
        foreign_calls=int(reader.number("FOREIGN_HOST_CALLS", 2, minimum=1, maximum=1000)),
        egress=reader.valid_text("EGRESS_NAME", check_egress_name, ""),
        bypass={host: Secret(key) for host, key in keys.items()},
    )


def _media(reader: EnvironmentReader, check_url: Check) -> MediaSettings:
    templates = reader.with_prefix(_TEMPLATE_PREFIX)
    return MediaSettings(
        store_url=reader.valid_text("MEDIA_STORE_URL", store_url_checker(check_url)),
        allowed_hosts=reader.names("MEDIA_STORE_ALLOWED_HOSTS"),
        allowed_networks=reader.names("MEDIA_STORE_ALLOWED_NETWORKS"),
        max_source_bytes=int(reader.number("MAX_SOURCE_BYTES", 20 * 2**20, minimum=1)),
        deadline=reader.number("SOURCE_DEADLINE_SECONDS", 20, minimum=0.1),
        user_bucket=reader.text("USER_BUCKET"),
        guest_bucket=reader.text("GUEST_BUCKET"),
        site_url=reader.text("SITE_URL").rstrip("/"),
        url_templates={k.removeprefix(_TEMPLATE_PREFIX): v for k, v in templates.items()},
    )


def _retry(reader: EnvironmentReader) -> RetrySettings:
    return RetrySettings(
        max_attempts=int(reader.number("MAX_ATTEMPTS", 24, minimum=1)),
        max_lost=int(reader.number("MAX_LOST_RUNS", 3, minimum=1)),
        base=reader.number("RETRY_BASE_SECONDS", 2, minimum=0.01),
        ceiling=reader.number("RETRY_CEILING_SECONDS", 3600, minimum=0.01),
        lease=reader.number("LEASE_SECONDS", 100, minimum=30),
        repo_lock=reader.number("REPO_LOCK_SECONDS", 10, minimum=1),
        parked=reader.number("ACCOUNT_PARKED_SECONDS", 900, minimum=1),
    )


def _sweep(reader: EnvironmentReader) -> SweepSettings:
    return SweepSettings(
        limit=int(reader.number("SWEEP_LIMIT", 1000, minimum=1)),
        window=int(reader.number("SWEEP_WINDOW", 2000, minimum=0)),
        horizon_days=reader.number("SWEEP_HORIZON_DAYS", 7, minimum=0),
        requeue=reader.number("SWEEP_REQUEUE_SECONDS", 300, minimum=1),
        grace=reader.number("SWEEP_GRACE_SECONDS", 20, minimum=0),
    )


def read_secret_keys(reader: EnvironmentReader) -> tuple[Secret, ...]:
    """Read the keys of a Vault; adds a problem for each key that is not valid."""
    keys = reader.names("SECRET_KEYS")
    if not keys:
        reader.report_missing("SECRET_KEYS", " (make one: media-atproto new-key)")
    for number, key in enumerate(keys, start=1):
        if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key):
            reader.problems.append(
                f"SECRET_KEYS key {number} is not a Fernet key: 32 bytes in URL-safe base64"
            )
    return tuple(Secret(key) for key in keys)
