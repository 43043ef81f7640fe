"""docs/scaling.md names what exists: the metrics, the roles, and times that fit the service."""

from __future__ import annotations

import re
from typing import Final

from actors.service import _EARLIER_VERSION
from config.settings import Role, Settings
from tests.tooling.checkout import CHECKOUT

PAGE: Final = (CHECKOUT / "docs/scaling.md").read_text("utf-8")
MONITORING: Final = (CHECKOUT / "docs/monitoring.md").read_text("utf-8")


def test_its_metrics_exist() -> None:
    """Each metric by which the page scales a role is described in docs/monitoring.md."""
    named = {*re.findall(r"`(payments_\w+)`", PAGE)}
    assert {"payments_due_work", "payments_oldest_due_work_seconds", "payments_relay_lag_seconds"} <= named
    assert named <= {*re.findall(r"^\| `(payments_\w+)`", MONITORING, re.MULTILINE)}


def test_each_role_has_a_column() -> None:
    """The table has a column for each part that can be a service of its own."""
    (header,) = re.findall(r"^\| \|(.*)\|$", PAGE.split("## Roles")[1], re.MULTILINE)
    assert re.findall(r"`(\w+)`", header) == [role for role in Role if role is not Role.ALL]


def test_the_time_to_stop_fits() -> None:
    """The time for orchestrators is longer than that of gunicorn with the default settings."""
    found = re.search(r"which is (\d+) s with the default settings: use (\d+) or more", PAGE)
    assert found is not None
    conf = (CHECKOUT / "gunicorn.conf.py").read_text()
    keepalive = re.search(r"^keepalive = (\d+)$", conf, re.MULTILINE)
    rest = re.search(r"^graceful_timeout = .* \+ keepalive \+ (\d+)$", conf, re.MULTILINE)
    assert keepalive is not None
    assert rest is not None
    assert int(found[1]) == Settings().request_deadline_s + int(keepalive[1]) + int(rest[1])
    assert int(found[2]) > int(found[1])


def test_the_answer_during_a_roll_out() -> None:
    """A command that an earlier version does not know is refused for the time that the page names."""
    found = re.search(r"gets 503 with `Retry-After: (\d+)`", PAGE)
    assert found is not None
    assert int(found[1]) == _EARLIER_VERSION.retry_after_s
