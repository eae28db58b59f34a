"""The files that a deployment starts from: valid by schema and linter, and closed by default."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment import ROOT, SECRETS, Service, procfile, services
from worker.app import (
    BATCH_HARD_LIMIT,
    BULK,
    HARD_LIMIT,
    LIVE,
    MEMORY_CEILING,
    SWEEP,
)

BIN = Path(sys.executable).parent
COMPOSE = "docker-compose.yml"
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30}
_PARENT = MEMORY_CEILING // 2  # of a worker, twice what was measured: docs/figures.md
_ONE_SHOT = {"init", "mongo-init"}  # what ends by itself: nobody asks how it is


def check(folder: Path, program: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a checker in a folder."""
    command = [str(BIN / program), *options]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def every() -> list[Service]:
    """Return all services."""
    return list(services().values())


def test_the_compose_file_is_valid() -> None:
    """By the schema of compose itself."""
    checked = check(ROOT, "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert checked.returncode == 0, checked.stdout


def test_the_schema_can_say_no(tmp_path: Path) -> None:
    """A misspelt key is found."""
    told = (ROOT / COMPOSE).read_text().replace("stop_grace_period", "stop_grace")
    (tmp_path / COMPOSE).write_text(told)
    options = ("--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert check(tmp_path, "check-jsonschema", *options).returncode == 1


def test_the_dockerfile_is_free_of_faults() -> None:
    """By hadolint, whose only rule that is not followed stands above the line in question."""
    checked = check(ROOT, "hadolint", "Dockerfile")
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_scripts_are_free_of_faults() -> None:
    """By the shell that runs them."""
    subprocess.run(["/bin/sh", "-n", ROOT / "deploy/make-secrets"], check=True)


@pytest.mark.parametrize("service", every(), ids=lambda service: service.name)
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


def test_nothing_listens_to_the_world() -> None:
    """What is published is Flower and the status page, on the loopback; data has no way out."""
    published = {service.name: service.told.get("ports", []) for service in every()}
    assert {name for name, ports in published.items() if ports} == {"flower", "web"}
    assert all(str(port).startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert compose()["networks"]["data"] == {"internal": True}
    for name in ("mongo", "valkey"):
        assert services()[name].told["networks"] == ["data"]
    assert not [s.name for s in every() if "network_mode" in s.told]


@pytest.mark.parametrize("image", sorted({service.told["image"] for service in every()}))
def test_an_image_is_pinned(image: str) -> None:
    """To one version: a tag such as `8` or `latest` moves."""
    _, _, tag = image.partition("@")[0].rpartition(":")
    assert re.match(r"\d+\.\d+\.\d+", tag)


def test_the_base_of_our_image_is_pinned() -> None:
    """To one version, the same in both stages, and one that the project supports."""
    bases = re.findall(r"^FROM (\S+)", dockerfile(), re.M)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.1[1-9]\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", bases[0])


def test_no_secret_stands_in_the_file() -> None:
    """Each is a file, which the service is given by name; nothing else is read from there."""
    told = compose()
    assert set(told["secrets"]) == {name for s in every() for name in s.told.get("secrets", [])}
    for service in every():
        environment = service.told.get("environment", {})
        secret = [name for name in environment if re.search("PASSWORD|KEY|AUTH|URL|STRING", name)]
        for name in secret:
            value = str(environment[name])
            assert value.startswith(SECRETS) or name in {"PDS_URL", "MEDIA_STORE_URL"}, name
        named = re.findall(rf"{SECRETS}(\w+)", yaml.safe_dump(dict(service.told)))
        given = set(service.told.get("secrets", []))
        inherited = {"mongodb_connection_string", "redis_url", "secret_keys"}
        assert set(named) - inherited <= given, service.name


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
    memory = service.told["deploy"]["resources"]["limits"]["memory"]
    available = int(memory[:-1]) * _UNITS[memory[-1]]
    assert available >= children * MEMORY_CEILING + _PARENT
    assert int(service.told["stop_grace_period"].removesuffix("s")) > limit


def test_every_queue_is_served() -> None:
    """By the compose file and by the Procfile, in the same way but for where it runs."""
    for commands in (
        [" ".join(services()[name].command) for name in ("worker-live", "worker-bulk")],
        [procfile()[name] for name in ("worker-live", "worker-bulk")],
    ):
        served = [queue for command in commands for queue in queues_of(command)]
        assert sorted(served) == sorted([LIVE, SWEEP, BULK])


def test_what_runs_for_good_is_the_same_in_the_compose_file_and_in_the_procfile() -> None:
    """So that whoever knows one knows the other."""
    lasting = {s.name for s in every() if s.is_ours and s.name not in _ONE_SHOT}
    assert lasting == set(procfile())


def test_the_image_is_made_of_what_is_locked() -> None:
    """Every package is checked against its hash, and the rest comes from nowhere but there."""
    steps = dockerfile()
    assert "--require-hashes --requirement requirements.lock --wheel-dir /wheels" in steps
    assert "--no-index --find-links /wheels '.[flower,web]'" in steps
    copied = {name for line in re.findall(r"^COPY ([^-].*)", steps, re.M) for name in line.split()}
    for name in copied - {"./"}:
        assert (ROOT / name).exists(), name
    let_in = set(re.findall(r"^!(.+)", (ROOT / ".dockerignore").read_text(), re.M))
    assert let_in == copied - {"./"}


def test_the_image_is_slim_and_its_user_is_not_root() -> None:
    """What builds stays behind; numbers, because Kubernetes can check no name."""
    _, last = dockerfile().split("FROM ")[1:]
    assert re.search(r"^USER 10001:10001$", last, re.M)
    assert "pip" not in last
    assert "COPY --from=build /venv /venv" in last


def test_no_secret_gets_into_git_or_into_the_image() -> None:
    """Neither the folder of secrets nor the file of settings."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"secrets/", "media.env", ".env"} <= set(ignored)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def compose() -> dict[str, Any]:
    """Return the compose file as it stands."""
    told: dict[str, Any] = yaml.safe_load((ROOT / COMPOSE).read_text())
    return told


def dockerfile() -> str:
    """Return the Dockerfile, a line for each instruction."""
    return re.sub(r" \\\n\s*", " ", (ROOT / "Dockerfile").read_text())


def queues_of(command: str) -> Iterator[str]:
    """Yield the queues that a worker's command line names."""
    (named,) = re.findall(r"-Q (\S+)", command)
    yield from named.split(",")
