"""deploy/make-secrets: what it makes fits what docker-compose.yml does with it."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from tests.deployment import ROOT, SECRETS, Service, elsewhere, make_secrets, services
from tests.fleet import logged
from tests.system.mongodb_root import make_root
from worker.core.settings import FlowerSettings
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.packages import MONGOD


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the secrets of a deployment."""
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    made = make_secrets(folder)
    assert set(made.split()) == {str(file) for file in folder.iterdir()}
    return folder


def test_it_makes_what_the_compose_file_reads(secrets: Path) -> None:
    """No more and no less, except the URL for producers."""
    read = set[str]().union(*(service.secrets for service in services().values()))
    assert {file.name for file in secrets.iterdir()} == read | {"redis_url_producer"}


def test_nobody_else_on_the_machine_can_read_them(secrets: Path) -> None:
    """The folder is its owner's; the files are for whichever user a container runs as."""
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o644}


def test_nobody_else_gets_into_a_folder_that_was_there(tmp_path: Path) -> None:
    """An operator may have made it, for the URL of another MongoDB."""
    tmp_path.chmod(0o755)
    make_secrets(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("missing", "made"),
    [
        ("web_basic_auth", {"web_basic_auth"}),
        ("redis_url_web", {"redis_url_web", "valkey_acl"}),
        ("valkey_acl", {"valkey_acl"}),
    ],
)
def test_it_makes_what_is_missing_and_replaces_nothing_else(
    secrets: Path, tmp_path: Path, missing: str, made: set[str]
) -> None:
    """A new URL of a user changes the line of this user in what Valkey reads."""
    folder = tmp_path / "secrets"
    shutil.copytree(secrets, folder)
    before = lines_of(folder)
    (folder / missing).unlink()
    assert {Path(line).name for line in make_secrets(folder).split()} == made
    changed = {(name, line.partition(" on ")[0]) for name, line in lines_of(folder) - before}
    others = {name for name, _ in changed} - {"valkey_acl"}
    assert others == made - {"valkey_acl"}
    users = {line for name, line in changed if name == "valkey_acl"}
    assert users == ({"user web"} if missing == "redis_url_web" else set())


def lines_of(folder: Path) -> set[tuple[str, str]]:
    """Return the lines of all files, with the names of the files."""
    return {(file.name, line) for file in folder.iterdir() for line in file.read_text().split("\n")}


def test_each_user_of_valkey_has_its_own_password(secrets: Path) -> None:
    """What Valkey reads has their hashes only."""
    urls = [file.read_text() for file in secrets.glob("redis_url_*")]
    passwords = {url.rpartition(":6379")[0].rpartition("@")[0].rpartition(":")[2] for url in urls}
    assert len(passwords) == len(urls)
    acl = (secrets / "valkey_acl").read_text()
    assert not [password for password in passwords if password in acl]
    for password in passwords:
        assert f" #{sha256(password.encode()).hexdigest()}\n" in acl


def test_keys_and_logins_are_what_the_settings_take(secrets: Path) -> None:
    """As the programs read them."""
    Fernet((secrets / "secret_keys").read_text().strip())
    login = {"FLOWER_BASIC_AUTH_FILE": str(secrets / "flower_basic_auth")}
    assert FlowerSettings.load(login).basic_auth.reveal().startswith("ops:")
    names = [line.partition("=")[0] for line in (secrets / "pds_env").read_text().split()]
    assert all(name.startswith("PDS_") for name in names)
    key = int((secrets / "pds_env").read_text().rpartition("=")[2], 16)
    assert 0 < key < 2**256


def test_mongodb_is_prepared_by_the_commands_of_the_file(secrets: Path, tmp_path: Path) -> None:
    """Mongod's own, then `mongo-init`, then `init`; each of the last two can be repeated."""
    port = Ports(tmp_path / "ports.json").claim("mongod")
    host = f"127.0.0.1:{port}"
    (tmp_path / "data").mkdir()
    programs = programs_of_the_image(tmp_path / "bin", port, tmp_path / "data")
    make_root(secrets, port, tmp_path)
    near = secrets_near(secrets, tmp_path / "secrets", host)
    places = {SECRETS: f"{near}/", "/tmp/": f"{tmp_path}/", "mongo:27017": host}
    places["/deploy/"] = f"{ROOT}/deploy/"
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    command = elsewhere(services()["mongo"].command, places)
    with logged(command, tmp_path / "log", cwd=tmp_path, env={**os.environ, "PATH": path}):
        for name, said in (
            ("mongo-init", "created the replica set rs0\ncreated the user media\n"),
            ("mongo-init", ""),
            ("init", " created\n"),
            ("init", " already there\n"),
        ):
            assert said in once(services()[name], places, path)
        url = (near / "mongodb_connection_string").read_text()
        with MongoClient[dict[str, object]](url) as client:
            assert client["aesthetic"]["paintings"].find_one() is None
            with pytest.raises(OperationFailure, match=r"[Nn]ot authorized"):
                client["other"]["paintings"].find_one()
        with (
            MongoClient[dict[str, object]](host, directConnection=True) as stranger,
            pytest.raises(OperationFailure, match="requires authentication"),
        ):
            stranger["aesthetic"]["paintings"].find_one()


def programs_of_the_image(folder: Path, port: int, data: Path) -> Path:
    """Make what the image of MongoDB has: an entrypoint, and mongod at its place and port."""
    folder.mkdir()
    mongod = f'exec {MONGOD.locate()} "$@" --port {port} --dbpath {data} --nounixsocket'
    for name, line in (("docker-entrypoint.sh", 'exec "$@"'), ("mongod", mongod)):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return folder


def secrets_near(secrets: Path, folder: Path, host: str) -> Path:
    """Copy the secrets, with the connection string as it is on this machine."""
    shutil.copytree(secrets, folder)
    url = folder / "mongodb_connection_string"
    told = url.read_text().strip()
    url.unlink()
    url.write_text(told.replace("mongo:27017", host))
    return folder


def once(service: Service, places: dict[str, str], path: str) -> str:
    """Run a service that ends by itself, and return what it said."""
    command = elsewhere(service.command, places)
    environ = {"PATH": path, **service.environment_at(places)}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout
