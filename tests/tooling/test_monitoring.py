"""Metrics, alerts, dashboard and docs/monitoring.md agree; each alert has instructions, and fires."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import falcon.inspect
import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from actors.service import COMMANDS_MAX, OTHERS_MAX
from api.app import create_app
from api.metrics.exposition import ProcessesCollector
from api.metrics.meters import Meters
from api.metrics.store import StoreCollector
from config.settings import Settings
from tests.api.world import World
from tests.tooling.checkout import CHECKOUT, PATIENCE_S

FOLDER: Final = CHECKOUT / "deploy/monitoring"
DASHBOARD: Final = FOLDER / "grafana/dashboard.json"
ADDED: Final = frozenset({"le", "instance", "job", "alertname"})
"""Labels that are not the service's."""
_PARTS: Final = re.compile(r"_(bucket|sum|count)$")


def served() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric with its type and labels, as the code has it."""
    world = World()
    found = {}
    for meter in vars(Meters()).values():
        if isinstance(meter, MetricWrapperBase):
            name = f"{meter._name}_total" if meter._type == "counter" else meter._name
            found[name] = (str(meter._type), tuple(meter._labelnames))
    collectors = (ProcessesCollector(Meters()), StoreCollector(world, world.gateway_currencies))
    for family in (family for collector in collectors for family in collector.collect()):
        if f"{family.name}_total" in found or family.name in found:  # a meter, without the labels that it may have
            continue
        found[family.name] = (family.type, tuple(getattr(family, "_labelnames", ())))
    return found


def alerts() -> list[dict[str, Any]]:
    """The rules."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> list[dict[str, Any]]:
    """Those of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    """Everything that is asked of Prometheus."""
    yield from (str(rule["expr"]) for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel.get("targets", ()))


def test_only_metrics_that_exist_are_asked_for() -> None:
    """Every metric in the alerts and the dashboard is served, and has the labels by which it is asked for."""
    known = served()
    every_label = ADDED.union(*(labels for _, labels in known.values()))
    for expression in expressions():
        for name, selector in re.findall(r"(payments_\w+)(\{[^}]*\})?", expression):
            kind, labels = known[_PARTS.sub("", name)] if _PARTS.search(name) else known[name]
            assert (kind == "histogram") == bool(_PARTS.search(name)), expression
            assert {*re.findall(r"(\w+)[!=]", selector)} <= {*labels, *ADDED}, expression
        for names in re.findall(r"by \(([^)]*)\)", expression):
            assert {*names.split(", ")} <= every_label, expression


def test_every_metric_is_on_the_dashboard() -> None:
    """Nothing is measured that the dashboard does not show."""
    shown = " ".join(target["expr"] for panel in panels() for target in panel.get("targets", ()))
    assert [name for name in served() if name not in shown] == []


def test_the_page_lists_what_is_served() -> None:
    """docs/monitoring.md has each metric with its type and labels, each alert, and no other."""
    page = (CHECKOUT / "docs/monitoring.md").read_text()
    rows = re.findall(r"^\| `(payments_\w+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert listed == served()
    assert re.findall(r"^\| `(Payments\w+)` \|", page, re.MULTILINE) == [rule["alert"] for rule in alerts()]


def test_every_alert_says_what_to_do() -> None:
    """Each has a summary, an action of a sentence or more, and a severity; the routes that it names exist."""
    world = World()
    app = create_app(world, world, default_currency="USD", needs_keys=False)
    routes = {re.sub(r"\{\w+\}", "*", route.path) for route in falcon.inspect.inspect_routes(app)}
    for rule in alerts():
        about = rule["annotations"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert about["summary"].strip()
        assert about["action"].strip().endswith(".")
        for path in re.findall(r"/v1/(?:[\w/-]|\{\{[^}]*\}\}|\{\w+\})+", about["action"]):
            assert re.sub(r"\{\{[^}]*\}\}|\{\w+\}", "*", path) in routes, path


def test_every_alert_is_fired() -> None:
    """The rules' own tests have one for each alert, and one for an ordinary day on which none fires."""
    ordinary, *others = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    assert all("exp_samples" not in expected for expected in ordinary["promql_expr_test"])
    fired = [sample["labels"] for test in others for it in test["promql_expr_test"] for sample in it["exp_samples"]]
    assert {re.sub(r'\{alertname="(\w+)"\}', r"\1", labels) for labels in fired} == {rule["alert"] for rule in alerts()}


def test_alerts_are_tried_within_the_bounds() -> None:
    """What the rules' tests say of two workers' places is what there are by default, and no more are ever taken."""
    bounds = {"commands": 2 * COMMANDS_MAX, "others": 2 * OTHERS_MAX}
    assert Settings.from_environ({}).commands_max == COMMANDS_MAX
    seen: dict[str, list[int]] = {"inside": [], "max": []}
    for test in yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]:
        for series in test["input_series"]:
            about = re.match(
                r"payments_waiting_requests(?:_(max))?\{kind=\"(\w+)\"(?:, place=\"(\w+)\")?", series["series"]
            )
            if about is None or about[3] == "outside":
                continue
            values = [int(one.partition("x")[0]) for one in series["values"].split()]
            seen[about[1] or about[3]] += values
            assert max(values) <= bounds[about[2]]
            assert about[1] is None or {*values} == {bounds[about[2]]}
    assert all(seen.values())


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool(arguments: tuple[str, ...]) -> None:
    """Prometheus itself takes the configuration and the rules, and the rules fire as their tests say."""
    promtool = shutil.which("promtool", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if promtool is None:
        pytest.skip("there is no promtool: make monitoring-tools gets it, on Debian")
    done = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_panel_covers_another() -> None:
    """Panels have ids of their own and lie beside each other, within the 24 columns."""
    places = [panel["gridPos"] for panel in panels()]
    assert len({panel["id"] for panel in panels()}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_what_compose_mounts_is_there() -> None:
    """Every file that the monitoring's containers read is in the checkout."""
    services = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]
    mounts = [mount.split(":")[0] for service in services.values() for mount in service["volumes"]]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert files
    assert all((CHECKOUT / file).is_file() for file in files)
