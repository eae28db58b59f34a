"""The shell commands of docs/deployment.md, run in the order of the page by an unprivileged user.

`sudo` runs its command as the same user, and /etc and /opt are folders of the test. Commands of
Docker and systemd are only recorded, and their arguments are checked.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.deployment import ROOT, services, trial
from tests.fleet import Process, logged
from tests.system.mongodb_root import make_root
from tests.waiting import wait_for
from worker.cli import main
from worker.dev.stack.data_folder import Ports
from worker.dev.stack.packages import MONGOD, VALKEY

_MONGODB, _REDIS = "127.0.0.1:27017", "127.0.0.1:6379"
_BLOCK = re.compile(r"(?:^<!-- not run: ([^\n]+?) -->\n)?^```sh\n(.*?)^```$", re.M | re.S)
_RECORDED = ("docker", "systemctl")
_SUBCOMMANDS = {"version", "up", "ps", "run", "build", "exec", "stop", "start", "cp"}
_UNIT = re.compile(r"media-atproto-[a-z-]+")
_CREATES_SECRETS = "deploy/make-secrets /etc"


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder in which a user follows the page, with stand-ins for programs and folders."""

    folder: Path
    places: Mapping[str, str]

    @property
    def clone(self) -> Path:
        """Return the copy of the repository."""
        return self.folder / "clone"

    def run(self, block: str, exported: Mapping[str, str]) -> dict[str, str]:
        """Run a block in a shell; return the variables that it exports."""
        script = f"set -e\n{self.replaced(block)}\nenv -0 > {self.folder}/exported\n"
        done = self.execute(["bash", "--norc", "-c", script], exported)
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        pairs = (self.folder / "exported").read_text().rstrip("\0").split("\0")
        return dict(pair.split("=", 1) for pair in pairs)

    def execute(
        self, command: list[str], exported: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as an unprivileged user."""
        path = os.pathsep.join((f"{self.folder}/bin", "/usr/bin", "/bin"))
        environ = {**exported, "PATH": path, "HOME": str(self.folder)}
        return subprocess.run(
            [*without_capabilities(), *command],
            cwd=self.clone,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def replaced(self, text: str) -> str:
        """Replace the folders and addresses of a text by those of the test."""
        pattern = "|".join(re.escape(place) for place in sorted(self.places, key=len, reverse=True))
        return re.sub(rf"(?<![\w/])(?:{pattern})", lambda found: self.places[found[0]], text)

    def commands(self) -> list[list[str]]:
        """Return the recorded commands of Docker and systemd."""
        file = self.folder / "recorded"
        return [shlex.split(line) for line in file.read_text().splitlines()]


def without_capabilities() -> list[str]:
    """Return the start of a command line that gives up the rights of root, if there are any.

    Root without capabilities is bound by modes, like every owner of files.
    """
    is_root = os.geteuid() == 0
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if is_root else []


def blocks() -> list[tuple[str, str]]:
    """Return why a block of the page is not run, or "", and its commands."""
    return _BLOCK.findall((ROOT / "docs/deployment.md").read_text())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Prepare the folder: a clone, programs that stand in for others, and an installed package."""
    folder = tmp_path_factory.mktemp("page")
    ports = Ports(folder / "ports.json")
    places = {"/etc": f"{folder}/etc", "/opt": f"{folder}/opt"}
    for address, name in ((_MONGODB, "mongod"), (_REDIS, "valkey")):
        places[address] = f"127.0.0.1:{ports.claim(name)}"
    made = Machine(folder, places)
    copy_repository(made)
    write_programs(folder)
    (folder / "opt").mkdir()
    (folder / "opt/media-atproto").symlink_to(sys.prefix)
    (folder / "etc/systemd/system").mkdir(parents=True)
    return made


def copy_repository(machine: Machine) -> None:
    """Copy the files that the page uses; those for systemd name /etc and /opt."""
    shutil.copytree(ROOT / "deploy", machine.clone / "deploy")
    for name in ("docker-compose.yml", "Procfile", ".env.example"):
        shutil.copy(ROOT / name, machine.clone / name)
    for file in (machine.clone / "deploy/systemd").iterdir():
        file.write_text(machine.replaced(file.read_text()))


def write_programs(folder: Path) -> None:
    """Write `sudo`, which runs a command, and programs that are only recorded."""
    (folder / "bin").mkdir()
    record = f'#!/bin/bash\necho "${{0##*/}}$(printf " %q" "$@")" >> {folder}/recorded\n'
    scripts = dict.fromkeys(_RECORDED, record)
    for name, text in {**scripts, "sudo": '#!/bin/sh\nexec env "$@"\n'}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)


@pytest.fixture(scope="module")
def followed(machine: Machine) -> Iterator[Machine]:
    """Run all blocks; start MongoDB and Valkey with the secrets of systemd once they exist."""
    exported: dict[str, str] = {}
    with ExitStack() as undo:
        for reason, block in blocks():
            if not reason and not waits_for_a_unit(block):
                exported = machine.run(block, exported)
            if _CREATES_SECRETS in block:
                start_services(undo, machine)
        yield machine


def waits_for_a_unit(block: str) -> bool:
    """Return whether a block needs a worker that systemd has started."""
    return "media-atproto alive" in block


def start_services(undo: ExitStack, machine: Machine) -> None:
    """Start MongoDB and Valkey as the page says, with the files that it names."""
    secrets = machine.folder / "etc/media-atproto/secrets"
    data = machine.folder / "services"
    (data / "data").mkdir(parents=True)
    mongodb, redis = (machine.places[name].rpartition(":")[2] for name in (_MONGODB, _REDIS))
    make_root(secrets, int(mongodb), data)
    key = data / "mongodb_key"
    shutil.copy(secrets / "mongodb_key", key)
    key.chmod(0o400)
    mongod = [str(MONGOD.locate()), "--replSet", "rs0", "--keyFile", str(key), "--nounixsocket"]
    mongod += ["--port", mongodb, "--dbpath", str(data / "data"), "--bind_ip", "127.0.0.1"]
    undo.enter_context(logged(mongod, data / "mongod.log"))
    options = ["--appendonly", "yes", "--maxmemory-policy", "noeviction", "--dir", str(data)]
    valkey = [str(VALKEY.locate()), "--port", redis, "--bind", "127.0.0.1", *options]
    valkey += ["--aclfile", str(secrets / "valkey_acl")]
    undo.enter_context(logged(valkey, data / "valkey.log"))


def test_every_block_runs_or_has_a_reason() -> None:
    """A block without a comment is run; these are the only reasons."""
    reasons = {reason for reason, _ in blocks() if reason}
    assert reasons == {
        "downloads packages",
        "the PDS is an example",
        "downloads packages, and does not end",
    }


def test_all_commands_succeed_without_privileges(followed: Machine) -> None:
    """And the files have the modes in the table of the page."""
    page = (ROOT / "docs/deployment.md").read_text()
    modes = {
        "secrets/": followed.clone / "secrets",
        "media.env": followed.clone / "media.env",
        "media/": followed.clone / "media",
        "/etc/media-atproto/": followed.folder / "etc/media-atproto",
        "/etc/media-atproto/secrets/": followed.folder / "etc/media-atproto/secrets",
    }
    for name, path in modes.items():
        (mode,) = re.findall(rf"^\| `{name}` \| \w+ \| (\d+) \|", page, re.M)
        assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8), name
    assert (followed.clone / "backup/secrets.tar.gz").exists()


def test_secrets_can_be_edited_by_their_owner(followed: Machine) -> None:
    """As the page says for the environment of the PDS."""
    edit = (
        "sed -i s/PDS_PORT=3000/PDS_PORT=3001/ secrets/pds_env && echo PDS_X=1 >> secrets/pds_env"
    )
    done = followed.execute(["sh", "-c", edit], {})
    assert done.returncode == 0, done.stderr
    assert "PDS_PORT=3001" in (followed.clone / "secrets/pds_env").read_text()


def test_the_password_of_a_redis_user_is_changed(followed: Machine) -> None:
    """The file of users for Valkey is created again with the URL."""
    secrets = followed.clone / "secrets"
    assert (secrets / "valkey_acl").stat().st_mtime_ns > (
        secrets / "secret_keys"
    ).stat().st_mtime_ns


def test_commands_of_docker_name_existing_services(followed: Machine) -> None:
    """And known subcommands; what they run is a command of ours, or the service's own."""
    known = {**services(), **trial()}
    for program, *words in followed.commands():
        if program != "docker":
            continue
        assert words[0] == "compose"
        assert words[1] in _SUBCOMMANDS, words
        named = [word.partition(":")[0] for word in words[2:] if not word.startswith("-")]
        if words[1] in {"run", "exec"}:
            assert named[0] in known
            check_command(named, words[2:])
        elif words[1] == "cp":
            assert "pds" in named
        else:
            assert set(named) <= set(known), words


def check_command(named: list[str], words: list[str]) -> None:
    """Check the command line of media-atproto, or the arguments of the service `account`."""
    rest = words[words.index(named[0]) + 1 :]
    if rest[:1] == ["media-atproto"]:
        parsed = CliRunner().invoke(main, [*rest[1:], "--help"])
        assert parsed.exit_code == 0, parsed.output
    elif named[0] == "account":
        assert [bool(re.fullmatch(p, w)) for p, w in zip(_ACCOUNT, rest, strict=True)] == [True] * 3


_ACCOUNT = (r"auth0\|ada|art-guest", r"\w+\.pds\.example\.com", r"\w+@example\.com")


def test_the_override_of_a_trial_is_used_with_the_compose_file(followed: Machine) -> None:
    """Both files of COMPOSE_FILE exist, and the PDS of the trial is that of the compose file."""
    (value,) = re.findall(r"COMPOSE_FILE=(\S+)", (ROOT / "docs/deployment.md").read_text())
    merged = [yaml.safe_load((followed.clone / name).read_text()) for name in value.split(":")]
    assert set(merged[1]["services"]) - set(merged[0]["services"]) == {"plc"}
    assert "plc.directory" in (followed.clone / "secrets/pds_env").read_text()
    assert "PDS_DID_PLC_URL=http://plc:2582" in trial()["pds"].command[-1]


def test_units_that_the_page_starts_are_installed(followed: Machine) -> None:
    """Each line of the Procfile has one."""
    installed = {file.stem for file in (followed.folder / "etc/systemd/system").iterdir()}
    lines = (ROOT / "Procfile").read_text().splitlines()
    assert installed == {f"media-atproto-{line.partition(':')[0]}" for line in lines}
    started = {
        word
        for program, *words in followed.commands()
        for word in words
        if program == "systemctl" and words[0] == "enable" and _UNIT.fullmatch(word)
    }
    assert started == installed - {"media-atproto-watch"}


@pytest.mark.parametrize("name", ["worker-live", "beat"])
def test_a_unit_runs_with_the_files_of_the_page(followed: Machine, name: str) -> None:
    """Its command, environment and credentials; then `alive` succeeds as on the page."""
    with unit(followed, f"media-atproto-{name}") as (process, heartbeat):
        (alive,) = (block for _, block in blocks() if waits_for_a_unit(block))
        command = ["sh", "-c", followed.replaced(re.sub(r"/run/\S+", str(heartbeat), alive))]
        wait_for(
            lambda: followed.execute(command, {}).returncode == 0,
            within=60,
            what=f"the unit to be alive; {process.text[-2000:]}",
        )


@contextmanager
def unit(machine: Machine, name: str) -> Iterator[tuple[Process, Path]]:
    """Run the command of an installed unit until the block ends; yield its heartbeat as well."""
    text = (machine.folder / f"etc/systemd/system/{name}.service").read_text()
    home = machine.folder / "units" / name
    (home / "credentials").mkdir(parents=True)
    for file, path in re.findall(r"^LoadCredential=(\w+):(\S+)$", text, re.M):
        shutil.copy(path, home / "credentials" / file)
    specifiers = {"%N": name, "%t": str(home), "%d": str(home / "credentials"), "%S": str(home)}
    text = re.sub("%[NtdS]", lambda found: specifiers[found[0]], text)
    (home / name).mkdir()
    settings = (machine.folder / "etc/media-atproto/env").read_text()
    pairs = shlex.split(settings, comments=True)
    pairs += shlex.split(" ".join(re.findall(r"^Environment=(.+)$", text, re.M)))
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.M)
    environ = dict(pair.split("=", 1) for pair in pairs)
    words = shlex.split(command.replace("%%", "%"))
    with logged(words, home / "log", env=environ, cwd=home / name) as process:
        yield process, Path(environ["HEARTBEAT_FILE"])
