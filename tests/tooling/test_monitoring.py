"""Metrics, alerts, dashboard and docs/monitoring.md agree; each alert has instructions and a test that fires it."""

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
from tests.api.support import DOCUMENTS
from tests.api.world import World
from tests.tooling.checkout import CHECKOUT, PATIENCE_S

FOLDER: Final = CHECKOUT / "deploy/monitoring"
DASHBOARD: Final = FOLDER / "grafana/dashboard.json"
ADDED: Final = frozenset({"le", "instance", "job", "alertname"})
"""Labels that do not come from the service."""
_PARTS: Final = re.compile(r"_(bucket|sum|count)$")


def served() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every metric of the code with its type and labels."""
    world = World()
    found = {}
    for meter in vars(Meters()).values():
        if isinstance(meter, MetricWrapperBase):
            name = f"{meter._name}_total" if meter._type == "counter" else meter._name
            found[name] = (str(meter._type), tuple(meter._labelnames))
    collectors = (ProcessesCollector(Meters()), StoreCollector(world, world.gateway_currencies, relays=["events"]))
    for family in (family for collector in collectors for family in collector.collect()):
        if f"{family.name}_total" in found or family.name in found:  # a meter, listed without its labels
            continue
        found[family.name] = (family.type, tuple(getattr(family, "_labelnames", ())))
    return found


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    """All expressions of alerts and dashboard."""
    yield from (str(rule["expr"]) for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel.get("targets", ()))


def test_expressions_use_only_existing_metrics() -> None:
    """Every metric in the alerts and the dashboard is served, and has the labels that they use."""
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
    """The dashboard shows every metric."""
    shown = " ".join(target["expr"] for panel in panels() for target in panel.get("targets", ()))
    assert [name for name in served() if name not in shown] == []


def test_the_page_lists_what_is_served() -> None:
    """docs/monitoring.md lists exactly the served metrics, with type and labels, and exactly the alerts."""
    page = (CHECKOUT / "docs/monitoring.md").read_text()
    rows = re.findall(r"^\| `(payments_\w+)` \| (\w+) \|([^|]*)\|", page, re.MULTILINE)
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert listed == served()
    assert re.findall(r"^\| `(Payments\w+)` \|", page, re.MULTILINE) == [rule["alert"] for rule in alerts()]


def test_every_alert_has_an_action() -> None:
    """Each alert has a summary, an action of at least a sentence, and a severity; the routes in it exist."""
    world = World()
    app = create_app(world, world, default_currency="USD", needs_keys=False, event_documents=DOCUMENTS)
    routes = {re.sub(r"\{\w+\}", "*", route.path) for route in falcon.inspect.inspect_routes(app)}
    for rule in alerts():
        about = rule["annotations"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert about["summary"].strip()
        assert about["action"].strip().endswith(".")
        for path in re.findall(r"/v1/(?:[\w/-]|\{\{[^}]*\}\}|\{\w+\})+", about["action"]):
            assert re.sub(r"\{\{[^}]*\}\}|\{\w+\}", "*", path) in routes, path


def test_every_alert_fires_in_its_test() -> None:
    """Each alert has a test in which it fires, and one test of an ordinary day has no alert."""
    ordinary, *others = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    assert all("exp_samples" not in expected for expected in ordinary["promql_expr_test"])
    fired = [sample["labels"] for test in others for it in test["promql_expr_test"] for sample in it["exp_samples"]]
    assert {re.sub(r'\{alertname="(\w+)"\}', r"\1", labels) for labels in fired} == {rule["alert"] for rule in alerts()}


def test_alerts_are_tested_within_the_bounds() -> None:
    """In the rules' tests, two workers have the default number of places, and never use more."""
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
    """Prometheus's promtool accepts the configuration and the rules, and the rules pass their tests."""
    promtool = shutil.which("promtool", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if promtool is None:
        pytest.skip("promtool is missing: make monitoring-tools installs it (Debian)")
    done = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_panel_covers_another() -> None:
    """Panels have unique ids and do not overlap, within the 24 columns."""
    places = [panel["gridPos"] for panel in panels()]
    assert len({panel["id"] for panel in panels()}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_files_that_compose_mounts_exist() -> None:
    """Every file that the monitoring containers read is in the checkout."""
    services = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]
    mounts = [mount.split(":")[0] for service in services.values() for mount in service["volumes"]]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert files
    assert all((CHECKOUT / file).is_file() for file in files)
