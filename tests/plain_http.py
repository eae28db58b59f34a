"""Clients of the services of tests, which are called by plain HTTP."""

from __future__ import annotations

import ssl

import httpx

_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the default ones takes 16 ms


def open_http(
    base_url: str, *, token: str = "", login: tuple[str, str] | None = None, timeout: float = 30
) -> httpx.Client:
    """Open a client, with a bearer token or a login if given."""
    return httpx.Client(
        base_url=base_url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        auth=login,
        timeout=timeout,
        verify=_NO_CERTIFICATES,
        trust_env=False,
    )
