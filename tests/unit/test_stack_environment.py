"""What a stack takes over of the environment, and what it leaves out."""

from __future__ import annotations

from worker.dev.stack.environment import inherit, unset_variables

NAMED = {
    "MONGODB_CONNECTION_STRING": "mongodb://h/",
    "MONGODB_NAME": "media",
    "REDIS_URL": "redis://h/0",
    "PDS_URL": "https://h",
    "MEDIA_PROFILE": "aesthetic-computer",
    "MEDIA_STORE_URL": "file:///srv",
    "SECRET_KEYS": "k",
    "SITE_URL": "https://h",
    "USER_BUCKET": "u",
    "GUEST_BUCKET": "g",
    "GUEST_SUBJECT": "guest",
}
NPM = {"HTTPS_PROXY": "http://h:3128", "NODE_EXTRA_CA_CERTS": "/etc/ca.pem", "npm_config_x": "y"}


def test_what_a_stack_answers_is_taken_out_and_nothing_else() -> None:
    """With the settings of npm gone, its packages could not be had behind a proxy."""
    assert unset_variables({**NAMED, **NPM, "PATH": "/bin"}) == {**NPM, "PATH": "/bin"}


def test_services_inherit_no_setting() -> None:
    """A PDS_ or NODE_ variable of somebody else's must not change the services."""
    theirs = {"PDS_PORT": "1", "NODE_OPTIONS": "--inspect", **NAMED, **NPM}
    assert inherit({**theirs, "PATH": "/bin", "HOME": "/root"}) == {
        "PATH": "/bin",
        "HOME": "/root",
    }
