"""URLs of our services that make a client skip the check of certificates."""

from __future__ import annotations

import pytest

from tests.unit.test_settings import GOOD
from worker.core.settings import QueueSettings, Settings
from worker.core.settings.reader import SettingsError

_REDIS = "rediss://:swordfish@redis.example:6380/0"
_MONGODB = "mongodb://me:swordfish@db.example/"
WEAK = [
    ("REDIS_URL", f"{_REDIS}#x"),
    ("REDIS_URL", f"{_REDIS}?ssl_cert_reqs=none"),
    ("REDIS_URL", f"{_REDIS}?ssl_cert_reqs=optional"),
    ("REDIS_URL", f"{_REDIS}?ssl_cert_reqs=CERT_NONE"),
    ("REDIS_URL", f"{_REDIS}?ssl%5Fcert_reqs=none"),
    # redis-py uses the first of equal options, kombu the last.
    ("REDIS_URL", f"{_REDIS}?ssl_cert_reqs=none&ssl_cert_reqs=required"),
    ("REDIS_URL", f"{_REDIS}?ssl_cert_reqs=required&ssl_cert_reqs=none"),
    ("REDIS_URL", f"{_REDIS}?ssl_check_hostname=false"),
    ("REDIS_URL", f"{_REDIS}?ssl_check_hostname=0"),
    ("REDIS_URL", f"{_REDIS}?ssl_ciphers=NULL"),
    ("REDIS_URL", f"{_REDIS}?ssl_min_version=1"),
    ("MONGODB_CONNECTION_STRING", f"{_MONGODB}?tls=true&tlsInsecure=true"),
    ("MONGODB_CONNECTION_STRING", f"{_MONGODB}?tls=true&tlsAllowInvalidCertificates=true"),
    ("MONGODB_CONNECTION_STRING", f"{_MONGODB}?tls=true&tlsallowinvalidhostnames=TRUE"),
    ("MONGODB_CONNECTION_STRING", f"{_MONGODB}?tls=true;tlsInsecure=true"),
    ("MONGODB_CONNECTION_STRING", f"{_MONGODB}#?tls=true"),
    ("PDS_URL", "https://pds.example#swordfish"),
    ("PDS_URL", "https://pds.example?verify=swordfish"),
    ("DID_RESOLVER", "https://plc.example/#swordfish"),
    ("MEDIA_STORE_URL", "https://cdn.example/#swordfish"),
    ("SENTRY_DSN", "https://swordfish@sentry.example/1?verify_ssl=0&x=/2"),
    ("SENTRY_DSN", "https://swordfish@sentry.example/#/2"),
]


@pytest.mark.parametrize(("name", "url"), WEAK)
def test_url_that_weakens_tls_is_refused_by_name(name: str, url: str) -> None:
    """The message does not contain the value, which may have a password."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(GOOD | {name: url})
    (problem,) = refused.value.problems
    assert problem.startswith(f"{name} must ")
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize("url", [url for name, url in WEAK if name == "REDIS_URL"])
def test_producer_refuses_a_queue_url_that_weakens_tls(url: str) -> None:
    """Before it connects."""
    with pytest.raises(SettingsError):
        QueueSettings.load({"REDIS_URL": url})


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("REDIS_URL", f"{_REDIS}?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("REDIS_URL", f"{_REDIS}?ssl_check_hostname=True"),
        ("MONGODB_CONNECTION_STRING", f"{_MONGODB}?tls=true&tlsCAFile=/ca.pem&tlsInsecure=false"),
        ("SENTRY_DSN", "https://key@sentry.example/path/1"),
    ],
)
def test_other_options_of_tls_are_accepted(name: str, url: str) -> None:
    """Those that name files, or say what is the default."""
    Settings.load(GOOD | {name: url})
