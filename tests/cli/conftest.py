"""One installed service for all tests that need a real one, and a shell that runs commands against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import manage
from tests.processes.commands import SECRETS
from tests.processes.installation import Installation, installed
from tests.processes.process import wait_until

IMPATIENT = "timeout_s = 1\nmax_retries = 0\nbreaker = { request_volume = 1000, sleep_s = 0.1 }\n"
PARKED_SOON = {
    "PAYMENTS_DEAD_LETTER_FIRST_S": "0.01",
    "PAYMENTS_DEAD_LETTER_MAX_S": "0.01",
    "PAYMENTS_DEAD_LETTER_ATTEMPTS": "1",
}


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A service on SQLite whose providers cannot be reached, with a parked dead letter at each."""
    with installed(tmp_path_factory.mktemp("service")) as installation:
        installation.configure_gateways(a=SECRETS["gatewayA"] + IMPATIENT, b=SECRETS["gatewayB"] + IMPATIENT)
        installation.service(**PARKED_SOON)
        for gateway in ("gatewayA", "gatewayB"):
            assert installation.deposit(gateway=gateway, customer_id=gateway).status == 202
        parked = "/v1/dead-letters?state=parked"
        wait_until(lambda: len(installation.get(parked).body["items"]) == 2, "both dead letters are parked")
        yield installation


class Shell:
    """Runs commands against the service, in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Run a command, require the exit status ``status``, and return its standard output."""
        exit_status = manage.main([*arguments])
        out, self.err = self._capsys.readouterr()
        assert exit_status == status, self.err
        return out

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command with ``--json`` and return its objects."""
        return [json.loads(line) for line in self(*arguments, "--json").splitlines()]


@pytest.fixture
def shell(service: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in which PAYMENTS_URL is the URL of the service."""
    monkeypatch.setenv("PAYMENTS_URL", f"http://127.0.0.1:{service.port}")
    return Shell(capsys)
