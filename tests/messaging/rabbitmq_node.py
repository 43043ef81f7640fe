"""A private RabbitMQ node below a folder, which a test may kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import amqp
import pytest

from tests.gateways.transport import TLS
from tests.processes.process import PATIENCE_S, free_port

USER: Final = "payments"
MESSAGE_MAX: Final = 4_000_000
"""Bytes of the longest message that the node accepts."""
SERVER: Final = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_POLL_S: Final = 0.1


class RabbitmqNode:
    """One node with data of its own, and the user USER. ``start`` waits until it answers."""

    def __init__(self, folder: Path, password: str | None = None) -> None:
        if not (Path(SERVER).exists() and shutil.which("erl")):
            pytest.skip(f"no RabbitMQ server at {SERVER}")
        self._folder = folder
        self.port: Final = free_port()
        self.tls_port: Final = free_port()
        self.password: Final = password or uuid.uuid4().hex
        self.url: Final = f"amqp://{USER}:{self.password}@127.0.0.1:{self.port}/"
        self.tls_url: Final = f"amqps://{USER}:{self.password}@127.0.0.1:{self.tls_port}/"
        cookie = folder / ".erlang.cookie"
        cookie.write_text(uuid.uuid4().hex)
        cookie.chmod(0o600)
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(
            f"default_user = {USER}\n"
            f"default_pass = {self.password}\n"
            f"max_message_size = {MESSAGE_MAX}\n"
            f"listeners.ssl.default = {self.tls_port}\n"
            f"ssl_options.certfile = {TLS / 'certificate.pem'}\n"
            f"ssl_options.keyfile = {TLS / 'key.pem'}\n"
        )
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"payments-{uuid.uuid4().hex[:12]}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node, and wait until a client can connect."""
        with (self._folder / "server.out").open("ab") as out:
            self._process = subprocess.Popen(
                [SERVER], env=self._environ, cwd=self._folder, stdout=out, stderr=out, start_new_session=True
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(OSError, amqp.AMQPError):
                self.connect().close()
                return
            assert self._process.poll() is None, (self._folder / "server.out").read_text()
            assert time.monotonic() < deadline, "the node does not answer"
            time.sleep(_POLL_S)

    def connect(self) -> amqp.Connection:
        """A connection of the test."""
        connection = amqp.Connection(host=f"127.0.0.1:{self.port}", userid=USER, password=self.password)
        connection.connect()
        return connection

    def suspend(self, queue: str, *, until: Callable[[], None]) -> None:
        """Let a quorum queue answer nothing while ``until`` runs, as when it has no majority."""
        self._evaluate(f"sys:suspend({{'%2F_{queue}', node()}})")
        try:
            until()
        finally:
            self._evaluate(f"sys:resume({{'%2F_{queue}', node()}})")

    def settled(self, *queues: str) -> bool:
        """Whether these quorum queues survive a kill: RabbitMQ 3.10 writes the list of them some time later."""
        (names,) = (self._folder / "mnesia").glob("*/quorum/*/names.dets")
        return all(queue.encode() in names.read_bytes() for queue in queues)

    def permit(self, *, configure: str, write: str, read: str) -> None:
        """Set the permissions of USER, as patterns of names. Open channels remember those that they had."""
        done = self._control("set_permissions", USER, configure, write, read)
        assert done.returncode == 0, done.stdout + done.stderr

    def _evaluate(self, expression: str) -> None:
        done = self._control("eval", f"{expression}.")
        assert "ok" in done.stdout.split(), done.stdout + done.stderr

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**self._environ, "PATH": f"{Path(SERVER).parent}:{self._environ['PATH']}"}
        command = ["rabbitmqctl", "-n", environ["RABBITMQ_NODENAME"], *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    def lose_data(self) -> None:
        """Remove all data of a node that is not running."""
        shutil.rmtree(self._folder / "mnesia")

    def kill(self) -> None:
        """Kill the node's whole session with SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            for pid in _session_of(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def _session_of(leader: int) -> list[int]:
    """The processes of the session that ``leader`` began (Linux)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    found.append(int(folder.name))
    return found
