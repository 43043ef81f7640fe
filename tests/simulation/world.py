"""One run under one seed: a client sends deposits while things break, then calm comes and everything must end."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Final

from actors.messages import ReceiveRequest
from actors.replies import Accepted, NotStored, Reply, Uncertain
from actors.runtime.simulated import SimulatedRuntime
from actors.system import GRACE_S, PaymentSystem, SystemSettings
from domain.account import Refused
from domain.commands import Receive
from domain.events import Kind
from domain.money import Money
from gateways.settings import GatewaySettings
from store.codec import Metadata
from store.port import StreamKey, WorkItem
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.simulation.faults import Deadly, FaultyStore
from tests.simulation.history import History
from tests.simulation.provider import SimulatedProvider

CUSTOMERS: Final = 4
CALM_S: Final = 40 * 86_400.0
"""Virtual time after the last fault within which everything must have ended: the rarest lookup is a day apart."""
STEPS_MAX: Final = 200_000
SETTINGS: Final = SystemSettings(request_deadline_s=10.0, passivate_after_s=5.0, dead_letter_max_s=600.0)


class _Silent:
    """A listener that hears nothing."""

    def recorded(self, stream: StreamKey, events: object) -> None:
        """Ignore."""

    def called(self, item: WorkItem, result: object, duration_s: float) -> None:
        """Ignore."""

    def breaker_changed(self, gateway: str, state: str) -> None:
        """Ignore."""


class World:
    """The parts that outlive a crash: the file, the provider, the client, the history and the dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.history = History()
        self._path = folder / "payments.db"
        migrate(self._path)
        # Each seed has its own mixture of faults: with everything broken at once, some faults would hide others.
        rates = [0.0, 0.3, 1.0, 4.0]
        self._store_rate = self.chance.choice(rates)
        self._crash_rate = self.chance.choice(rates)
        self.deadly = Deadly(self.chance, self.chance.choice(rates) * 0.005)
        self._provider = SimulatedProvider(self.chance, self.history, self.chance.choice(rates))
        self._outstanding: list[ReceiveRequest] = []
        self._now = 0.0
        self._wall_offset_s = 0.0
        self._calm = False
        self._boot()

    def run(self, deposits: int) -> History:
        """Send ``deposits`` in bursts amid faults and crashes, then let everything come to rest."""
        left = deposits
        while left:
            for _ in range(min(left, self.chance.randint(1, 6))):
                self._send()
                left -= 1
            self._run_for(self.chance.choice([0.0, 0.05, 1.0, 20.0]), self.chance.randint(1, 400))
            draw = self.chance.random()
            if draw < 0.2 * self._crash_rate:
                self._crash()
            elif draw < 0.90:
                pass
            elif draw < 0.95:
                self._jump_the_clock()
            else:
                self._runtime.advance(self.chance.choice([1.0, 12.0, 100.0]))
        self._calm = self._provider.calm = self._store.calm = self.deadly.calm = True
        if self.chance.random() < 0.5:
            self._crash()
        self._run_for(CALM_S, STEPS_MAX, to_the_end=True)
        self._dump("rest")
        self._tables()
        self._real.close()
        return self.history

    # the process

    def _boot(self) -> None:
        self._runtime = SimulatedRuntime(self.chance, started_at=self._now)
        self._runtime.wall_offset_s = self._wall_offset_s
        self._provider.runtime = self._runtime
        self._real = SqliteStore(self._path, clock=self._runtime.now, synchronous="OFF")
        self._store = FaultyStore(self._real, self.chance, self._store_rate)
        self._store.calm = self._calm
        options = GatewaySettings("gatewayA", "gateway_a", "http://127.0.0.1:8090/gatewayA", max_concurrent=3)
        self._system = PaymentSystem(
            runtime=self._runtime,
            store=self._store,
            gateways={"gatewayA": (self._provider, options)},
            settings=SETTINGS,
            listener=_Silent(),
            exclusive=True,
        )
        self._system.start()

    def _crash(self) -> None:
        """Everything in memory is gone; the file and the world outside go on."""
        self.history.add("crash", self._runtime.monotonic())
        for request in self._outstanding:
            self._answered(request, None)
        self._outstanding = []
        down_s = self.chance.choice([0.5, 1.0, 1.0, 1.0, 30.0, 30_000.0])
        self._now, self._wall_offset_s = self._runtime.monotonic() + down_s, self._runtime.wall_offset_s
        self._real.close()
        self._boot()
        self._dump("restart")

    def _jump_the_clock(self) -> None:
        self._runtime.wall_offset_s += self.chance.choice([-1800.0, -5.0, 5.0, 1800.0])
        self.history.add("clock", self._runtime.monotonic(), offset=self._runtime.wall_offset_s)

    def _run_for(self, seconds: float, steps: int, *, to_the_end: bool = False) -> None:
        until = self._runtime.monotonic() + seconds
        for step in range(steps):
            if not self._runtime.step(until):
                break
            if self._store.crashed:
                self._crash()
                return
            self._collect()
            if to_the_end and step % 50 == 0 and not self._outstanding and not self._real.work_counts():
                break

    # the client

    def _send(self) -> None:
        runtime = self._runtime
        customer = f"c{self.chance.randrange(CUSTOMERS)}"
        currency = self.chance.choice(["USD", "USD", "JPY"])
        command = Receive(
            Kind.DEPOSIT, runtime.new_id(), "gatewayA", Money(self.chance.randint(1, 99_999), currency), {"n": "1"}
        )
        self.history.add(
            "sent",
            runtime.monotonic(),
            id=command.transaction_id,
            customer=customer,
            amount=command.money.text,
            currency=currency,
        )
        sent = self._system.send(StreamKey("main", customer), command, Metadata(f"r-{runtime.random():.6f}"))
        if isinstance(sent, NotStored):
            self.history.add("answer", runtime.monotonic(), id=command.transaction_id, answer="not-stored")
        else:
            self._outstanding.append(sent)

    def _collect(self) -> None:
        """What the waiting HTTP threads do: take the answer, or give up some time after the deadline."""
        now, still = self._runtime.monotonic(), []
        for request in self._outstanding:
            if request.reply.done:
                self._answered(request, request.reply.get(timeout=0))
            elif now < request.deadline + GRACE_S:
                still.append(request)
            else:
                self._answered(request, NotStored("") if request.take() else Uncertain(request.command.transaction_id))
        self._outstanding = still

    def _answered(self, request: ReceiveRequest, reply: Reply | None) -> None:
        names = {Accepted: "accepted", Refused: "refused", NotStored: "not-stored", Uncertain: "uncertain"}
        answer = "none" if reply is None else names[type(reply)]
        status = reply.transaction.status.value if isinstance(reply, Accepted) else None
        self.history.add(
            "answer", self._runtime.monotonic(), id=request.command.transaction_id, answer=answer, status=status
        )

    # what the store holds

    def _dump(self, when: str) -> None:
        with self._real.audit() as audit:
            for stream in audit.streams():
                events = [
                    {
                        "version": event.version,
                        "type": event.type,
                        "body": event.body.decode(),
                        "hash": event.hash.hex(),
                    }
                    for event in audit.events(stream)
                ]
                self.history.add("dump", self._runtime.monotonic(), when=when, stream=list(stream), events=events)

    def _tables(self) -> None:
        with self._real.audit() as audit:
            for stream in audit.streams():
                self.history.add(
                    "tables",
                    self._runtime.monotonic(),
                    stream=list(stream),
                    transactions={row.transaction_id: row.status.value for row in audit.transactions(stream)},
                    balances={currency: [row.available, row.reserved] for currency, row in audit.balances(stream)},
                    unfinished=list(audit.unfinished(stream)),
                    reviews=[review.review_id for review in audit.reviews(stream)],
                )
        # Whether the actors themselves came to rest, and not only the store.
        self.history.add("rest", self._runtime.monotonic(), outstanding=len(self._outstanding))


def simulate(seed: int, folder: Path, deposits: int = 24) -> History:
    """One run; the same ``seed`` gives the same history, byte for byte."""
    logging.disable(logging.CRITICAL)  # actors are made to die here by the hundred
    try:
        world = World(seed, folder)
        with world.deadly.installed():
            return world.run(deposits)
    finally:
        logging.disable(logging.NOTSET)
