"""The reader of the log is blocked or gone, or the disk is full: neither payments nor SIGTERM wait for it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.processes.installation import HOST, Installation, exchange
from tests.processes.process import Process, wait_until
from tests.scraping import of

_DEPOSITS = 1_000
_LOST = "payments_log_lines_lost_total"


class _Pipe:
    """The pipe of a service's log; no reader exists until ``read``."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self._said = bytearray()

    def read(self) -> None:
        """Start to read, until all writers have ended."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):
            while data := os.read(self.read_end, 65_536):
                self._said += data

    @property
    def lines(self) -> list[str]:
        """The complete lines that were read."""
        return bytes(self._said).decode().split("\n")[:-1]

    def close_write_end(self) -> None:
        """Close this process's end, so that only the service writes."""
        with suppress(OSError):
            os.close(self.write_end)


@pytest.fixture
def pipe() -> Iterator[_Pipe]:
    """A pipe without a reader."""
    pipe = _Pipe()
    yield pipe
    pipe.close_write_end()


def _start(installation: Installation, output: int, **settings: str) -> Process:
    installation.simulator()
    service = installation.launch("service", ("-m", "gunicorn", "wsgi:app"), settings, output=output)
    installation.wait_for_answer(service, installation.port, "/readyz")
    return service


def _deposit(installation: Installation, count: int) -> None:
    with closing(http.client.HTTPConnection(HOST, installation.port, timeout=30)) as connection:
        for number in range(count):
            body = {"amount": 10, "gateway": "gatewayA", "customer_id": f"c{number % 20}"}
            assert exchange(connection, "POST", "/v1/deposit", body).status == 202


def _wait_until_lost_lines_are_counted(installation: Installation) -> None:
    wait_until(lambda: (of(installation.scrape(), _LOST) or 0) > 0, "lost lines are counted")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_reader_that_is_blocked(installation: Installation, pipe: _Pipe, log_format: str) -> None:
    """With a blocked reader, deposits and probes get answers; lost lines are counted and reported in the log."""
    service = _start(installation, pipe.write_end, PAYMENTS_LOG_FORMAT=log_format)
    pipe.close_write_end()
    _deposit(installation, _DEPOSITS)
    assert installation.get("/healthz").status == 200
    _wait_until_lost_lines_are_counted(installation)

    pipe.read()
    wait_until(lambda: any("log lines were lost" in line for line in pipe.lines), "the log reports the loss")
    told = next(line for line in pipe.lines if "log lines were lost" in line)
    assert int(re.findall(r'lines"?[:=](\d+)', told)[0]) > 0
    installation.deposit(customer_id="afterwards")
    wait_until(lambda: any("afterwards" in line for line in pipe.lines), "later lines are logged")
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    wait_until(lambda: any("Shutting down" in line for line in pipe.lines), "the last lines are read")
    if log_format == "json":
        assert all(isinstance(json.loads(line), dict) for line in pipe.lines), "every line is complete"


def test_the_end_does_not_wait_for_the_reader(installation: Installation, pipe: _Pipe) -> None:
    """SIGTERM ends the service in order without a reader of its log."""
    service = _start(installation, pipe.write_end, PAYMENTS_LOG_LEVEL="DEBUG")
    _deposit(installation, 300)
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    installation.verify()


def test_a_master_goes_on_without_its_reader(installation: Installation, pipe: _Pipe) -> None:
    """A killed worker is replaced, although the master cannot log this."""
    os.set_blocking(pipe.write_end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(pipe.write_end, b"x" * 4_096)
    os.set_blocking(pipe.write_end, True)
    service = _start(installation, pipe.write_end)
    (worker,) = service.children()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: service.children() not in ([], [worker]), "another worker is there")
    installation.wait_for_answer(service, installation.port, "/readyz")
    service.send(signal.SIGTERM)
    assert service.wait() == 0


def test_a_reader_that_has_gone(installation: Installation, pipe: _Pipe) -> None:
    """When the reader has ended, deposits get answers and lost lines are counted."""
    service = _start(installation, pipe.write_end)
    os.close(pipe.read_end)
    _deposit(installation, 20)
    _wait_until_lost_lines_are_counted(installation)
    service.send(signal.SIGTERM)
    assert service.wait() == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_disk_that_is_full(installation: Installation) -> None:
    """When the disk is full, deposits get answers and lost lines are counted."""
    output = os.open("/dev/full", os.O_WRONLY)
    service = _start(installation, output)
    os.close(output)
    _deposit(installation, 20)
    _wait_until_lost_lines_are_counted(installation)
    service.send(signal.SIGTERM)
    assert service.wait() == 0
