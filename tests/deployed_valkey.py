"""Valkey as docker-compose.yml runs it, with the users that deploy/make-secrets makes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from redis import Redis

from tests.deployment import SECRETS, elsewhere, make_secrets, services
from tests.guarded_services import answers
from tests.waiting import wait_for
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.packages import VALKEY

_AUDITOR = "auditor"  # a user of the tests, who may do everything


@dataclass
class DeployedValkey:
    """A Valkey whose folder has its secrets, its data and its log."""

    folder: Path
    port: int
    password: str = field(default_factory=lambda: uuid4().hex)
    _process: subprocess.Popen[bytes] = field(init=False)

    @property
    def secrets(self) -> Path:
        """Return the folder of all secrets of the deployment."""
        return self.folder / "secrets"

    def url(self, user: str) -> str:
        """Return the URL that a user's secret has, at the port of this Valkey."""
        url = (self.secrets / f"redis_url_{user}").read_text().strip()
        return url.replace("@valkey:6379", f"@127.0.0.1:{self.port}")

    def connect(self, user: str) -> Redis:
        """Return a client that is logged in as a user."""
        return Redis.from_url(self.url(user))

    def connect_auditor(self) -> Redis:
        """Return a client that may do everything."""
        return Redis(port=self.port, username=_AUDITOR, password=self.password)

    def denials(self) -> list[str]:
        """Return what users were denied since the last call: the user, and a command or key."""
        with self.connect_auditor() as auditor:
            entries = auditor.acl_log()
            auditor.acl_log_reset()
        return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in entries]

    def start(self) -> None:
        """Start it, and wait until it answers."""
        acl = self.folder / "acl"
        acl.write_text(
            (self.secrets / "valkey_acl").read_text()
            + f"user {_AUDITOR} on ~* &* +@all >{self.password}\n"
        )
        places = {
            f"{SECRETS}valkey_acl": str(acl),
            "/data": str(self.folder),
            "valkey-server": str(VALKEY.locate()),
        }
        command = elsewhere(services()["valkey"].command, places)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), "--bind", "127.0.0.1"],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with closing(self.connect_auditor()) as auditor:
            wait_for(lambda: answers(auditor), within=30, what="Valkey to answer")

    def stop(self) -> None:
        """Stop it; its data stays."""
        self._process.terminate()
        self._process.wait(30)


@contextmanager
def deployed_valkey(folder: Path) -> Iterator[DeployedValkey]:
    """Run a Valkey with new secrets until the block ends."""
    make_secrets(folder / "secrets")
    valkey = DeployedValkey(folder, Ports(folder / "ports.json").claim("valkey"))
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.stop()
