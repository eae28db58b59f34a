"""Sentry: what nobody expected, and what was given up, with nothing secret in it."""

from __future__ import annotations

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration

from worker.secrets import Secret


def start(dsn: Secret | None) -> None:
    """Report errors of this process and its children, if there is a DSN to report to."""
    if dsn is None:
        return
    sentry_sdk.init(
        dsn.reveal(),
        integrations=[CeleryIntegration()],
        # Passwords and tokens pass through local variables of the calls that need them.
        include_local_variables=False,
        send_default_pii=False,
        max_request_body_size="never",
    )
