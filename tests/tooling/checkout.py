"""A checkout with stub modules, in which tests observe start, drain and stop without the service itself.

It owns the stubs and the time limit of tests that start processes. manage.py and gunicorn.conf.py are copied unchanged.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 60.0
"""Time limit for each step of a process; only a broken process reaches it."""

_NOTES: Final = """
import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def note(text):
    file = os.open(FOLDER / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{text}\\n".encode())
    os.close(file)
"""
_WSGI: Final = """
import time

from notes import FOLDER, note


class Service:
    def start(self, connections):
        note("service started")

    def drain(self):
        note("service drains")

    def stop(self):
        note("service stopped")


service = Service()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        note("request began")
        while not (FOLDER / "answer").exists():
            time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""
_SIMULATOR: Final = """
import http.server
import signal
import sys

from notes import note


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *arguments):
        pass


def end(signum, frame):
    note("simulator stopped")
    sys.exit(0)


def run(environ):
    signal.signal(signal.SIGTERM, end)
    host, _, port = environ["SIMULATOR_BIND"].rpartition(":")
    for name in sorted(environ):
        if name.startswith("SIMULATOR_GATEWAY_"):
            note(f"{name}={environ[name]}")
    note("callbacks to " + environ["SIMULATOR_CALLBACK_URL"])
    http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""
_REGISTRY: Final = """
from gateways.settings import GatewaySettingsError


def read_settings(tables):
    if "bad" in tables:
        raise GatewaySettingsError("gateway 'bad': no")
    return tables


def callback_secrets(settings, environ, *, loopback):
    variables = {name: table["callback_secrets_env"] for name, table in settings.items()}
    if not loopback and not all(variable in environ for variable in variables.values()):
        raise GatewaySettingsError("no secrets")
    return {name: environ[variable].split(",") for name, variable in variables.items() if variable in environ}
"""
_BACKENDS: Final = """
from types import SimpleNamespace

from notes import note


class Backend:
    has_roles = False

    def migrate(self):
        note("migrated")
        return SimpleNamespace(applied=[1], functions_defined=False)


def backend_of(url, *, root):
    return Backend()
"""


class StubCheckout:
    """A folder with the real manage.py, gunicorn.conf.py, cli, config and server, and stubs of everything else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.simulator_port = free_ports(2)
        for name in ("manage.py", "gunicorn.conf.py"):
            shutil.copy(CHECKOUT / name, folder)
        for name in ("cli", "config", "server"):
            shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        stubs = {
            "api/__init__.py": "",
            "api/metrics/__init__.py": "",
            "api/metrics/ended.py": (CHECKOUT / "api" / "metrics" / "ended.py").read_text(),
            "notes.py": _NOTES,
            "wsgi.py": _WSGI,
            "domain/__init__.py": "",
            **{
                f"domain/{name}.py": (CHECKOUT / "domain" / f"{name}.py").read_text()
                for name in ("cards", "card_networks", "innocent_forms")
            },
            "domain/money.py": "class MoneyError(ValueError): pass\n\n\ndef exponent_of(code): return 2\n",
            "gateways/__init__.py": "",
            "gateways/development.py": "SIMULATOR_SECRETS = {'gatewayA': 'SIMULATOR_GATEWAY_A_SECRET'}\n",
            "gateways/simulator.py": _SIMULATOR,
            "gateways/registry.py": _REGISTRY,
            "gateways/settings.py": "class GatewaySettingsError(ValueError): pass\n",
            "store/__init__.py": "",
            "store/backends.py": _BACKENDS,
            "store/errors.py": "class StoreError(Exception): pass\n",
        }
        for path, text in stubs.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)

    def start(self, command: Sequence[str], **environ: str) -> subprocess.Popen[bytes]:
        """Start a command in another folder, with the stubs' ports and the settings given."""
        settings = {
            "PAYMENTS_BIND": f"127.0.0.1:{self.port}",
            "SIMULATOR_BIND": f"127.0.0.1:{self.simulator_port}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with (self.folder / "stdout").open("ab") as stdout, (self.folder / "stderr").open("ab") as stderr:
            return subprocess.Popen(
                command,
                cwd=self.folder if "gunicorn" in command else "/",
                env={**os.environ, **settings, **environ},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def gunicorn(self, **environ: str) -> subprocess.Popen[bytes]:
        """Start the service as in production."""
        return self.start([sys.executable, "-m", "gunicorn", "wsgi:app"], **environ)

    def manage(self, command: str, **environ: str) -> subprocess.Popen[bytes]:
        """Start a command of manage.py."""
        return self.start([sys.executable, str(self.folder / "manage.py"), command], **environ)

    @property
    def notes(self) -> list[str]:
        """The notes of the stubs, in order."""
        path = self.folder / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def read(self, stream: str) -> str:
        """The output of the processes on ``stdout`` or ``stderr``."""
        return (self.folder / stream).read_text()

    def get(self, path: str) -> int:
        """The status of the service's answer; 0 without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that a failed test has left running."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return as soon as ``condition`` holds; fail after ``PATIENCE_S``."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:g} s without reaching: {what}"
        time.sleep(0.02)


def is_free(port: int) -> bool:
    """Whether no process listens on the port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def is_locked(folder: Path) -> bool:
    """Whether a process holds a lock on the folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def free_ports(count: int) -> list[int]:
    """Ports on which no process listens now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
