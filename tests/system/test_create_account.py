"""deploy/create_account.py: accounts that it creates, its errors, and how to go on after them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.contract.proxy import Proxy, Reply, open_proxy
from worker.core.secrets import Vault
from worker.dev.stack import Stack
from worker.services import Services

_PROGRAM = Path(__file__).parents[2] / "deploy/create_account.py"
_OWN_PASSWORD = re.compile(r"own password.*: (\S+)$", re.M)
_FAILURE = Reply(status=500, body=b"<html>\x1b[2J")


@dataclass(frozen=True, slots=True)
class Operator:
    """Runs the program for one user and one handle."""

    services: Services
    environ: Mapping[str, str]
    name: str = field(default_factory=lambda: f"o{uuid4().hex[:12]}")

    def run(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the program with changes of the environment."""
        arguments = (self.name, f"{self.name}.test", f"{self.name}@example.com", *options)
        return subprocess.run(
            (sys.executable, _PROGRAM, *arguments),
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def stored(self) -> dict[str, str]:
        """Return the stored account of the user, without `atproto` an empty one."""
        user = self.services.storage.database["users"].find_one({"_id": self.name}) or {}
        atproto = user.get("atproto", {})
        assert isinstance(atproto, dict)
        return atproto

    def log_in(self, password: str) -> str:
        """Log in with a password; return the DID."""
        body = {"identifier": f"{self.name}.test", "password": password}
        url = f"{self.environ['PDS_URL']}/xrpc/com.atproto.server.createSession"
        return str(httpx.post(url, json=body, timeout=30).raise_for_status().json()["did"])

    def has_account(self) -> bool:
        """Return whether the PDS has an account with the handle."""
        url = f"{self.environ['PDS_URL']}/xrpc/com.atproto.identity.resolveHandle"
        answer = httpx.get(url, params={"handle": f"{self.name}.test"}, timeout=30)
        return answer.is_success


@pytest.fixture
def operator(
    stack: Stack, services: Services, pds_admin: tuple[str, str], bare_environ: dict[str, str]
) -> Operator:
    """Return an operator of the services, with a database of the test's own."""
    own = {
        "MONGODB_NAME": services.settings.mongodb.name,
        "MONGODB_SERVER_SELECTION_SECONDS": "0.3",
        "PDS_ENV": f"PDS_PORT=3000\nPDS_ADMIN_PASSWORD={pds_admin[1]}",
    }
    return Operator(services, {**bare_environ, **stack.environment, **own})


@pytest.fixture
def proxy(operator: Operator) -> Iterator[Proxy]:
    """Return a proxy in front of the PDS."""
    with open_proxy(operator.environ["PDS_URL"]) as opened:
        yield opened


def check_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Check the exit code, and that stderr is one printable line with all parts."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.strip("\n").isprintable()
    assert not [part for part in parts if part not in done.stderr], done.stderr


def own_password(done: subprocess.CompletedProcess[str]) -> str:
    """Return the own password of the account, which is printed once."""
    (password,) = _OWN_PASSWORD.findall(done.stdout)
    assert password not in done.stderr
    return str(password)


def test_account_is_created_and_stored_with_a_sealed_app_password(operator: Operator) -> None:
    """Both passwords work, and other fields of the user and of `atproto` are kept."""
    users = operator.services.storage.database["users"]
    kept = {"pref": 1, "handle": "old"}
    users.insert_one({"_id": operator.name, "name": "Ada", "atproto": kept})
    done = operator.run()
    assert done.returncode == 0, done.stderr
    stored = operator.stored()
    app_password = Vault(operator.services.settings.secret_keys).open_password(
        stored["password"], stored["did"]
    )
    assert operator.log_in(app_password.reveal()) == stored["did"]
    assert operator.log_in(own_password(done)) == stored["did"]
    assert stored["handle"] == f"{operator.name}.test"
    assert stored.items() >= {("pref", 1)}
    again = operator.run()
    assert again.returncode == 1
    assert operator.stored() == stored


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SECRET_KEYS", "garbage"), ("MONGODB_CONNECTION_STRING", "mongodb://127.0.0.1:1")],
)
def test_problem_that_prevents_storing_is_found_before_an_account_is_created(
    operator: Operator, variable: str, value: str
) -> None:
    """Invalid keys, and a MongoDB that does not answer."""
    done = operator.run(**{variable: value})
    assert (done.returncode, variable in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr
    assert not operator.has_account()


def test_pds_that_does_not_answer_is_named(operator: Operator) -> None:
    """With its address, and the setting to check."""
    check_error(operator.run(PDS_URL="http://127.0.0.1:1"), "PDS at http://127.0.0.1:1", "PDS_URL")


def test_wrong_admin_password_is_named(operator: Operator) -> None:
    """With the setting to check."""
    done = operator.run(PDS_ENV="PDS_ADMIN_PASSWORD=wrong")
    check_error(done, "createInviteCode", "check the admin password in PDS_ENV")


@pytest.mark.parametrize("method", ["createAccount", "createAppPassword"])
def test_a_rerun_stores_the_account_of_a_failed_run(
    operator: Operator, proxy: Proxy, method: str
) -> None:
    """The PDS carries out a call, and its answer is lost; the password was printed."""
    proxy.answer(Reply(status=_FAILURE.status, body=_FAILURE.body, carried_out=True), method)
    failed = operator.run(PDS_URL=proxy.url)
    check_error(failed, f"PDS at {proxy.url}", method)
    assert operator.stored() == {}
    check_error(operator.run(), "refused createAccount", "ACCOUNT_PASSWORD")
    done = operator.run("--plain", ACCOUNT_PASSWORD=own_password(failed))
    assert done.returncode == 0, done.stderr
    stored = operator.stored()
    assert operator.log_in(stored["password"]) == stored["did"]


def test_document_that_cannot_be_changed_leaves_a_known_password(operator: Operator) -> None:
    """The error says how to continue once the document is corrected."""
    users = operator.services.storage.database["users"]
    users.insert_one({"_id": operator.name, "atproto": "x"})
    failed = operator.run()
    check_error(failed, "MongoDB", "run the same command again")
    users.delete_one({"_id": operator.name})
    assert operator.run(ACCOUNT_PASSWORD=own_password(failed)).returncode == 0
    assert operator.stored()["did"] == operator.log_in(own_password(failed))


def test_wrong_own_password_changes_nothing(operator: Operator) -> None:
    """No account is created instead."""
    check_error(operator.run(ACCOUNT_PASSWORD="wrong"), "createSession", "ACCOUNT_PASSWORD")
    assert not operator.has_account()
