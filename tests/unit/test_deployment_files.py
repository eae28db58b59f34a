"""The files that a deployment starts from: valid by schema and linter, and closed by default."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from celery.bin.celery import celery
from click.testing import CliRunner

from tests.deployment import ROOT, SECRETS, Service, compose, procfile, services, size, trial
from worker.cli import main
from worker.queue.config import MAX_CHILD_MEMORY
from worker.queue.names import BATCH_HARD_LIMIT, BULK, HARD_LIMIT, LIVE, SWEEP

BIN = Path(sys.executable).parent
COMPOSE = "docker-compose.yml"
PAGE = (ROOT / "docs/deployment.md").read_text()
_PARENT = MAX_CHILD_MEMORY // 2  # of a worker, twice what was measured: docs/figures.md
_ONE_SHOT = {"account", "init", "mongo-init", "operator"}  # they end by themselves: no health check
_MONGODB = "mongodb_connection_string"
_WORKER = {_MONGODB, "redis_url_worker", "secret_keys"}
SECRETS_OF = {
    "worker-live": _WORKER,
    "worker-bulk": _WORKER,
    "beat": {"redis_url_beat"},
    "watch": {_MONGODB, "redis_url_watch"},
    "flower": {"redis_url_flower", "flower_basic_auth"},
    "web": {_MONGODB, "redis_url_web", "secret_keys", "web_basic_auth"},
    "operator": {_MONGODB, "redis_url_operator", "secret_keys"},
    "account": {_MONGODB, "pds_env", "secret_keys"},
    "init": {_MONGODB},
    "mongo-init": {_MONGODB, "mongodb_root_password"},
    "mongo": {"mongodb_key", "mongodb_root_password"},
    "valkey": {"valkey_acl"},
    "pds": {"pds_env"},
}
SERVICES = list(services().values())


def check(folder: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a checker, one of this Python or of the system, in a folder."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    command = ["/usr/bin/env", f"PATH={path}", program, *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(("key", "code"), [("stop_grace_period", 0), ("stop_grace", 1)])
def test_the_compose_file_is_valid(tmp_path: Path, key: str, code: int) -> None:
    """By the schema of compose itself, which finds a misspelt key."""
    text = (ROOT / COMPOSE).read_text().replace("stop_grace_period", key)
    (tmp_path / COMPOSE).write_text(text)
    schema = ("--builtin-schema", "vendor.compose-spec", COMPOSE)
    checked = check(tmp_path, "check-jsonschema", *schema)
    assert checked.returncode == code, checked.stdout


@pytest.mark.parametrize(
    "command",
    ["hadolint Dockerfile", "hadolint deploy/plc.Dockerfile", "sh -n deploy/make-secrets"],
)
def test_the_dockerfile_and_the_scripts_have_no_faults(command: str) -> None:
    """By a linter and by the shell that runs them."""
    checked = check(ROOT, *command.split())
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_gets_no_more_than_it_needs(service: Service) -> None:
    """No capability, no way to gain one, no file but those of its volumes, no endless memory."""
    told = service.told
    assert told["restart"] == ("no" if service.name in _ONE_SHOT else "unless-stopped")
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in told
    assert "cap_add" not in told
    assert all(name in told["deploy"]["resources"]["limits"] for name in ("cpus", "memory", "pids"))
    assert told["logging"]["options"]["max-size"]
    assert ("healthcheck" in told) is (service.name not in _ONE_SHOT)


def test_the_directory_of_a_trial_is_closed_as_well() -> None:
    """Its compose file is valid, and its service has no more rights than the others."""
    schema = ("--builtin-schema", "vendor.compose-spec", "deploy/trial.yml")
    assert check(ROOT, "check-jsonschema", *schema).returncode == 0
    told = trial()["plc"].told
    guarded = services()["pds"].told
    for key in ("restart", "read_only", "tmpfs", "cap_drop", "security_opt", "logging"):
        assert told[key] == guarded[key], key
    assert "ports" not in told
    assert set(told["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    steps = re.sub(r" \\\n\s*", " ", (ROOT / told["build"]["dockerfile"]).read_text())
    for line in re.findall(r"^COPY (.+) \./$", steps, re.M):
        assert all((ROOT / name).exists() for name in line.split())


def test_nothing_listens_to_the_world() -> None:
    """Published on the loopback: Flower, the status page, and the PDS for a proxy with TLS."""
    published = {service.name: service.told.get("ports", []) for service in SERVICES}
    assert {name for name, ports in published.items() if ports} == {"flower", "web", "pds"}
    assert all(str(port).startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert compose()["networks"]["data"] == {"internal": True}
    for name in ("mongo", "valkey"):
        assert services()[name].told["networks"] == ["data"]
    assert not [s.name for s in SERVICES if "network_mode" in s.told]


def test_the_proxy_with_tls_forwards_to_the_published_port_of_the_pds() -> None:
    """It also asks there whether it may request a certificate for a name."""
    (port,) = services()["pds"].told["ports"]
    published = port.rpartition(":")[0]
    proxy = (ROOT / "deploy/Caddyfile").read_text()
    assert f"reverse_proxy {published}\n" in proxy
    assert f"ask http://{published}/tls-check\n" in proxy


def test_images_are_pinned() -> None:
    """To one version: a tag such as `8` or `latest` moves. Both stages of ours have one base."""
    tags = [s.told["image"].partition("@")[0].rpartition(":")[2] for s in SERVICES]
    assert not [tag for tag in tags if not re.match(r"\d+\.\d+\.\d+", tag)]
    (base,) = set(re.findall(r"^FROM (\S+)", dockerfile(), re.M))
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)


def test_secrets_are_files() -> None:
    """None is a value in the file, and each that is defined is given to a service."""
    assert set(compose()["secrets"]) == set[str]().union(*SECRETS_OF.values())
    for service in SERVICES:
        for name, value in service.told.get("environment", {}).items():
            if re.search("PASSWORD|KEY|AUTH|URL|STRING", name):
                assert value.startswith(SECRETS) or name == "MEDIA_STORE_URL", name


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_gets_exactly_the_secrets_of_its_program(service: Service) -> None:
    """Its environment and its command name those and no others."""
    assert service.secrets == SECRETS_OF[service.name]
    named = re.findall(rf"{SECRETS}(\w+)", yaml.safe_dump(dict(service.told)))
    assert set(named) == service.secrets


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_page_lists_the_secrets_of_a_service(service: Service) -> None:
    """In the table of docs/deployment.md."""
    (row,) = re.findall(rf"^\| `{service.name}`.* \| (.+) \|$", PAGE, re.M) or [""]
    assert set(re.findall(r"`(\w+)`", row)) == service.secrets


@pytest.mark.parametrize("name", ["PDS_URL", "ALLOW_HTTP", "DID_RESOLVER"])
def test_plain_http_is_never_a_default(name: str) -> None:
    """Without deploy/own-pds.env, which sets all three, the settings' own defaults apply."""
    assert not [s.name for s in SERVICES if name in s.told.get("environment", {})]
    own = (ROOT / "deploy/own-pds.env").read_text()
    assert len(re.findall("^(?:PDS_URL|ALLOW_HTTP|DID_RESOLVER)=", own, re.M)) == 3


@pytest.mark.parametrize(
    ("name", "queues", "limit"),
    [("worker-live", {LIVE, SWEEP}, HARD_LIMIT), ("worker-bulk", {BULK}, BATCH_HARD_LIMIT)],
)
def test_a_worker_has_the_memory_and_the_time_that_its_tasks_may_take(
    name: str, queues: set[str], limit: int
) -> None:
    """Or the kernel would kill at random, and Docker in the middle of a write."""
    service = services()[name]
    command = service.command
    assert set(command[command.index("-Q") + 1].split(",")) == queues
    children = int(command[command.index("--concurrency") + 1])
    assert service.memory >= children * MAX_CHILD_MEMORY + _PARENT
    assert service.grace > limit


def test_the_procfile_has_the_long_running_services_of_the_compose_file() -> None:
    """A runner and Docker start the same programs."""
    assert {s.name for s in SERVICES if s.is_ours and s.name not in _ONE_SHOT} == set(procfile())


@pytest.mark.parametrize("name", procfile())
def test_a_line_of_the_procfile_is_a_command_of_the_compose_file(name: str) -> None:
    """The same words, paths aside; tests/system/test_compose.py runs them."""
    words = shlex.split(procfile()[name])
    assert {word for word in words if not word.startswith("/")} <= set(services()[name].command)
    start = words.index("celery" if "celery" in words else "media-atproto")
    program = {"celery": celery, "media-atproto": main}[words[start]]
    parsed = CliRunner().invoke(program, [*words[start + 1 :], "--help"])
    assert parsed.exit_code == 0, parsed.output


def test_the_image_is_made_of_what_is_locked() -> None:
    """Every package is checked against its hash, and the rest comes from nowhere but there."""
    steps = dockerfile()
    wheels = "--require-hashes --no-build-isolation --requirement requirements.lock"
    assert f"{wheels} --wheel-dir /wheels" in steps
    assert "--no-index --find-links /wheels '.[flower,web]'" in steps
    copied = {name for line in re.findall(r"^COPY ([^-].*)", steps, re.M) for name in line.split()}
    for name in copied - {"./"}:
        assert (ROOT / name).exists(), name
    let_in = set(re.findall(r"^!(.+)", (ROOT / ".dockerignore").read_text(), re.M))
    assert let_in == copied - {"./"}


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile"])
def test_what_has_no_wheel_is_built_by_what_is_locked(name: str) -> None:
    """With build isolation, pip would fetch build dependencies without a check of their hashes."""
    text = (ROOT / name).read_text().replace("\\\n", "")
    build, locked, own = re.findall(r"pip (?:install|wheel|--python)[^&\n]*", text)
    assert "--require-hashes" in build
    assert "requirements-build.lock" in build
    assert "--require-hashes --no-build-isolation" in locked
    assert "--no-build-isolation" in own or "--no-index" in own


def test_the_image_is_slim_and_its_user_is_not_root() -> None:
    """What builds stays behind; numbers, because Kubernetes can check no name."""
    _, last = dockerfile().split("FROM ")[1:]
    assert re.search(r"^USER 10001:10001$", last, re.M)
    assert "pip" not in last
    assert "COPY --from=build /venv /venv" in last


def test_no_secret_gets_into_git_or_into_the_image() -> None:
    """Neither the folder of secrets nor the file of settings."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"secrets/", "media.env", ".env", "local.env", "backup/"} <= set(ignored)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def dockerfile() -> str:
    """Return the Dockerfile, a line for each instruction."""
    return re.sub(r" \\\n\s*", " ", (ROOT / "Dockerfile").read_text())


def block(language: str) -> str:
    """Return the only block of docs/deployment.md in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return str(found)


@pytest.mark.parametrize("name", procfile())
def test_a_unit_runs_what_the_procfile_runs(name: str) -> None:
    """With the secrets of the service in the compose file, and the time that a task may take."""
    unit = (ROOT / f"deploy/systemd/media-atproto-{name}.service").read_text()
    (command,) = re.findall(r"^ExecStart=/opt/media-atproto/bin/(.+)$", unit, re.M)
    line = procfile()[name].removeprefix("nice -n 10 ")
    assert set(shlex.split(line)) <= set(shlex.split(command.replace("%%", "%")))
    assert ("Nice=10" in unit) is ("nice -n 10" in procfile()[name])
    secrets = set(re.findall(r"^LoadCredential=(\w+):/etc/media-atproto/secrets/\1$", unit, re.M))
    assert secrets == SECRETS_OF[name] == set(re.findall(r"_FILE=%d/(\w+)", unit))
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.M)[0]) >= services()[name].grace
    limit = re.findall(r"^MemoryMax=(\w+)$", unit, re.M)[0]
    assert size(limit) == services()[name].memory


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", procfile())
def test_systemd_accepts_the_units(name: str, tmp_path: Path) -> None:
    """With the programs of this environment."""
    unit = (ROOT / f"deploy/systemd/media-atproto-{name}.service").read_text()
    file = tmp_path / f"media-atproto-{name}.service"
    file.write_text(unit.replace("/opt/media-atproto/bin/", f"{BIN}/"))
    checked = check(tmp_path, "systemd-analyze", "verify", "--man=no", str(file))
    own = [line for line in checked.stderr.splitlines() if "media-atproto" in line]
    assert (checked.returncode, own) == (0, [])


def test_the_manifest_is_what_the_compose_file_is() -> None:
    """The same command, files, time to stop and health check; no more rights."""
    pod = yaml.safe_load(block("yaml"))["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    live = services()["worker-live"]
    assert container["command"] == live.command
    given = {each["name"] for each in container["env"]}
    assert given == {name for name in live.environment if name.endswith("_FILE")}
    assert container["livenessProbe"]["exec"]["command"][:2] == live.health[:2]
    assert pod["terminationGracePeriodSeconds"] > HARD_LIMIT
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    memory = size(container["resources"]["limits"]["memory"])
    assert memory >= 4 * MAX_CHILD_MEMORY + _PARENT
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_variables_and_images_that_the_page_names_exist() -> None:
    """Each variable is one of the compose file, the settings or the Dockerfile."""
    files = (COMPOSE, ".env.example", "Dockerfile", "deploy/make-secrets")
    known = "".join((ROOT / name).read_text() for name in files)
    named = set(re.findall(r"`([A-Z][A-Z_]{4,})[=`]", PAGE))
    assert {"LIVE_CONCURRENCY", "LIVE_MEMORY", "BULK_CONCURRENCY", "MEDIA_FOLDER"} <= named
    assert not [name for name in named if name not in known]
    assert re.findall(r"inspect (\S+)`", PAGE) == [services()["mongo"].told["image"]]
