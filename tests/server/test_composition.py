"""The steps that ``wsgi.py`` composes, started and stopped in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.tooling.checkout import CHECKOUT, PATIENCE_S

PROGRAM: Final = """
from falcon.testing import TestClient

import wsgi


def announced(kind, name):
    original = getattr(kind, name)

    def call(*arguments):
        print(kind.__name__, name)
        return original(*arguments)

    setattr(kind, name, call)


announced(wsgi.ActorProcess, "stop")
announced(wsgi.ActorProcess, "end")
announced(wsgi.LocalQueue, "close")
announced(wsgi.ServiceStore, "close")
wsgi.service.start(lambda: 0)
print(TestClient(wsgi.app).simulate_get("/v1/customers/absent").status_code)
wsgi.service.stop()
"""


def test_the_queue_is_closed_when_no_actor_can_use_it(tmp_path: Path) -> None:
    """A stop ends the actors, then the queue that they announce work on, then the store."""
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": f"sqlite:///{tmp_path}/payments.db"}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert done.stdout.splitlines() == [
        "404",
        "ActorProcess stop",
        "ActorProcess end",
        "LocalQueue close",
        "ServiceStore close",
    ]


def test_a_broker_of_another_kind_is_refused_with_one_line(tmp_path: Path) -> None:
    """The line names the variable and the schemes of all brokers, and shows nothing of the URL."""
    url = "mysql://me:hunter2@host/db"
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": f"sqlite:///{tmp_path}/payments.db", "PAYMENTS_BROKER_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"], cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("PAYMENTS_BROKER_URL must begin with one of amqp://, amqps://")
    assert "hunter2" not in line


def test_a_broker_url_of_the_wrong_form_is_refused_with_one_line(tmp_path: Path) -> None:
    """The line names the variable and the rule, and shows nothing of the URL."""
    url = "amqp://me:hunter2@host/pay?x=1"
    environ = {**os.environ, "PAYMENTS_DATABASE_URL": f"sqlite:///{tmp_path}/payments.db", "PAYMENTS_BROKER_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", "import wsgi"], cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith("PAYMENTS_BROKER_URL must have neither ? nor #")
    assert "hunter2" not in line


def test_only_roles_that_accept_callbacks_need_their_secrets() -> None:
    """Bound to all interfaces, an api without the secrets is refused. A processor or a relay verifies no callback."""
    statuses = {}
    for role in ("api", "processor", "relay"):
        environ = {
            **os.environ,
            "PAYMENTS_DATABASE_URL": "postgresql://nobody@localhost/none",
            "PAYMENTS_BIND": "0.0.0.0:8080",
            "PAYMENTS_ROLE": role,
        }
        command = [sys.executable, "-c", "import wsgi"]
        done = subprocess.run(command, cwd=CHECKOUT, env=environ, capture_output=True, check=False)
        statuses[role] = done.returncode
    assert statuses == {"api": 2, "processor": 0, "relay": 0}


def test_a_relay_says_that_it_serves_no_schemas() -> None:
    """Without PAYMENTS_PUBLIC_URL the events would name its own address."""
    said = {}
    for url in ("", "https://payments.example.com"):
        environ = {
            **os.environ,
            "PAYMENTS_DATABASE_URL": "postgresql://nobody@localhost/none",
            "PAYMENTS_BROKER_URL": "amqp://localhost",
            "PAYMENTS_PUBLIC_URL": url,
            "PAYMENTS_ROLE": "relay",
        }
        program = "import wsgi; wsgi.service._steps(lambda: 0)"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=CHECKOUT, env=environ, capture_output=True, text=True, check=True
        )
        said[url] = "PAYMENTS_PUBLIC_URL is not set" in done.stderr
    assert said == {"": True, "https://payments.example.com": False}
