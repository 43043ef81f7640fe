"""Runs the actors as under gunicorn's gevent worker, patched first; prints measurements as JSON."""

# ruff: noqa: E402 - gevent patches before anything else is imported
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import gevent
from gevent.threadpool import ThreadPool

from actors.operations.receive import ReceiveOperation
from actors.replies import Accepted
from actors.runtime.runtime import LiveRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from domain.outcomes import Outcome
from gateways.port import Order
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.codec import Metadata
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.actors.support import GATEWAY, RecordingListener, SmallGateway, stream

CLIENTS, DEPOSITS, CONCURRENT = 200, 5, 50
native_sleep = monkey.get_original("time", "sleep")


def main(folder: Path) -> dict[str, object]:  # noqa: C901 - one scenario, step by step
    """See the module."""
    pool = ThreadPool(1)
    commits: list[int] = []

    def offload(job: Callable[[], None]) -> None:
        def slow() -> None:
            native_sleep(0.005)  # a slow disk, which blocks no greenlet
            job()

        before = ticks[0]
        pool.apply(slow)
        commits.append(ticks[0] - before)

    ticks = [0]

    def tick() -> None:
        while True:
            ticks[0] += 1
            gevent.sleep(0.001)

    ticker = gevent.spawn(tick)
    path = folder / "payments.db"
    migrate(path)
    runtime = LiveRuntime()
    store = SqliteStore(path, clock=runtime.now, offload=offload, synchronous="OFF")
    gateway = SmallGateway()

    def answer(order: Order) -> Outcome:
        gevent.sleep(0.01)
        return gateway.accept(order)

    gateway.answer = answer
    options = GatewaySettings(GATEWAY, "gateway_a", "http://127.0.0.1:1/a", max_concurrent=CONCURRENT)
    facade = ServiceFacade(runtime, {GATEWAY: gateway}, RecordingListener(), request_deadline_s=30.0)
    system = PaymentSystem(
        service=facade,
        runtime=runtime,
        store=store,
        queue=LocalQueue(),
        gateways={GATEWAY: (gateway, options)},
        settings=SystemSettings(),
        listener=RecordingListener(),
        exclusive=True,
    )
    system.start()
    accepted: list[str] = []

    def client(number: int) -> None:
        for _ in range(DEPOSITS):
            command = Receive(Kind.DEPOSIT, runtime.new_id(), GATEWAY, Money(100, "USD"), {})
            reply = facade.execute(stream(f"c{number % 20}"), ReceiveOperation(command, Metadata("r")))
            if isinstance(reply, Accepted):
                accepted.append(reply.transaction.transaction_id)

    gevent.joinall([gevent.spawn(client, number) for number in range(CLIENTS)], timeout=60)
    with gevent.Timeout(60):
        while store.work_counts():
            gevent.sleep(0.01)
    ticker.kill()
    system.drain()
    with gevent.Timeout(10):
        while not system.at_rest:
            gevent.sleep(0.01)
    completed = [key for key in accepted if _status(store, key) == "completed"]
    stopped = runtime.stop(5.0)
    store.close()
    return {
        "accepted": len(accepted),
        "completed": len(set(completed)),
        "effects": len(gateway.effects),
        "calls": len(gateway.calls),
        "at_once_max": gateway.at_once_max,
        "commits": len(commits),
        "commits_that_held_others_up": commits.count(0),
        "stopped": stopped,
    }


def _status(store: SqliteStore, transaction_id: str) -> str:
    view = store.transaction("main", transaction_id)
    return "" if view is None else view.transaction.status.value


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(json.dumps(main(Path(scratch))) + "\n")
