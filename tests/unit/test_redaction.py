"""Scrubbing: what is known to be secret, and what looks like it, leaves no text."""

from __future__ import annotations

from tests.unit.test_settings import GOOD
from worker.core.secrets import Purpose, Secret, Vault
from worker.core.settings import Settings
from worker.telemetry.redaction import collect_secrets, redact, redact_nested

ENVIRON = GOOD | {
    "MONGODB_CONNECTION_STRING": "mongodb://media:m%23ngo-pw@db.example/?tls=true",
    "REDIS_URL": "rediss://:redis-pw@redis.example:6379/0",
    "SENTRY_DSN": "https://dsnkey@sentry.example/7",
}
SETTINGS = Settings.load(ENVIRON)
KNOWN = tuple(
    collect_secrets(
        (SETTINGS.mongodb.url, SETTINGS.redis_url, SETTINGS.sentry.dsn), SETTINGS.secret_keys
    )
)
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkaWQifQ.c2lnbmF0dXJl"


SECRETS = (
    *GOOD["SECRET_KEYS"].split(","),
    "m%23ngo-pw",
    "m#ngo-pw",
    "redis-pw",
    "dsnkey",
    JWT,
    "Bearer 0123456789abcdef",
    Vault(SETTINGS.secret_keys)
    .seal("password", Purpose.PASSWORD, "did:plc:x")
    .removeprefix("fernet:"),
)


def test_no_secret_stays_in_a_text() -> None:
    """Neither those of the environment, as they are or as URLs spell them, nor what looks so."""
    for secret in SECRETS:
        assert redact(f"it said '{secret}'", KNOWN) == "it said '(secret)'"


def test_no_url_keeps_its_login() -> None:
    """Whoever's it is."""
    text = redact("cannot reach amqp://somebody:password@queue.example:5672/0", KNOWN)
    assert text == "cannot reach amqp://(secret)queue.example:5672/0"


def test_a_password_given_as_an_option_of_the_url_is_known() -> None:
    """`redis://host/0?password=...` is understood by the client."""
    url = Secret("redis://redis.example/0?password=optional&db=1")
    assert redact("(optional)", tuple(collect_secrets([url]))) == "((secret))"


def test_everything_in_a_tree_is_scrubbed() -> None:
    """Texts in mappings and lists, however deep; what is no text stays as it is."""
    tree = {"a": [{"b": "x redis-pw"}, 1, None], "c": ("dsnkey",)}
    assert redact_nested(tree, KNOWN) == {"a": [{"b": "x (secret)"}, 1, None], "c": ["(secret)"]}


def test_ordinary_texts_stay() -> None:
    """DIDs, URIs, CIDs and ids are what a report is for."""
    text = "mood 65f0c0ffee at://did:plc:abc/computer.aesthetic.mood/3k2 bafyreib2rxk3rh6kzwq: 503"
    assert redact(text, KNOWN) == text
