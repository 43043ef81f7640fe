"""Prints, as JSON, the memory of a process with so many customers touched.

``python -m tests.actors.runtime.memory_probe 100000``

Every customer has stored one deposit that is not finished yet, and its actor keeps it in memory. Then all become idle,
are stopped by the sweep, and one is started again. ``--greenlets``: as under gunicorn's gevent worker.
"""

from __future__ import annotations

import sys

if "--greenlets" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import gc
import importlib
import json
import tempfile
import time
from collections import deque
from pathlib import Path

from actors import system as systems
from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted
from actors.runtime.runtime import LiveRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.codec import Metadata
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.actors.support import GATEWAY, RecordingListener, SmallGateway, stream

OUTSTANDING = 500
IDLE_S = 120.0


class Runtime(LiveRuntime):
    """A live runtime whose clock can be advanced."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        """See Runtime."""
        return time.monotonic() + self.ahead_s


class SilentListener(RecordingListener):
    """A listener without effects."""

    def recorded(self, *_: object) -> None:
        """Ignore."""

    def appended(self, *_: object) -> None:
        """Ignore."""


def resident() -> int:
    """The resident memory of this process in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def main(customers: int, folder: Path) -> dict[str, float]:
    """See the module."""
    for room in ("api.app", "gateways.registry", "config.logging", "gateways.gateway_a"):
        importlib.import_module(room)  # what a worker of the service has in memory as well
    systems.SWEEP_S, systems.SWEEP_MAX = 0.02, 5_000  # type: ignore[misc]
    migrate(folder / "payments.db")
    runtime = Runtime()
    store = SqliteStore(folder / "payments.db", clock=runtime.now, synchronous="OFF")
    options = GatewaySettings(GATEWAY, "gateway_a", "http://127.0.0.1:1/a")
    gateway = SmallGateway()
    facade = ServiceFacade(runtime, {GATEWAY: gateway}, SilentListener(), request_deadline_s=60.0)
    system = PaymentSystem(
        service=facade,
        runtime=runtime,
        store=store,
        queue=LocalQueue(),
        gateways={GATEWAY: (gateway, options)},
        settings=SystemSettings(passivate_after_s=IDLE_S, processing=False),
        listener=SilentListener(),
        exclusive=True,
    )
    system.start()

    def send(number: int) -> ReceiveOperation:
        command = Receive(Kind.DEPOSIT, runtime.new_id(), GATEWAY, Money(100, "USD"), {"order": str(number)})
        sent = facade.send(stream(f"customer-{number:08}"), ReceiveOperation(command, Metadata(f"request-{number}")))
        assert isinstance(sent, ReceiveOperation)
        return sent

    for number in range(1_000):  # caches, connections and threads are not the customers'
        assert isinstance(send(-number - 1).reply.get(timeout=60.0), Accepted)
    before, lived, began = resident(), len(system.actors.customers), time.monotonic()
    outstanding: deque[ReceiveOperation] = deque()
    for number in range(customers):
        outstanding.append(send(number))
        if len(outstanding) >= OUTSTANDING:
            assert isinstance(outstanding.popleft().reply.get(timeout=60.0), Accepted)
    for request in outstanding:
        assert isinstance(request.reply.get(timeout=60.0), Accepted)
    outstanding.clear()
    took_s = time.monotonic() - began
    after, alive = resident(), len(system.actors.customers)
    collect_began = time.perf_counter()
    gc.collect()
    collect_s = time.perf_counter() - collect_began
    runtime.ahead_s = 2 * IDLE_S
    deadline = time.monotonic() + 60.0
    while len(system.actors.customers) and time.monotonic() < deadline:
        time.sleep(0.02)
    idle, left = resident(), len(system.actors.customers)
    woken = isinstance(send(0).reply.get(timeout=60.0), Accepted) and len(system.actors.customers)
    runtime.stop(5.0)
    store.close()
    return {
        "before": before,
        "after": after,
        "alive": alive,
        "per_actor": (after - before) / (alive - lived),
        "took_s": took_s,
        "collect_s": collect_s,
        "left": left,
        "idle": idle,
        "woken": woken,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(json.dumps(main(int(sys.argv[1]), Path(scratch))) + "\n")
