"""Refused starts: a wrong setting is reported in one clear line for each way to start the service."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes.installation import CHECKOUT, HOST, Installation
from tests.processes.process import Process, wait_until

TLS = CHECKOUT / "tests" / "gateways" / "tls"
DEPOSIT = {"amount": 1, "gateway": "gatewayA", "customer_id": "12345"}

WRONG = [
    ({"PAYMENTS_ROLE": "boss"}, "PAYMENTS_ROLE"),
    ({"PAYMENTS_ROLE": "processor"}, "PAYMENTS_ROLE=processor needs PostgreSQL"),
    ({"PAYMENTS_WORKERS": "2"}, "PAYMENTS_WORKERS"),
    ({"PAYMENTS_DEFAULT_CURRENCY": "XQZ"}, "PAYMENTS_DEFAULT_CURRENCY"),
    ({"PAYMENTS_DATABSE_URL": "sqlite:///var/other.db"}, "PAYMENTS_DATABASE_URL"),
    ({"PAYMENTS_MIGRATION_DATABASE_URL": "sqlite:////tmp/\udcff.db"}, "PAYMENTS_MIGRATION_DATABASE_URL"),
    ({"PAYMENTS_GATEWAYS_FILE": "/nowhere/\udcff.toml"}, "PAYMENTS_GATEWAYS_FILE"),
    ({"PAYMENTS_GATEWAY_A_SECRETS": "whsec_\udcff"}, "PAYMENTS_GATEWAY_A_SECRETS"),
    ({"PAYMENTS_BIND": "\udcff:8080"}, "PAYMENTS_BIND"),
]


def refusal(process: Process) -> str:
    """The one line in which a process reported why it did not start."""
    assert process.wait() == 2
    (line,) = process.err.splitlines()
    assert "Traceback" not in process.out
    return line


@pytest.mark.parametrize(("settings", "named"), WRONG, ids=[named for _, named in WRONG])
def test_a_wrong_setting(installation: Installation, settings: dict[str, str], named: str) -> None:
    """Service and dev end with status 2 and one line that names the variable; no process opens the database."""
    service, dev = installation.gunicorn(**settings), installation.manage("dev", **settings)
    assert named in refusal(service)
    assert named in refusal(dev)
    assert dev.out == ""
    assert installation.living() == []
    assert not (installation.folder / "payments.db").exists()


@pytest.mark.parametrize("role", ["all", "api", "processor", "relay"])
def test_a_wrong_broker(installation: Installation, role: str) -> None:
    """Every role refuses it before it opens the database, and shows nothing of the URL."""
    settings = {"PAYMENTS_ROLE": role, "PAYMENTS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    settings["PAYMENTS_MIGRATION_DATABASE_URL"] = settings["PAYMENTS_DATABASE_URL"]
    service = installation.gunicorn(**settings, PAYMENTS_BROKER_URL="pigeon://me:hunter2@mq")
    line = refusal(service)
    assert line.startswith("PAYMENTS_BROKER_URL must begin with one of amqp://")
    assert "hunter2" not in line + service.out


def test_a_wrong_gateways_table(installation: Installation) -> None:
    """An error in the gateways file is reported with the gateway and the key."""
    installation.configure_gateways(a="timeout_s = 0\n")
    for process in (installation.gunicorn(), installation.manage("dev")):
        line = refusal(process)
        assert "gatewayA" in line
        assert "timeout_s" in line
    assert installation.living() == []


def test_two_workers_on_the_command_line(installation: Installation) -> None:
    """More than one worker on an embedded database is refused also when gunicorn's option requests it."""
    service = installation.start("service", "-m", "gunicorn", "--workers", "2", "wsgi:app")
    assert "PAYMENTS_WORKERS" in refusal(service)
    assert installation.living() == []


OPTIONS = [
    ("--preload", "preload_app"),
    ("--worker-class=sync", "worker_class"),
    ("--worker-class=nothing.at.all", "worker_class"),
    ("--threads=4", "threads"),
    ("--max-requests=5", "max_requests"),
    ("--reload", "reload"),
    ("--daemon", "daemon"),
    ("--log-config=/etc/logging.conf", "logconfig"),
    ("--access-logfile=-", "accesslog"),
    ("--http-parser=fast", "http_parser"),
    ("--forwarder-headers=PATH_INFO", "forwarder_headers"),
    ("--certfile=/nowhere/cert.pem", "certfile names /nowhere"),
    ("--env=PAYMENTS_AUTH=off", "PAYMENTS_AUTH"),
    ("--worker-connections=10", "worker_connections"),
    ("--timeout=1", "timeout"),
    ("--pid=/nowhere/pid", "pidfile"),
    ("--worker-tmp-dir=/nowhere", "worker_tmp_dir"),
    ("--pid=/tmp", "pidfile names /tmp"),
    ("--graceful-timeout=-3", "graceful_timeout"),
    ("--keep-alive=-1", "keepalive"),
    ("--umask=-1", "umask"),
    ("--forwarded-allow-ips=x", "forwarded_allow_ips"),
]


@pytest.mark.parametrize(("option", "named"), OPTIONS, ids=[named for _, named in OPTIONS])
def test_an_option_that_the_service_cannot_run_with(installation: Installation, option: str, named: str) -> None:
    """An unsupported option is refused with one line that names it, from the command line and the environment."""
    services = (
        installation.start("service", "-m", "gunicorn", option, "wsgi:app"),
        installation.gunicorn(GUNICORN_CMD_ARGS=option),
    )
    for service in services:
        assert named in refusal(service)
    assert installation.living() == []


def test_permitted_options(installation: Installation) -> None:
    """Options on which the service does not depend are permitted."""
    pid = installation.folder / "pid"
    arguments = ("--backlog=64", f"--pid={pid}", "--name=till", "--env=TZ=UTC", "--no-control-socket", "--timeout=60")
    service = installation.start("service", "-m", "gunicorn", *arguments, "wsgi:app")
    installation.wait_for_answer(service, installation.port, "/readyz")
    assert int(pid.read_text()) == service.pid
    service.send(signal.SIGTERM)
    assert service.wait() == 0


def test_tls_is_permitted(installation: Installation) -> None:
    """The service serves TLS with gunicorn's certificate options, and shares its port with ``--reuse-port``."""
    files = (f"--certfile={TLS / 'certificate.pem'}", f"--keyfile={TLS / 'key.pem'}", "--reuse-port")
    service = installation.start("service", "-m", "gunicorn", *files, "wsgi:app")
    context = ssl.create_default_context(cafile=str(TLS / "certificate.pem"))
    answers: list[int] = []

    def answered() -> bool:
        with closing(http.client.HTTPSConnection(HOST, installation.port, context=context, timeout=10)) as connection:
            try:
                connection.request("POST", "/v1/deposit", json.dumps(DEPOSIT), {"Content-Type": "application/json"})
            except ConnectionRefusedError:
                return False
            answers.append(connection.getresponse().status)
            return True

    wait_until(answered, f"an answer over TLS: {service.err}")
    assert answers == [202]
    service.send(signal.SIGTERM)
    assert service.wait() == 0


def test_another_configuration_file(installation: Installation) -> None:
    """With another configuration file gunicorn ends at once, since that file would not start the service."""
    other = installation.folder / "other.py"
    other.write_text(f"bind = '{HOST}:{installation.port}'\n")
    for arguments in ((), ("--worker-class=gevent",), ("--preload",)):
        service = installation.start("service", "-m", "gunicorn", "-c", str(other), *arguments, "wsgi:app")
        assert service.wait() == 4
        assert "gunicorn.conf.py" in service.err
        assert "Traceback" not in service.out + service.err


def test_a_configuration_file_that_changes_ours(installation: Installation) -> None:
    """Settings that an operator's file adds to the service's own file are checked against the same list."""
    other = installation.folder / "other.py"
    ours = str(CHECKOUT / "gunicorn.conf.py")
    other.write_text(f"__file__ = {ours!r}\nexec(compile(open(__file__).read(), __file__, 'exec'))\nmax_requests = 5\n")
    service = installation.start("service", "-m", "gunicorn", "-c", str(other), "wsgi:app")
    assert "max_requests" in refusal(service)


def test_from_another_folder(installation: Installation) -> None:
    """With the path of the service's own file, gunicorn starts the service from any folder."""
    command = ("-m", "gunicorn", "-c", str(CHECKOUT / "gunicorn.conf.py"), "wsgi:app")
    service = installation.launch("service", command, cwd=installation.folder)
    installation.wait_for_answer(service, installation.port, "/readyz")
    service.send(signal.SIGTERM)
    assert service.wait() == 0


_CLOSED = "import os, sys; [os.close(n) for n in (0, 1, 2)]; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"


def test_closed_standard_streams(installation: Installation) -> None:
    """If standard streams are closed at the start, no log line goes into a file that reuses their descriptors."""
    service = installation.start("service", "-c", _CLOSED, "-m", "gunicorn", "wsgi:app")
    installation.wait_for_answer(service, installation.port, "/readyz")
    for process in (service.pid, *service.children()):
        assert [Path(f"/proc/{process}/fd/{number}").readlink() for number in range(3)] == [Path(os.devnull)] * 3
    assert installation.deposit().status == 202
    service.send(signal.SIGTERM)
    assert service.wait() == 0
    installation.verify()
    assert "Traceback" not in service.out + service.err


_WITH_PUBLIC_SOCKET = """
import os, socket, sys
opened = socket.create_server(("0.0.0.0", 0))
os.dup2(opened.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "wsgi:app"])
"""


def test_a_socket_of_systemd_that_others_can_reach(installation: Installation) -> None:
    """A service bound to loopback needs no API keys, so it refuses a public socket from systemd."""
    assert "PAYMENTS_BIND" in refusal(installation.start("service", "-c", _WITH_PUBLIC_SOCKET))


@pytest.mark.parametrize("keep_alive_s", ["0", "75"])
def test_another_keep_alive_on_the_command_line(installation: Installation, keep_alive_s: str) -> None:
    """Without keep-alive the service answers as usual; with a long keep-alive it stops as fast as usual."""
    service = installation.start("service", "-m", "gunicorn", "--keep-alive", keep_alive_s, "wsgi:app")
    installation.wait_for_answer(service, installation.port, "/readyz")
    with closing(socket.create_connection((HOST, installation.port))):
        assert installation.deposit().status == 202
        service.send(signal.SIGTERM)
        assert service.wait() == 0
    assert service.said("stopped") == 1, "no process was killed"


@pytest.mark.parametrize("arguments", [("--bind", "0.0.0.0:8999"), ("--bind", "127.0.0.1:8999"), ("-b", "unix:x")])
def test_another_address_on_the_command_line(installation: Installation, arguments: tuple[str, str]) -> None:
    """PAYMENTS_BIND decides whether callers need keys, so another address in gunicorn's options is refused."""
    service = installation.start("service", "-m", "gunicorn", *arguments, "wsgi:app")
    assert "PAYMENTS_BIND" in refusal(service)
    assert installation.living() == []


@pytest.mark.parametrize("command", ["migrate", "verify", "dev"])
def test_a_database_that_cannot_be_made(installation: Installation, command: str) -> None:
    """A database path below a file is one error line without a traceback, and no process is left."""
    (installation.folder / "file").touch()
    process = installation.manage(
        command, PAYMENTS_DATABASE_URL=f"sqlite:///{installation.folder / 'file/payments.db'}"
    )
    assert process.wait() == 1
    assert process.err.startswith("manage.py ")
    assert "Traceback" not in process.err
    assert installation.living() == []


def test_a_port_that_is_taken(installation: Installation) -> None:
    """The service reports that its port is in use and ends, without a traceback."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        service = installation.gunicorn(PAYMENTS_BIND=f"{HOST}:{port}")
        assert service.wait() == 1
    assert str(port) in service.out
    assert "in use" in service.out
    assert "Traceback" not in service.out + service.err
