"""The reference PDS and its PLC directory, each in a Node process."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from worker.dev.stack.data_folder import Keys
from worker.dev.stack.supervisor import Command

MANIFEST = Path(__file__).with_name("node")


@dataclass(frozen=True, slots=True)
class Node:
    """Node's binary, the folder of the installed packages, and the inherited environment."""

    binary: Path
    packages: Path
    environment: Mapping[str, str]

    def command(self, script: str, variables: Mapping[str, str]) -> Command:
        """Return the command for a script of this package, with `variables` in its environment."""
        own = {"STACK_PACKAGES": str(self.packages), "LOG_ENABLED": "true", "LOG_LEVEL": "warn"}
        return Command((self.binary, MANIFEST / script), {**self.environment, **own, **variables})


@dataclass(frozen=True, slots=True)
class PlcProgram:
    """A PLC directory (https://web.plc.directory) for the DIDs of this stack.

    It has its own process and one JSON file, so that accounts survive a restart of the PDS.
    """

    node: Node
    data: Path
    name: str = "plc"

    def url(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"

    def command(self, port: int) -> Command:
        file = self.data / "operations.json"
        return self.node.command("plc.mjs", {"PLC_PORT": str(port), "PLC_FILE": str(file)})

    def ready(self, port: int, pid: int) -> bool:
        return _answers(port, "/_health", pid)


@dataclass(frozen=True, slots=True)
class PdsProgram:
    """The PDS: accounts, repos and blobs in `data`, handles under `.test`, no rate limits.

    `extra` overrides its environment, for example with `PDS_RATE_LIMITS_ENABLED=1` and, for
    other limits than the default ones, `STACK_RATE_LIMITS` (see `limits.mjs`).
    """

    node: Node
    data: Path
    plc_url: str
    keys: Keys
    extra: Mapping[str, str] = field(default_factory=dict)
    name: str = "pds"

    def url(self, port: int) -> str:
        return f"http://localhost:{port}"  # the endpoint in the DID documents

    def command(self, port: int) -> Command:
        # Plain http, no relay, no app view, no e-mail.
        variables = {
            "PDS_PORT": str(port),
            "PDS_DATA_DIRECTORY": str(self.data),
            "PDS_BLOBSTORE_DISK_LOCATION": str(self.data / "blobs"),
            "PDS_BLOBSTORE_DISK_TMP_LOCATION": str(self.data / "blobs-temp"),
            "PDS_ADMIN_PASSWORD": self.keys.pds_admin_password,
            "PDS_JWT_SECRET": self.keys.pds_jwt_secret,
            "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX": self.keys.plc_rotation_key,
            "PDS_HOSTNAME": "localhost",
            "PDS_DEV_MODE": "1",
            "PDS_DISABLE_SSRF_PROTECTION": "1",
            "PDS_DID_PLC_URL": self.plc_url,
            "PDS_SERVICE_HANDLE_DOMAINS": ".test",
            "PDS_INVITE_REQUIRED": "0",
            "PDS_BSKY_APP_VIEW_URL": "",
            "PDS_CRAWLERS": "",
            **self.extra,
        }
        return self.node.command("server.mjs", variables)

    def ready(self, port: int, pid: int) -> bool:
        return _answers(port, "/xrpc/com.atproto.server.describeServer", pid)


def _answers(port: int, path: str, pid: int) -> bool:
    """Return whether process `pid` answers; the services send their id in `Process-Id`.

    Uses no HTTP library, to avoid proxies from the environment and a TLS context for each call.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with suppress(OSError, http.client.HTTPException), closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK and response.headers["Process-Id"] == str(pid)
    return False
