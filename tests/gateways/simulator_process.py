"""Runs the real simulator in a separate process for the tests, and kills it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from gateways.port import Order
from tests.gateways.peer import Peer, Request

PATIENCE_S = 10.0
CHECKOUT = Path(__file__).parents[2]
BODY = {"reference": "r-1", "amount": "100.00", "currency": "USD", "customer": "1", "details": {}}
COMMAND = [sys.executable, "-c", "import os; from gateways.simulator import run; run(os.environ)"]


class Simulator:
    """A running simulator with its ledger at ``ledger``. Make it again with the same ledger to restart it."""

    def __init__(
        self,
        ledger: Path,
        callback_url: str = "http://127.0.0.1:9/none",
        bind: str = "127.0.0.1:0",
        **variables: str,
    ) -> None:
        self.ledger = ledger
        environ = {**environment(ledger, callback_url, bind), **variables}
        self._process = subprocess.Popen(COMMAND, cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.greeting = self._process.stdout.readline()
        if "listening on" not in self.greeting:
            self.kill()
            raise AssertionError(f"the simulator did not start: {self.greeting!r}")
        self.url = self.greeting.split("listening on ")[1].split(" ")[0]

    def get(self, path: str) -> object:
        """The JSON at ``path``."""
        return self.call("GET", path)[1]

    def effects(self, reference: str) -> list[dict[str, str]]:
        """The entries of the ledger with this ``reference``."""
        ledger = self.get("/ledger")
        assert isinstance(ledger, list)
        return [line for line in ledger if line["reference"] == reference]

    def inject_faults(self, **faults: object) -> None:
        """Post ``faults``."""
        assert self.call("POST", "/faults", json.dumps(faults).encode())[0] == 200

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, object]:
        """Send a plain request with the standard library's client; return status and JSON.

        ``_`` in header names means ``-``.
        """
        status, answer = self.call_raw(method, path, body, **headers)
        return status, json.loads(answer)

    def call_raw(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """The same, with the body as received."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=5)
        with closing(connection):
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, names)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop the process with SIGTERM; return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


def environment(ledger: Path, callback_url: str, bind: str) -> Mapping[str, str]:
    """The environment of a simulator."""
    return {
        **os.environ,
        "SIMULATOR_BIND": bind,
        "SIMULATOR_LEDGER": str(ledger),
        "SIMULATOR_CALLBACK_URL": callback_url,
    }


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Check ``holds`` repeatedly until it is true. If it never is, fail with ``what``."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def callbacks_of(service: Peer, order: Order) -> list[Request]:
    """The callbacks about ``order`` so far."""
    return [request for request in service.requests if order.transaction_id.encode() in request.body]
