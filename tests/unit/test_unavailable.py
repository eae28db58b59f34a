"""The address in the URL of a service, which may contain a password."""

from __future__ import annotations

import pytest

from worker.core.secrets import Secret
from worker.operations.unavailable import address_in

ADDRESSES = {
    "mongodb://127.0.0.1:27018/": "127.0.0.1:27018",
    "mongodb://me:s3cret@one.example,two.example:27018/?replicaSet=rs0": (
        "one.example:27017, two.example:27018"
    ),
    "mongodb+srv://me:s3cret@cluster.example/": "cluster.example",
    "mongodb://me:s3cret@[::1]/": "[::1]:27017",
    "mongodb://[::1]:27018": "[::1]:27018",
    "redis://:s3cret@cache.example/0": "cache.example:6379",
    "rediss://me:s3cret@cache.example:6380/0?ssl_ca_certs=/x": "cache.example:6380",
    # A password that is not encoded: any part of the URL may belong to it.
    "mongodb://me:s3/cret@one.example/": "",
    "redis://:s3?cret@cache.example/0": "",
    "redis://:s3 cret": "",
    "": "",
}


@pytest.mark.parametrize(("url", "address"), ADDRESSES.items())
def test_address_has_hosts_and_ports_and_no_credentials(url: str, address: str) -> None:
    """With the default port where the URL has none."""
    assert address_in(Secret(url)) == address
