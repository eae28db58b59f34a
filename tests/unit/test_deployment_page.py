"""docs/deployment.md: its unit and its manifest hold what the compose file holds."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deployment import ROOT, procfile, services
from worker.app import HARD_LIMIT, MEMORY_CEILING

PAGE = (ROOT / "docs/deployment.md").read_text()
_BIN = Path(sys.executable).parent


def block(language: str) -> str:
    """Return the page's only block in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    return str(found)


def command_of(unit: str) -> str:
    """Return what a unit executes, as a shell has it."""
    (line,) = re.findall(r"^ExecStart=/opt/media-atproto/bin/(.+)$", unit, re.M)
    return str(line).replace("%%", "%")


def test_the_unit_runs_what_the_procfile_runs() -> None:
    """With the time to stop that a task may take."""
    unit = block("ini")
    assert command_of(unit) == procfile()["worker-live"]
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.M)[0]) > HARD_LIMIT


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name", sorted(procfile()))
def test_systemd_takes_the_units(name: str, tmp_path: Path) -> None:
    """That of the page, and those that are the same but for what the page says."""
    line = procfile()[name].removeprefix("nice -n 10 ").replace("%", "%%")
    unit = re.sub(r"(?m)^(ExecStart=/opt/media-atproto/bin/).*$", rf"\g<1>{line}", block("ini"))
    file = tmp_path / f"media-atproto-{name}.service"
    file.write_text(unit.replace("/opt/media-atproto/bin/", f"{_BIN}/"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    own = [said for said in checked.stderr.splitlines() if "media-atproto" in said]
    assert (checked.returncode, own) == (0, [])


def test_the_manifest_is_what_the_compose_file_is() -> None:
    """The same command, files, time to stop and way of asking how it is; no more rights."""
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
    assert memory_of(container) >= 4 * MEMORY_CEILING + MEMORY_CEILING // 2
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def memory_of(container: dict[str, Any]) -> int:
    """Return the memory that a container may have, in bytes."""
    limit = str(container["resources"]["limits"]["memory"])
    assert limit.endswith("Gi")
    return int(limit.removesuffix("Gi")) * 2**30


def test_what_the_page_tells_to_turn_is_there() -> None:
    """Every variable and service that it names is one of the compose file."""
    told = (ROOT / "docker-compose.yml").read_text()
    known = told + (ROOT / ".env.example").read_text() + (ROOT / "Dockerfile").read_text()
    named = set(re.findall(r"`([A-Z][A-Z_]{4,})[=`]", PAGE))
    assert {"LIVE_CONCURRENCY", "LIVE_MEMORY", "BULK_CONCURRENCY", "MEDIA_FOLDER"} <= named
    assert not [name for name in named if name not in known]
    images = re.findall(r"inspect (\S+)`", PAGE)
    assert images == [services()["mongo"].told["image"]]
