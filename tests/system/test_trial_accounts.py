"""Accounts of a deployment: the PDS with a private directory, and the service `account`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.deployment import ROOT, SECRETS, Service, elsewhere, make_secrets, services, trial
from tests.fleet import logged
from tests.second_opinion import open_second_opinion
from tests.terminal import run
from tests.waiting import wait_for
from tests.world import World, Worlds
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.packages import NODE
from worker.dev.stack.pds import MANIFEST

DOMAIN = "pds.example.com"  # of PDS_HOSTNAME in deploy/make-secrets
_DIRECTORY = "http://plc:2582"
_HOST = "127.0.0.2"  # an address of this machine that nothing listens to by default


@dataclass(frozen=True, slots=True)
class Trial:
    """A PDS as docker-compose.yml and deploy/trial.yml run it, and its directory."""

    folder: Path
    pds_url: str
    directory: str
    world: World

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment for commands."""
        own = {"PDS_URL": self.pds_url, "DID_RESOLVER": "off"}
        return {**os.environ, **self.world.environ, **own}

    def create(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the service `account` with arguments."""
        service = services()["account"]
        places = {SECRETS: f"{self.folder}/secrets/", "/deploy/": f"{ROOT}/deploy/"}
        entrypoint = elsewhere(service.told["entrypoint"], places)
        environ = {
            "PATH": f"{Path(sys.executable).parent}",
            **service.environment_at(places),
            **{name: self.environ[name] for name in ("PDS_URL", "MONGODB_NAME")},
        }
        return subprocess.run(
            [*entrypoint, *arguments], env=environ, capture_output=True, text=True, check=False
        )

    def stored(self, subject: str) -> dict[str, str]:
        """Return the account of a user in MongoDB."""
        user = self.world.services.storage.database["users"].find_one({"_id": subject}) or {}
        account = user.get("atproto", {})
        assert isinstance(account, dict)
        return account


@pytest.fixture(scope="module")
def trial_run(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Run the commands of both services in place of their containers."""
    folder = tmp_path_factory.mktemp("trial")
    ports = Ports(folder / "ports.json")
    plc, pds = ports.claim("plc"), ports.claim("pds")
    packages = open_second_opinion(os.environ, folder / "packages").modules.parent
    directory, pds_url = f"http://{_HOST}:{plc}", f"http://127.0.0.1:{pds}"
    prepare_secrets(folder / "secrets", folder / "data", pds)
    with ExitStack() as undo:
        world = undo.enter_context(worlds.open())
        for name in ("mongodb_connection_string", "secret_keys"):
            value = world.environ[name.upper()]
            (folder / "secrets" / name).write_text(f"{value}\n")
        environ = {**os.environ, **image_environment(), "STACK_PACKAGES": str(packages)}
        environ |= {"PLC_HOST": _HOST, "PLC_PORT": str(plc), "PLC_FILE": f"{folder}/plc.json"}
        places = {SECRETS: f"{folder}/secrets/", _DIRECTORY: directory}
        for service in trial().values():
            log = folder / f"{service.name}.log"
            undo.enter_context(logged(command_of(service, places), log, env=environ, cwd=folder))
        wait_for(lambda: answers(f"{directory}/_health"), within=60, what="the directory")
        wait_for(lambda: answers(f"{pds_url}/xrpc/_health"), within=60, what="the PDS")
        yield Trial(folder, pds_url, directory, world)


def prepare_secrets(folder: Path, data: Path, port: int) -> None:
    """Create the secrets, and move the folder and the port of the PDS."""
    make_secrets(folder)
    data.mkdir()
    file = folder / "pds_env"
    text = file.read_text().replace("=/pds", f"={data}").replace("=3000", f"={port}")
    file.write_text(text)


def image_environment() -> dict[str, str]:
    """Return the environment that deploy/plc.Dockerfile sets."""
    (line,) = re.findall(r"^ENV (.+)$", (ROOT / "deploy/plc.Dockerfile").read_text(), re.M)
    return dict(pair.split("=", 1) for pair in line.split())


def command_of(service: Service, places: dict[str, str]) -> list[str]:
    """Return the command of a service with Node and the programs of the embedded stack."""
    node = str(NODE.locate())
    programs = {"index.js": f"{MANIFEST}/server.mjs", "plc.mjs": f"{MANIFEST}/plc.mjs"}
    words = elsewhere(service.command, {**places, **programs, "exec node": f"exec {node}"})
    return [node if word == "node" else word for word in words]


def answers(url: str) -> bool:
    """Return whether a service responds."""
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_an_account_is_created_and_can_be_published_to(trial_run: Trial) -> None:
    """With an invite code; workers log in with an app password, which is stored encrypted."""
    created = trial_run.create("auth0|eve", f"eve.{DOMAIN}", "eve@example.com")
    assert created.returncode == 0, created.stderr
    account = trial_run.stored("auth0|eve")
    assert account["handle"] == f"eve.{DOMAIN}"
    assert account["password"].startswith("fernet:")
    assert account["did"] in created.stdout
    mood = trial_run.world.platform.save_mood("on trial", "auth0|eve")
    code, printed, error = run(["sync", "mood", str(mood)], trial_run.environ)
    assert code == 0, printed + error
    assert account["did"] in printed


def test_the_directory_of_the_trial_has_the_account(trial_run: Trial) -> None:
    """And so the public directory has not: the PDS registers an account in one directory."""
    assert trial_run.create("auth0|dot", f"dot.{DOMAIN}", "dot@example.com").returncode == 0
    did = trial_run.stored("auth0|dot")["did"]
    document = httpx.get(f"{trial_run.directory}/{did}", trust_env=False).json()
    assert document["alsoKnownAs"] == [f"at://dot.{DOMAIN}"]


def test_a_plain_password_is_sealed_by_rotate_keys(trial_run: Trial) -> None:
    """Other programs of a platform may read it, so `--plain` stores it as it is."""
    arguments = ("auth0|fay", f"fay.{DOMAIN}", "fay@example.com", "--plain")
    assert trial_run.create(*arguments).returncode == 0
    assert re.fullmatch(r"(\w{4}-){3}\w{4}", trial_run.stored("auth0|fay")["password"])
    assert run(["rotate-keys", "--yes"], trial_run.environ)[0] == 0
    assert trial_run.stored("auth0|fay")["password"].startswith("fernet:")


def test_an_existing_account_is_kept(trial_run: Trial) -> None:
    """A second one for the same user would leave the first one without its items."""
    assert trial_run.create("auth0|gus", f"gus.{DOMAIN}", "gus@example.com").returncode == 0
    before = trial_run.stored("auth0|gus")
    again = trial_run.create("auth0|gus", f"gus2.{DOMAIN}", "gus2@example.com")
    assert again.returncode == 1
    assert "has an account already" in again.stderr
    assert trial_run.stored("auth0|gus") == before


def test_a_refusal_of_the_pds_is_reported(trial_run: Trial) -> None:
    """Nothing is stored, and there is no traceback."""
    refused = trial_run.create("auth0|hal", "hal.elsewhere.example", "hal@example.com")
    assert refused.returncode == 2
    assert "refused createAccount" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert trial_run.stored("auth0|hal") == {}
