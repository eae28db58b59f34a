"""Settings for tests: short times, and a database of their own."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import uuid4

from worker.core.settings import Settings
from worker.dev.stack import Stack

SHORT_RETRIES = {"RETRY_BASE_SECONDS": "0.01", "RETRY_CEILING_SECONDS": "0.05"}
SHORT_TIMES = {**SHORT_RETRIES, "SWEEP_GRACE_SECONDS": "0"}


def new_settings(stack: Stack, **environ: str) -> Settings:
    """Return settings for a running stack and a new database; `environ` has the last word."""
    own = {"MONGODB_NAME": f"test-{uuid4().hex[:12]}", **SHORT_TIMES}
    return Settings.load(environment_of(stack, own, environ))


def environment_of(
    stack: Stack, own: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return what a stack's environment is with that of a test; `environ` has the last word."""
    return changed({**stack.environment, **own}, environ)


def changed(environ: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with changes, of which a PDS_URL is to hold for all accounts."""
    fixed = {"DID_RESOLVER": "off"} if "PDS_URL" in changes else {}
    return {**environ, **fixed, **changes}
