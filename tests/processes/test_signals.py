"""Signals to a running service: none starts an extra worker, ends a healthy one, or loses a request."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.processes.installation import Installation
from tests.processes.process import Process, wait_until
from tests.processes.targets import SQLITE, on, on_postgresql

_DEPOSITS = 20
_GATEWAY_C = """
[gatewayC]
adapter = "gateway_a"
url = "http://127.0.0.1:9/gatewayC"
callback_secrets_env = "PAYMENTS_GATEWAY_A_SECRETS"
"""


def _all_are_accepted(installation: Installation) -> None:
    """Assert that deposits on separate connections are accepted; every listening worker gets some."""
    assert {installation.deposit().status for _ in range(_DEPOSITS)} == {202}


def _stop(service: Process) -> None:
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    assert "Traceback" not in service.out + service.err


@pytest.mark.parametrize(("signum", "said"), [(signal.SIGTTIN, "SIGTTIN is ignored"), (signal.SIGUSR2, "SIGUSR2 is")])
def test_an_embedded_database_has_one_worker(installation: Installation, signum: signal.Signals, said: str) -> None:
    """With an embedded database no signal starts a second worker or master, which would refuse requests."""
    service = installation.service()
    before = service.children()
    service.send(signum)
    wait_until(lambda: said in service.out, "the service logs that it ignores the signal")
    _all_are_accepted(installation)
    assert service.children() == before
    _stop(service)


@on(on_postgresql(workers=2))
def test_more_and_fewer_workers_on_postgresql(installation: Installation) -> None:
    """On PostgreSQL, SIGTTIN and SIGTTOU have gunicorn's meaning, and at least one worker remains."""
    service = installation.service()
    service.send(signal.SIGTTIN)
    wait_until(lambda: len(service.children()) == 3, "a third worker is there")
    installation.wait_for_workers(service, 3)
    _all_are_accepted(installation)
    for left in (2, 1):
        service.send(signal.SIGTTOU)
        wait_until(lambda left=left: len(service.children()) == left, "one worker less")  # type: ignore[misc]
    service.send(signal.SIGTTOU)
    wait_until(lambda: service.out.count("Handling signal: ttou") == 3, "the master has handled the last signal")
    _all_are_accepted(installation)
    _stop(service)


@on(SQLITE, on_postgresql(workers=2))
def test_signals_that_change_nothing(installation: Installation) -> None:
    """Signals for log rotation or a resized terminal, and the master's signals sent to workers, change nothing."""
    service = installation.service()
    before = service.children()
    for signum in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGTTOU if len(before) == 1 else signal.SIGUSR1):
        service.send_to_group(signum)
    for worker in before:
        for signum in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2):
            os.kill(worker, signum)
    wait_until(lambda: "Handling signal: usr1" in service.out, "the master has handled them")
    _all_are_accepted(installation)
    assert service.children() == before
    _stop(service)


@on(SQLITE, on_postgresql(workers=2))
def test_sighup_reads_the_gateways_file_again(installation: Installation) -> None:
    """After SIGHUP new workers use the new file; requests during the change wait, and none is refused."""
    service = installation.service()
    before = service.children()
    with (installation.folder / "gateways.toml").open("a") as file:
        file.write(_GATEWAY_C)
    answers: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answers.append(installation.deposit().status)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    service.send(signal.SIGHUP)
    wait_until(lambda: not {*before} & {*service.children()}, "new workers have started")
    wait_until(lambda: installation.get("/v1/gateways/gatewayC").status == 200, "they have the new gateway")
    over.set()
    asking.join()
    assert {*answers} == {202}
    _stop(service)


@on(SQLITE, on_postgresql(workers=2))
def test_workers_of_a_sighup_end_as_others(installation: Installation) -> None:
    """Workers that SIGHUP started end after the next SIGHUP, and the service ends without killing a worker."""
    service = installation.service()
    for _ in range(2):
        before = service.children()
        ready = service.said("ready")
        service.send(signal.SIGHUP)
        wait_until(lambda: service.said("ready") == ready + len(before), "new workers are ready")  # noqa: B023
        wait_until(lambda: not {*before} & {*service.children()}, "the earlier workers are gone")  # noqa: B023
    _all_are_accepted(installation)
    _stop(service)
    assert "SIGHUP is ignored" not in service.out
    assert service.said("stopped") == service.said("ready")


@pytest.mark.parametrize(
    "content", ["[gatewayA\n", '[gatewayA]\nadapter = "gateway_z"\nurl = "http://127.0.0.1:9"\n', None]
)
@on(SQLITE, on_postgresql(workers=2))
def test_sighup_with_a_file_that_is_wrong(installation: Installation, content: str | None) -> None:
    """One line reports the error, and the service continues with its old gateways."""
    service = installation.service()
    before = service.children()
    path = Path(installation.folder / "gateways.toml")
    path.unlink()
    if content is not None:
        path.write_text(content)
    service.send(signal.SIGHUP)
    wait_until(lambda: "SIGHUP is ignored" in service.out, "the service logs the error")
    (line,) = (line for line in service.out.splitlines() if "SIGHUP is ignored" in line)
    assert "gateways.toml" in line or "gateway_z" in line
    _all_are_accepted(installation)
    assert service.children() == before
    _stop(service)


@on(on_postgresql(workers=2))
def test_sigusr2_replaces_the_program_on_postgresql(installation: Installation) -> None:
    """SIGUSR2 starts a second master beside the first; when the first ends, the second serves alone."""
    service = installation.service()
    before = service.children()
    service.send(signal.SIGUSR2)
    wait_until(lambda: service.said("ready") == 4, "the workers of the second master are ready")
    _all_are_accepted(installation)
    (second,) = {*service.children()} - {*before}
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    _all_are_accepted(installation)
    os.kill(second, signal.SIGTERM)
    wait_until(lambda: not installation.living(), "the second master has ended as well")
