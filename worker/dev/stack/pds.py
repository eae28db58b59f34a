"""The reference PDS and a PLC directory for it, each a Node process."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.dev.stack.data_folder import Keys
from worker.dev.stack.supervisor import Command

MANIFEST = Path(__file__).with_name("node")


@dataclass(frozen=True, slots=True)
class Node:
    """How Node finds the installed packages: its binary, their folder, the basic environment."""

    binary: Path
    packages: Path
    environment: Mapping[str, str]

    def command(self, script: str, variables: Mapping[str, str]) -> Command:
        """Return how to run `script` of this package with `variables` added."""
        own = {
            "STACK_PACKAGES": str(self.packages),
            "LOG_ENABLED": "true",
            "LOG_LEVEL": "warn",
        }
        return Command((self.binary, MANIFEST / script), {**self.environment, **own, **variables})


@dataclass(frozen=True, slots=True)
class PlcProgram:
    """A PLC directory (https://web.plc.directory) that knows the DIDs of this stack alone.

    A process of its own, so that accounts outlive a restart of the PDS.
    """

    node: Node
    data: Path
    name: str = "plc"

    def url(self, port: int) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{port}"

    def command(self, port: int) -> Command:
        """Return how to run it; its operations are kept in one JSON file."""
        file = self.data / "operations.json"
        return self.node.command("plc.mjs", {"PLC_PORT": str(port), "PLC_FILE": str(file)})

    def ready(self, port: int, pid: int) -> bool:
        """Tell whether process `pid` answers."""
        return _answers(port, "/_health", pid)


@dataclass(frozen=True, slots=True)
class PdsProgram:
    """The PDS: accounts, repos and blobs in `data`, handles under `.test`, no rate limits.

    `extra` has the last word on its environment: `PDS_RATE_LIMITS_ENABLED=1` for one, with
    `STACK_RATE_LIMITS` (see `limits.mjs`) for other numbers than the usual.
    """

    node: Node
    data: Path
    plc_url: str
    keys: Keys
    extra: Mapping[str, str] = field(default_factory=dict)
    name: str = "pds"

    def url(self, port: int) -> str:
        """Return its address, the same as the endpoint in the DID documents."""
        return f"http://localhost:{port}"

    def command(self, port: int) -> Command:
        """Return how to run it."""
        variables = {"PDS_PORT": str(port), **self._storage(), **self._policy(), **self.extra}
        return self.node.command("server.mjs", variables)

    def ready(self, port: int, pid: int) -> bool:
        """Tell whether process `pid` answers."""
        return _answers(port, "/xrpc/com.atproto.server.describeServer", pid)

    def _storage(self) -> Mapping[str, str]:
        return {
            "PDS_DATA_DIRECTORY": str(self.data),
            "PDS_BLOBSTORE_DISK_LOCATION": str(self.data / "blobs"),
            "PDS_BLOBSTORE_DISK_TMP_LOCATION": str(self.data / "blobs-temp"),
            "PDS_ADMIN_PASSWORD": self.keys.pds_admin_password,
            "PDS_JWT_SECRET": self.keys.pds_jwt_secret,
            "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX": self.keys.plc_rotation_key,
        }

    def _policy(self) -> Mapping[str, str]:
        """Return what keeps it to itself: plain http, no relay, no app view, no e-mail."""
        return {
            "PDS_HOSTNAME": "localhost",
            "PDS_DEV_MODE": "1",
            "PDS_DISABLE_SSRF_PROTECTION": "1",
            "PDS_DID_PLC_URL": self.plc_url,
            "PDS_SERVICE_HANDLE_DOMAINS": ".test",
            "PDS_INVITE_REQUIRED": "0",
            "PDS_BSKY_APP_VIEW_URL": "",
            "PDS_CRAWLERS": "",
        }


def _answers(port: int, path: str, pid: int) -> bool:
    """Ask a service of ours by plain HTTP; its `Process-Id` header tells who answered.

    Without an HTTP library: no proxy of the environment, no TLS context for every question.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == http.HTTPStatus.OK and response.headers["Process-Id"] == str(pid)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
