"""The environment: complete, or refused with the name of every variable that is wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from kombu import Connection

from worker.app import warn_if_visibility_too_short
from worker.core.settings import (
    FlowerSettings,
    MongoSettings,
    QueueSettings,
    Settings,
    WatchSettings,
    WebSettings,
)
from worker.core.settings.profiles import PROFILES
from worker.core.settings.reader import SettingsError
from worker.database.mongo import connect
from worker.files.opening import store_location
from worker.queue.names import MAX_IN_FLIGHT_SECONDS
from worker.services import build

GOOD = {
    "MONGODB_CONNECTION_STRING": "mongodb://127.0.0.1:27017",
    "MONGODB_NAME": "media",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "PDS_URL": "http://127.0.0.1:3000",
    "MEDIA_PROFILE": "aesthetic-computer",
    "MEDIA_STORE_URL": "file:///srv/media",
    "SECRET_KEYS": Fernet.generate_key().decode(),
}


def problems(**changes: str) -> str:
    """Return what is said of an environment with these changes."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(GOOD | changes)
    return str(refused.value)


def test_a_complete_environment_is_read() -> None:
    """The required variables are enough."""
    settings = Settings.load(GOOD)
    assert settings.pds.url == "http://127.0.0.1:3000"
    assert settings.guest_subject == "art-guest"
    assert settings.retry.max_attempts == 24


def test_an_empty_environment_names_all_that_is_missing_at_once() -> None:
    """Nobody has to start the worker six times to find six variables."""
    with pytest.raises(SettingsError) as refused:
        Settings.load({})
    assert [problem.split()[0] for problem in refused.value.problems] == [
        "MONGODB_CONNECTION_STRING",
        "MONGODB_NAME",
        "REDIS_URL",
        "PDS_URL",
        "SECRET_KEYS",
        "MEDIA_STORE_URL",
        "USER_BUCKET",
        "GUEST_BUCKET",
        "SITE_URL",
    ]
    assert "SITE_URL is missing, or set MEDIA_PROFILE" in refused.value.problems


def test_profile_has_the_values_of_variables_that_are_not_set() -> None:
    """An empty variable is not set."""
    settings = Settings.load(_without("MEDIA_STORE_URL") | {"SITE_URL": ""})
    media, hosts = settings.media, "sfo3.digitaloceanspaces.com"
    assert media.site_url == "https://aesthetic.computer"
    assert (media.user_bucket, media.guest_bucket) == (
        "user-aesthetic-computer",
        "art-aesthetic-computer",
    )
    assert media.store_url == f"https://{{bucket}}.{hosts}/{{key}}"
    assert media.allowed_hosts == (f"{media.user_bucket}.{hosts}", f"{media.guest_bucket}.{hosts}")
    assert settings.guest_subject == "art-guest"


def test_each_variable_in_the_environment_replaces_the_value_of_the_profile(tmp_path: Path) -> None:
    """From the environment itself or from a file."""
    (profile,) = PROFILES.values()
    own = {name: f"https://{number}.example" for number, name in enumerate(profile.settings)}
    (tmp_path / "site").write_text(own.pop("SITE_URL"))
    settings = Settings.load(GOOD | own | {"SITE_URL_FILE": str(tmp_path / "site")})
    media = settings.media
    assert media.site_url == "https://0.example"
    assert (media.user_bucket, media.guest_bucket) == (own["USER_BUCKET"], own["GUEST_BUCKET"])
    assert settings.guest_subject == own["GUEST_SUBJECT"]
    assert media.store_url == own["MEDIA_STORE_URL"]
    assert media.allowed_hosts == (own["MEDIA_STORE_ALLOWED_HOSTS"],)


def test_the_allowed_hosts_of_a_profile_are_those_of_its_own_store() -> None:
    """Another store is at another host."""
    settings = Settings.load(GOOD | {"MEDIA_STORE_URL": "https://cdn.example"})
    assert settings.media.allowed_hosts == ()


def test_a_platform_without_a_profile_names_its_site_and_buckets() -> None:
    """No platform is the default."""
    own = {"SITE_URL": "https://media.example", "USER_BUCKET": "users", "GUEST_BUCKET": "guests"}
    settings = Settings.load(_without("MEDIA_PROFILE") | own)
    assert settings.media.site_url == "https://media.example"
    assert (settings.guest_subject, settings.password_readers) == ("art-guest", ())
    for name in own:
        with pytest.raises(SettingsError, match=f"{name} is missing, or set MEDIA_PROFILE"):
            Settings.load(_without("MEDIA_PROFILE") | own | {name: ""})


def test_an_unknown_profile_is_rejected_with_the_valid_ones() -> None:
    """Also one with a value that is nearly right."""
    assert "MEDIA_PROFILE names no profile: valid is aesthetic-computer, not 'aesthetic'" in (
        problems(MEDIA_PROFILE="aesthetic")
    )


def test_the_profiles_store_is_valid_and_allows_both_buckets() -> None:
    """The template and the hosts of the profile belong together."""
    settings = Settings.load(_without("MEDIA_STORE_URL"))
    location = store_location(settings)
    for bucket in (settings.media.user_bucket, settings.media.guest_bucket):
        assert location.allows(f"{bucket}.sfo3.digitaloceanspaces.com")
    assert not location.allows("other.sfo3.digitaloceanspaces.com")


def test_a_producer_does_not_read_the_profile() -> None:
    """A wrong profile is the worker's to report."""
    environ = {"REDIS_URL": "redis://h/0", "MEDIA_PROFILE": "other"}
    assert QueueSettings.load(environ).redis_url.reveal() == "redis://h/0"


def _without(name: str) -> dict[str, str]:
    return {other: value for other, value in GOOD.items() if other != name}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("REDIS_URL", "localhost:6379", "must start with redis://"),
        ("REDIS_URL", "unix:///run/redis.sock", "must start with redis://"),  # not for Celery
        ("MONGODB_CONNECTION_STRING", "postgres://x", "must start with mongodb://"),
        ("MONGODB_NAME", "a/b", "must be a database name"),
        ("PDS_URL", "http://pds.example.com", "must start with https://"),
        ("SENTRY_DSN", "https://sentry.example.com/7", "must be of the form"),
        ("REDIS_URL", "redis://[nowhere", "is not a URL"),
        ("MONGODB_CONNECTION_STRING", "mongodb://me:p\u2100s@db.example.com", "is not a URL"),
        ("PDS_URL", "https://me:swordfish@pds.example.com", "must not contain a user name"),
        ("PDS_URL", "https://[", "is not a URL"),
        ("MEDIA_STORE_URL", "/srv/media", "must start with file:/// or https://"),
        ("SECRET_KEYS", "hunter2", "key 1 is not a Fernet key"),
        ("MAX_ATTEMPTS", "many", "must be a number of at least 1"),
        ("MAX_ATTEMPTS", "0", "must be a number of at least 1"),
        ("MONGODB_SERVER_SELECTION_SECONDS", "0", "must be a number of at least 0.1"),
        ("LEASE_SECONDS", "nan", "must be a number of at least 30"),
        ("ALLOW_HTTP", "perhaps", "must be 1 or 0"),
    ],
)
def test_a_malformed_variable_is_named_with_its_fault(name: str, value: str, said: str) -> None:
    """The message names the variable and what is wrong with it, and repeats no secret."""
    told = problems(**{name: value})
    assert name in told
    assert said in told
    assert "hunter2" not in told
    assert "swordfish" not in told


@pytest.mark.parametrize(
    ("program", "needed"),
    [
        (WatchSettings, ["MONGODB_CONNECTION_STRING", "MONGODB_NAME"]),
        (MongoSettings, ["MONGODB_CONNECTION_STRING", "MONGODB_NAME"]),
        (QueueSettings, ["REDIS_URL"]),
    ],
)
def test_a_program_requires_only_its_own_settings(
    program: type[WatchSettings | MongoSettings | QueueSettings], needed: list[str]
) -> None:
    """For `watch`, `init` and beat: no secret keys, and no PDS."""
    with pytest.raises(SettingsError) as refused:
        program.load({})
    assert [problem.split()[0] for problem in refused.value.problems] == needed


@pytest.mark.parametrize(("value", "seconds"), [("", 10), ("0.2", 0.2)])
def test_server_selection_timeout_is_passed_to_the_driver(value: str, seconds: float) -> None:
    """An empty value gives the default."""
    environ = GOOD | {"MONGODB_SERVER_SELECTION_SECONDS": value}
    with connect(MongoSettings.load(environ)).client as client:
        assert client.options.server_selection_timeout == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONGODB_CONNECTION_STRING", "mongodb://me:sword/fish@h/"),
        ("MONGODB_CONNECTION_STRING", "mongodb://me:swordfish@h:99999999"),
        ("REDIS_URL", "redis://:sword/fish@h/0"),
        ("REDIS_URL", "redis://:swordfish@h:port/0"),
    ],
)
def test_an_address_that_its_client_refuses_is_not_quoted(name: str, value: str) -> None:
    """The clients' own errors would repeat it, with what may be a password in it."""
    with pytest.raises(SettingsError) as refused:
        build(Settings.load(GOOD | {name: value}))
    assert name in str(refused.value)
    assert "fish" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_secrets_do_not_print() -> None:
    """Neither the settings nor a secret in them shows its value in repr or str."""
    settings = Settings.load(GOOD | {"REDIS_URL": "redis://:swordfish@127.0.0.1/0"})
    shown = repr(settings) + str(settings) + str(settings.redis_url) + f"{settings.redis_url}"
    assert "swordfish" not in shown
    assert GOOD["SECRET_KEYS"] not in shown


def test_plain_http_is_for_loopback_or_when_allowed() -> None:
    """In a compose network the PDS is plain http, and someone has to say so."""
    settings = Settings.load(GOOD | {"PDS_URL": "http://pds:3000", "ALLOW_HTTP": "1"})
    assert settings.pds.url == "http://pds:3000"


def test_a_producer_needs_the_queue_alone() -> None:
    """Upload functions run where there is no PDS, no key and no MongoDB setting of ours."""
    assert QueueSettings.load({"REDIS_URL": "redis://h/0"}).redis_url.reveal() == "redis://h/0"


def test_every_variable_that_is_read_is_documented() -> None:
    """.env.example and the code name the same variables."""
    import re

    root = Path(__file__).parents[2]
    folder = root / "worker" / "core" / "settings"
    code = "".join((folder / f"{name}.py").read_text() for name in ("engine", "programs"))
    read = set(re.findall(r'"([A-Z][A-Z_]{3,})"', code))
    documented = set(re.findall(r"^#? ?([A-Z][A-Z_]+)=", (root / ".env.example").read_text(), re.M))
    assert read - {"URL_TEMPLATE_"} <= documented
    assert documented - read <= {"URL_TEMPLATE_PAINTING_IMAGEURL"}


@pytest.mark.parametrize(
    "url",
    [
        "rediss://h/0",
        "rediss://h/0?",
        "rediss://h/0?ssl_ca_certs=/ca.pem",
        "rediss://h/0?heartbeat=1",
        "rediss://h/0?ssl_cert_reqs=required&ssl_check_hostname=true",
    ],
)
def test_queue_is_not_trusted_without_a_certificate(url: str) -> None:
    """Celery's transport checks no certificate without the option."""
    broker = QueueSettings.load({"REDIS_URL": url}).broker_url.reveal()
    options = Connection(broker).ssl
    assert isinstance(options, dict)
    assert options["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert options.get("ssl_check_hostname", True) is True


def test_any_setting_can_come_from_a_file(tmp_path: Path) -> None:
    """Secrets, texts, numbers, flags and lists alike; the newline at the end is none of it."""
    values = {**GOOD, "MAX_ATTEMPTS": "7", "ALLOW_HTTP": "1", "MEDIA_STORE_ALLOWED_HOSTS": "a,b"}
    files = {}
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    settings = Settings.load(files)
    assert settings.redis_url.reveal() == GOOD["REDIS_URL"]
    assert settings.secret_keys[0].reveal() == GOOD["SECRET_KEYS"]
    assert (settings.retry.max_attempts, settings.allow_http) == (7, True)
    assert settings.media.allowed_hosts == ("a", "b")
    assert settings == Settings.load(values)


def test_a_file_that_cannot_be_used_is_named_once_and_not_quoted(tmp_path: Path) -> None:
    """A file that is missing, unreadable, empty, no text or malformed, or one beside a value."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"hunter2\xff\xfe")
    (tmp_path / "key").write_text("hunter2\n")
    named = f"SECRET_KEYS_FILE: {tmp_path}"
    faults = {
        "missing": f"{named}/missing cannot be read: No such file or directory",
        "folder": f"{named}/folder cannot be read: Is a directory",
        "bytes": f"{named}/bytes cannot be read: it is not UTF-8 text",
        "empty": f"{named}/empty is empty",
        "key": "SECRET_KEYS key 1 is not a Fernet key",
    }
    (tmp_path / "folder").mkdir()
    without = {name: value for name, value in GOOD.items() if name != "SECRET_KEYS"}
    for file, said in faults.items():
        with pytest.raises(SettingsError) as refused:
            Settings.load(without | {"SECRET_KEYS_FILE": str(tmp_path / file)})
        (problem,) = refused.value.problems
        assert problem.startswith(said)
        assert "hunter2" not in problem
        assert refused.value.__cause__ is None
    told = problems(REDIS_URL_FILE=str(tmp_path / "empty"))
    assert "REDIS_URL and REDIS_URL_FILE are both set: drop one" in told


@pytest.mark.parametrize("login", ["", "ops", ":secret", "ops:", "ops:se,cret", "opsé:secret"])
def test_flower_does_without_no_login(login: str) -> None:
    """Flower would take a comma for its end, and fail for each request if it is not ASCII."""
    with pytest.raises(SettingsError, match="FLOWER_BASIC_AUTH") as refused:
        FlowerSettings.load({"FLOWER_BASIC_AUTH": login})
    assert "secret" not in str(refused.value)
    assert FlowerSettings.load({"FLOWER_BASIC_AUTH": "ops:secret"}).basic_auth.reveal()


@pytest.mark.parametrize(
    ("settings", "name"), [(FlowerSettings, "FLOWER_BASIC_AUTH"), (WebSettings, "WEB_BASIC_AUTH")]
)
def test_missing_login_is_explained(
    settings: type[FlowerSettings | WebSettings], name: str
) -> None:
    """With an example; `stack` is not suggested, because it sets no login."""
    with pytest.raises(SettingsError) as refused:
        settings.load({})
    assert f'{name}="ops:$(openssl rand -hex 16)"' in str(refused.value)
    assert "stack" not in str(refused.value)


@pytest.mark.parametrize(
    ("seconds", "warnings"), [(MAX_IN_FLIGHT_SECONDS, 1), (MAX_IN_FLIGHT_SECONDS + 1, 0)]
)
def test_worker_warns_of_a_short_visibility_timeout(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float, warnings: int
) -> None:
    """A batch may take longer than that after the longest countdown."""
    for name, value in (GOOD | {"VISIBILITY_TIMEOUT_SECONDS": f"{seconds:g}"}).items():
        monkeypatch.setenv(name, value)
    warn_if_visibility_too_short()
    assert caplog.text.count(f"VISIBILITY_TIMEOUT_SECONDS is {seconds:g}:") == warnings


def test_trusted_pdses_include_that_of_pds_url() -> None:
    """In the form in which they are compared with the URLs of DID documents."""
    urls = "https://PDS2.Example.com:443/, http://localhost:2583"
    pds = Settings.load(GOOD | {"TRUSTED_PDS_URLS": urls}).pds
    assert pds.trusted == {pds.url, "https://pds2.example.com", "http://localhost:2583"}
    assert Settings.load(GOOD).pds.trusted == {pds.url}


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://10.0.0.7:3000", "ALLOW_HTTP"),
        ("https://user:word@pds2.example.com", "user name"),
        ("https://pds2.example.com/path", "more than scheme, host and port"),
        ("https://pds2.example.com?x", "query"),
        ("pds2.example.com", "must start with https"),
    ],
)
def test_trusted_pdses_are_checked_as_pds_url_is(url: str, fault: str) -> None:
    """And no more than a host, with a port."""
    with pytest.raises(SettingsError, match=f"TRUSTED_PDS_URLS: .*{fault}"):
        Settings.load(GOOD | {"TRUSTED_PDS_URLS": f"https://good.example.com,{url}"})


def test_trusted_pdses_may_have_http_with_allow_http() -> None:
    """As PDS_URL may."""
    url = "http://10.0.0.7:3000"
    settings = Settings.load(GOOD | {"TRUSTED_PDS_URLS": url, "ALLOW_HTTP": "1"})
    assert url in settings.pds.trusted


@pytest.mark.parametrize("name", ["a|b", "eu 1", "x" * 65, "\u00e9"])
def test_name_of_an_address_is_part_of_a_key(name: str) -> None:
    """So it contains nothing that ends a part."""
    assert "EGRESS_NAME must be 1 to 64 letters" in problems(EGRESS_NAME=name)
    assert Settings.load(GOOD | {"EGRESS_NAME": "eu-1.b_2"}).pds.egress == "eu-1.b_2"
    assert Settings.load(GOOD).pds.egress == ""
