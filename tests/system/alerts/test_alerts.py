"""The example alerts: what they fire on, and that they speak of figures that there are."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from tests.system.alerts.promtool import find_promtool
from worker.core.clock import now
from worker.dev.stack.packages import cache_folder
from worker.operations.status import Counts, QueueLengths
from worker.operations.status.prometheus import PlatformMetrics, Traffic
from worker.operations.watch.checkpoint import Checkpoint
from worker.telemetry.prometheus import PrometheusMetrics

_RULES = Path(__file__).parents[3] / "docs" / "prometheus-alerts.yml"
_CASES = Path(__file__).with_name("cases.yml")
_OURS = re.compile(r"media_atproto_[a-z_]+")


@pytest.fixture(scope="module")
def promtool(bare_environ: dict[str, str]) -> Path:
    """Return Prometheus's judge of rules."""
    found = find_promtool(cache_folder(bare_environ) / "promtool")
    if isinstance(found, str):
        pytest.skip(found)
    return found


def test_each_alert_fires_on_its_silence_or_failure_and_none_when_all_is_well(
    promtool: Path, tmp_path: Path
) -> None:
    """By Prometheus itself, minute by minute."""
    cases = tmp_path / "cases.yml"
    cases.write_text(_CASES.read_text().replace("RULES", str(_RULES)))
    judged = subprocess.run(
        (promtool, "test", "rules", cases), check=False, capture_output=True, text=True, timeout=120
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_each_alert_is_tried_and_known_to_keep_quiet() -> None:
    """One that nobody has seen fire may never do so."""
    names = {
        rule["alert"]
        for group in yaml.safe_load(_RULES.read_text())["groups"]
        for rule in group["rules"]
    }
    calm, *storms = yaml.safe_load(_CASES.read_text())["tests"]
    assert {case["alertname"] for case in calm["alert_rule_test"]} == names
    tried = [case["expr"] for storm in storms for case in storm["promql_expr_test"]]
    patterns = [found for expr in tried for found in re.findall(r'alertname=~?"([^"]+)"', expr)]
    assert {name for name in names for p in patterns if re.fullmatch(p, name)} == names


def test_alerts_speak_of_figures_that_there_are() -> None:
    """A figure that is spelled otherwise is a silence that nobody hears."""
    registry = CollectorRegistry()
    counters = PrometheusMetrics(registry)
    counters.count_run("mood", "synced", "live")
    traffic = Traffic(QueueLengths(0, 0, 0, 0), (), 0)
    zeros: dict[str, Any] = dict.fromkeys((field.name for field in fields(Checkpoint)), 0)
    watch = Checkpoint(**zeros | {"saved_at": now()})
    registry.register(PlatformMetrics(now(), {"mood": Counts()}, traffic, watch))
    there = {family.name for family in registry.collect()}
    spoken = set(_OURS.findall(_RULES.read_text()))
    stems = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in spoken}
    assert stems <= there
