"""An installed service in its own folder: database, ledger, gateways file, ports, logs.

It starts the processes and ends those that remain. It judges nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tests.processes.process import Process, free_port, processes_with, wait_until
from tests.scraping import Samples, read

CHECKOUT: Final = Path(__file__).resolve().parents[2]
HOST: Final = "127.0.0.1"
GATEWAY_A: Final = """
timeout_s = 5.0
lookup_after_s = [0.5, 1, 2, 4, 8]
breaker = { sleep_s = 0.5 }
"""
"""The default settings of the gateway with keys. It recovers sooner than in production."""
GATEWAY_B: Final = f"""
timeout_s = 2.0
settle_s = 1
lookup_after_s = {[0.3, 0.5, *[1] * 30]}
breaker = {{ sleep_s = 0.5 }}
"""
"""The default settings of the gateway without keys. A call without an answer needs a lookup."""

_MARK: Final = "INSTALLATION_FOLDER"
_LEDGER: Final = "ledger.jsonl"
_MEMORY: Final = "ledger.memory.jsonl"


class Answer(NamedTuple):
    """An HTTP answer; ``body`` is its JSON, or None."""

    status: int
    body: Any
    headers: http.client.HTTPMessage


class Books(NamedTuple):
    """The provider's files: each movement of money, and each accepted request that moved none."""

    effects: list[dict[str, Any]]
    taken: list[dict[str, Any]]


class Installation:
    """One installation below ``folder``; no process runs at first.

    ``postgresql``: the URL of a migrated database, for a service with ``workers`` workers; else SQLite and one worker.
    """

    def __init__(self, folder: Path, *, postgresql: str | None = None, workers: int = 1) -> None:
        self.folder = folder
        self.port, self.simulator_port = free_port(), free_port()
        self.database_url = postgresql or f"sqlite:///{folder / 'payments.db'}"
        self.workers = workers
        self.key: str | None = None
        """The API key for requests to the service."""
        self._processes: list[Process] = []
        self._numbers = count(1)
        self.configure_gateways()

    def configure_gateways(self, *, a: str = GATEWAY_A, b: str = GATEWAY_B) -> None:
        """Write the gateways file with these lines in the two tables; processes that start later read it."""
        provider = f"http://{HOST}:{self.simulator_port}"
        tables = (
            f'[gatewayA]\nadapter = "gateway_a"\nurl = "{provider}/gatewayA"\n{a}',
            f'[gatewayB]\nadapter = "gateway_b"\nurl = "{provider}/gatewayB"\n{b}',
        )
        (self.folder / "gateways.toml").write_text("\n".join(tables))

    def environ(self, **settings: str) -> dict[str, str]:
        """The environment of a process of this installation."""
        own = {
            _MARK: str(self.folder),
            "PAYMENTS_BIND": f"{HOST}:{self.port}",
            "PAYMENTS_DATABASE_URL": self.database_url,
            "PAYMENTS_WORKERS": str(self.workers),
            "PAYMENTS_GATEWAYS_FILE": str(self.folder / "gateways.toml"),
            "SIMULATOR_BIND": f"{HOST}:{self.simulator_port}",
            "SIMULATOR_LEDGER": str(self.folder / _LEDGER),
            "SIMULATOR_CALLBACK_URL": f"http://{HOST}:{self.port}/v1/callbacks",
        }
        foreign = ("PAYMENTS_", "SIMULATOR_", "GUNICORN_")
        return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | own | settings

    # starting

    def start(self, name: str, *command: str, **settings: str) -> Process:
        """Start a command of the checkout with this Python, under a name for its logs."""
        return self.launch(name, command, settings)

    def launch(
        self,
        name: str,
        command: Sequence[str],
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        cwd: Path = CHECKOUT,
        output: int | None = None,
    ) -> Process:
        """Like ``start``, in another folder, or with its output sent to a descriptor."""
        process = Process(
            f"{next(self._numbers)}-{name}",
            [sys.executable, *command],
            cwd=cwd,
            environ=self.environ(**settings),
            folder=self.folder,
            output=output,
        )
        self._processes.append(process)
        return process

    def manage(self, command: str, *arguments: str, **settings: str) -> Process:
        """Start a command of manage.py."""
        return self.start(command, "manage.py", command, *arguments, **settings)

    def gunicorn(self, **settings: str) -> Process:
        """Start the service as in production, and do not wait for it."""
        return self.start("service", "-m", "gunicorn", "wsgi:app", **settings)

    def simulator(self) -> Process:
        """Start the simulated provider, and wait until it answers."""
        process = self.manage("simulator")
        self.wait_for_answer(process, self.simulator_port, "/calls")
        return process

    def service(self, port: int | None = None, /, **settings: str) -> Process:
        """Start the service, on ``port`` if it is given, and wait until all of its workers are ready."""
        port = self.port if port is None else port
        process = self.gunicorn(**{"PAYMENTS_BIND": f"{HOST}:{port}"} | settings)
        self.wait_for_answer(process, port, "/readyz")
        self.wait_for_workers(process, self.workers)
        return process

    @staticmethod
    def wait_for_workers(process: Process, ready: int) -> None:
        """Wait until ``ready`` workers have logged "ready" since the start of the process."""
        wait_until(lambda: process.said("ready") >= ready, f"{ready} workers of {process.name} are ready")

    def wait_for_answer(self, process: Process, port: int, path: str) -> None:
        """Wait until ``path`` is answered with 200; fail if the process ends first."""

        def answers() -> bool:
            assert not process.ended, f"{process.name} ended with {process.wait()}"
            with suppress(OSError, http.client.HTTPException):
                return self.get(path, port).status == 200
            return False

        wait_until(answers, f"{process.name} answers {path}")

    def verify(self) -> None:
        """``manage.py verify`` must find nothing; it may run beside the service."""
        process = self.manage("verify")
        assert process.wait() == 0, process.logs

    # requests

    def get(self, path: str, port: int | None = None) -> Answer:
        """GET ``path`` of the service, or of the process that listens on ``port``."""
        return call(self.port if port is None else port, "GET", path, key=self.key)

    def scrape(self, port: int | None = None) -> Samples:
        """The metrics of a service, on ``port`` if it is given, read on a new connection, from any worker."""
        port = self.port if port is None else port
        with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
            connection.request("GET", "/metrics")
            return read(connection.getresponse().read().decode())

    def post(self, path: str, body: object = None) -> Answer:
        """POST ``body`` to ``path`` of the service."""
        return call(self.port, "POST", path, body, key=self.key)

    def deposit(self, *, port: int | None = None, **members: object) -> Answer:
        """Post the deposit of the README, changed by ``members``."""
        body = {"amount": 100.0, "gateway": "gatewayA", "customer_id": "12345", **members}
        return call(self.port if port is None else port, "POST", "/v1/deposit", body)

    def books(self) -> Books:
        """The files that the provider wrote before its answers."""
        # Whole lines only: the provider may be writing the last one, and has not answered its request.
        whole, _, _ = (self.folder / _MEMORY).read_bytes().rpartition(b"\n")
        taken = [json.loads(line) for line in whole.splitlines()]
        return Books(self.get("/ledger", self.simulator_port).body, taken)

    def calls(self, gateway: str) -> int:
        """The number of calls that the provider has counted at ``gateway`` since its start."""
        count: int = self.get("/calls", self.simulator_port).body[gateway]
        return count

    def breaker(self, gateway: str) -> dict[str, Any]:
        """The breaker of ``gateway`` as the API shows it."""
        breaker: dict[str, Any] = self.get(f"/v1/gateways/{gateway}").body["breaker"]
        return breaker

    def inject_faults(self, **faults: object) -> None:
        """Inject faults into the provider; without arguments, end all faults."""
        assert call(self.simulator_port, "POST", "/faults", faults).status == 200

    # ending

    def living(self) -> list[int]:
        """Ids of all processes of this installation, including all descendants (Linux)."""
        return processes_with(_MARK, str(self.folder))

    def end(self) -> None:
        """End all processes that were started here, and all their descendants."""
        for process in self._processes:
            process.end()
        for pid in self.living():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.living(), "all processes are gone")

    @property
    def logs(self) -> str:
        """The last lines of the output of all processes."""
        return "\n".join(filter(None, (process.logs for process in self._processes)))


@contextmanager
def installed(folder: Path, *, postgresql: str | None = None, workers: int = 1) -> Iterator[Installation]:
    """An installation; after the block only its folder and database remain."""
    installation = Installation(folder, postgresql=postgresql, workers=workers)
    try:
        yield installation
    finally:
        installation.end()


def call(port: int, method: str, path: str, body: object = None, *, key: str | None = None) -> Answer:
    """One request on a new connection, with an optional API key. Raises OSError and HTTPException."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        return exchange(connection, method, path, body, key=key)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str | None = None,
    request_id: str | None = None,
) -> Answer:
    """One request on an open connection. Raises OSError and HTTPException."""
    data = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/json"} if data else {}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if request_id is not None:
        headers["X-Request-ID"] = request_id
    connection.request(method, path, data, headers)
    response = connection.getresponse()
    raw = response.read()
    is_json = (response.getheader("Content-Type") or "").partition(";")[0].endswith("json")
    return Answer(response.status, json.loads(raw) if is_json else None, response.headers)
