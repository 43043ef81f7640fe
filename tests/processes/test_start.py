"""What stops the start: a wrong setting is one clear line, whichever way the service is started."""

from __future__ import annotations

import signal
import socket
from contextlib import closing

import pytest

from tests.processes.installation import HOST, Installation
from tests.processes.process import Process

WRONG = [
    ({"PAYMENTS_ROLE": "boss"}, "PAYMENTS_ROLE"),
    ({"PAYMENTS_WORKERS": "2"}, "PAYMENTS_WORKERS"),
    ({"PAYMENTS_DEFAULT_CURRENCY": "XQZ"}, "PAYMENTS_DEFAULT_CURRENCY"),
    ({"PAYMENTS_DATABSE_URL": "sqlite:///var/other.db"}, "PAYMENTS_DATABASE_URL"),
]


def refusal(process: Process) -> str:
    """The one line with which a process refused to start."""
    assert process.wait() == 2
    (line,) = process.err.splitlines()
    assert "Traceback" not in process.out
    return line


@pytest.mark.parametrize(("settings", "named"), WRONG, ids=[named for _, named in WRONG])
def test_a_wrong_setting(installation: Installation, settings: dict[str, str], named: str) -> None:
    """Service and dev end with status 2 and one line that names the variable; nobody works on the database."""
    service, dev = installation.gunicorn(**settings), installation.manage("dev", **settings)
    assert named in refusal(service)
    assert named in refusal(dev)
    assert dev.out == ""
    assert installation.living() == []
    assert not (installation.folder / "payments.db").exists()


def test_a_wrong_gateways_table(installation: Installation) -> None:
    """What is wrong in the gateways file is told with the gateway and the key."""
    installation.configure_gateways(a="timeout_s = 0\n")
    for process in (installation.gunicorn(), installation.manage("dev")):
        line = refusal(process)
        assert "gatewayA" in line
        assert "timeout_s" in line
    assert installation.living() == []


def test_two_workers_on_the_command_line(installation: Installation) -> None:
    """More than one worker on an embedded database is refused, too, when gunicorn itself is asked for them."""
    service = installation.start("service", "-m", "gunicorn", "--workers", "2", "wsgi:app")
    assert "PAYMENTS_WORKERS" in refusal(service)
    assert installation.living() == []


@pytest.mark.parametrize("keep_alive_s", ["0", "75"])
def test_another_keep_alive_on_the_command_line(installation: Installation, keep_alive_s: str) -> None:
    """A service that keeps no connections answers as any other; one that keeps them long stops as soon as others."""
    service = installation.start("service", "-m", "gunicorn", "--keep-alive", keep_alive_s, "wsgi:app")
    installation.wait_for_answer(service, installation.port, "/readyz")
    with closing(socket.create_connection((HOST, installation.port))):
        assert installation.deposit().status == 202
        service.send(signal.SIGTERM)
        assert service.wait() == 0
    assert service.said("stopped") == 1, "nothing was killed"


@pytest.mark.parametrize("arguments", [("--bind", "0.0.0.0:8999"), ("--bind", "127.0.0.1:8999"), ("-b", "unix:x")])
def test_another_address_on_the_command_line(installation: Installation, arguments: tuple[str, str]) -> None:
    """Whether callers need keys follows from PAYMENTS_BIND: gunicorn may not be bound elsewhere past it."""
    service = installation.start("service", "-m", "gunicorn", *arguments, "wsgi:app")
    assert "PAYMENTS_BIND" in refusal(service)
    assert installation.living() == []


@pytest.mark.parametrize("command", ["migrate", "verify", "dev"])
def test_a_database_that_cannot_be_made(installation: Installation, command: str) -> None:
    """A database below something that is no folder is told in words, without a traceback, and nothing is left."""
    (installation.folder / "file").touch()
    process = installation.manage(
        command, PAYMENTS_DATABASE_URL=f"sqlite:///{installation.folder / 'file/payments.db'}"
    )
    assert process.wait() == 1
    assert process.err.startswith("manage.py ")
    assert "Traceback" not in process.err
    assert installation.living() == []


def test_a_port_that_is_taken(installation: Installation) -> None:
    """The service says that its port is taken, and ends; it does not serve elsewhere, and there is no traceback."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        service = installation.gunicorn(PAYMENTS_BIND=f"{HOST}:{port}")
        assert service.wait() == 1
    assert str(port) in service.out
    assert "in use" in service.out
    assert "Traceback" not in service.out + service.err
