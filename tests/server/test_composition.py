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
