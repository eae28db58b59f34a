"""The programs of the reference PDS and its PLC directory, which run in Node."""

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
    """The Node binary, the folder of installed packages, and the base environment."""

    binary: Path
    packages: Path
    environment: Mapping[str, str]

    def command(self, script: str, variables: Mapping[str, str]) -> Command:
        """Build the command for a script in `MANIFEST`, with `variables` added."""
        own = {"STACK_PACKAGES": str(self.packages), "LOG_ENABLED": "true", "LOG_LEVEL": "warn"}
        return Command((self.binary, MANIFEST / script), {**self.environment, **own, **variables})


@dataclass(frozen=True, slots=True)
class PlcProgram:
    """Runs a PLC directory (https://web.plc.directory) for the DIDs of this stack.

    It runs in its own process and saves one JSON file, so that accounts survive PDS restarts.
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
    """Runs the PDS with its data in `data`, handles under `.test` and no rate limits.

    `extra` overrides environment variables. For example, `PDS_RATE_LIMITS_ENABLED=1` enables rate
    limits, and `STACK_RATE_LIMITS` replaces the default ones (see `limits.mjs`).
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
        # HTTP without TLS, no relay, no app view, no e-mail.
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
    """Return whether process `pid` responds; its id is in the header `Process-Id`.

    Uses `http.client`, because httpx would use proxies from the environment and create a TLS
    context for each call.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with suppress(OSError, http.client.HTTPException), closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK and response.headers["Process-Id"] == str(pid)
    return False
