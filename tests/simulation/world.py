"""One run under one seed: clients send commands while things break, then calm comes and everything must end."""

from __future__ import annotations

import logging
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from actors.system import PaymentSystem, SystemSettings
from gateways.settings import GatewaySettings
from store.errors import StoreError
from store.port import DeadLetterFilter
from store.sqlite.adapter import SqliteStore
from store.sqlite.migrate import migrate
from tests.simulation.client import Client, Operator
from tests.simulation.faults import Crashed, Deadly, FaultyStore
from tests.simulation.history import History
from tests.simulation.listening import SlowListener
from tests.simulation.mischief import Mischief
from tests.simulation.provider import SETTLE_S, TIMEOUT_S, SimulatedProvider
from tests.simulation.recording import RecordingStore
from tests.simulation.threads import ThreadedRuntime

CALM_S: Final = 40 * 86_400.0
"""Virtual time after the last fault within which everything must have ended: the rarest lookup is a day apart."""
STEPS_MAX: Final = 200_000
DRAIN_S: Final = 10.0
SLOTS: Final = 3
WALL_OFF_MAX_S: Final = 4_500.0
"""How far the wall clock may be off: so much less than half of the time for which keys are remembered."""
SETTINGS: Final = SystemSettings(
    request_deadline_s=10.0, passivate_after_s=5.0, dead_letter_max_s=600.0, dead_letter_attempts=4
)


class World:
    """The parts that outlive a crash: the file, the providers, the people outside, the history and the dice."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self.history = History()
        self._path = folder / "payments.db"
        migrate(self._path)
        # Each seed has its own mixture of faults: with everything broken at once, some faults would hide others.
        rates = [0.0, 0.3, 1.0, 4.0]
        self._store_rate = self.chance.choice(rates)
        self._crash_rate = self.chance.choice(rates)
        self._slow_rate = self.chance.choice(rates)
        self._operator_rate = self.chance.choice(rates)
        self.deadly = Deadly(self.chance, self.chance.choice(rates) * 0.005)
        self.mischief = Mischief(self.chance, self.chance.choice(rates))
        self._providers = [
            SimulatedProvider(
                name, self.chance, self.history, self.chance.choice(rates), honours_keys=keys, looks_up=looks_up
            )
            for name, keys, looks_up in [
                ("gatewayA", True, True),
                ("gatewayB", False, True),
                ("gatewayC", False, False),
            ]
        ]
        names = [provider.name for provider in self._providers]
        # The third is a bore: what it leaves open nobody but a person can settle.
        self._client = Client(self.chance, self.history, [*names[:2] * 4, names[2]])
        self._operator = Operator(self.chance, self.history, names)
        self._now = 0.0
        self._wall_offset_s = 0.0
        self._calm = False
        self._boot()

    def run(self, commands: int) -> History:
        """Send ``commands`` in bursts amid faults and crashes, then let everything come to rest."""
        left = commands
        while left:
            for _ in range(min(left, self.chance.randint(1, 6))):
                self._client.send(self._system, self._runtime)
                left -= 1
            self._run_for(self.chance.choice([0.0, 0.05, 1.0, 20.0, 80.0]), self.chance.randint(1, 400))
            self._meet_something()
        self._come_to_rest()
        return self.history

    # what happens

    def _meet_something(self) -> None:
        draw = self.chance.random()
        if draw < 0.2 * self._crash_rate:
            if self.chance.random() < 0.25:
                self._stop()
            else:
                self._crash()
        elif draw < 0.82:
            pass
        elif draw < 0.90:
            self._jump_the_clock()
        elif draw < 0.95:
            self._runtime.advance(self.chance.choice([1.0, 12.0, 100.0]))
        else:
            self._cut_off_somebody()
        if self.chance.random() < 0.3 * self._operator_rate:
            self._operator.meddle(self._system, self._real, self._runtime)

    def _cut_off_somebody(self) -> None:
        self.chance.choice(self._providers).fail_for(self.chance.choice([5.0, 40.0, 400.0]))

    def _come_to_rest(self) -> None:
        self._calm = self.deadly.calm = self.mischief.calm = self._runtime.calm = self._store.calm = True
        for provider in self._providers:
            provider.calm = True
        if self._store.crashed or self.chance.random() < 0.5:
            self._crash()
        self.history.add("calm", self._runtime.monotonic())
        self._run_for(DRAIN_S + 1.0, STEPS_MAX)  # orders that are under way are answered, or given up
        for provider in self._providers:
            self._operator.order_mode(self._system, self._runtime, provider.name, "auto")
        self._operator.retry(self._system, self._runtime, DeadLetterFilter())
        self._run_for(CALM_S, STEPS_MAX, to_the_end=True)
        self._dump("rest")
        self._tables("rest")
        for provider in self._providers:
            provider.tell_truth()
        # Whether the actors themselves came to rest, and not only the store.
        self.history.add("rest", self._runtime.monotonic(), outstanding=self._client.waits)
        self._runtime.kill()
        self._store.close()

    def _jump_the_clock(self) -> None:
        self._wall_offset_s += self.chance.choice([-1800.0, -100.0, -5.0, 5.0, 100.0, 1800.0])
        self._wall_offset_s = min(max(self._wall_offset_s, -WALL_OFF_MAX_S), WALL_OFF_MAX_S)
        self._runtime.wall_offset_s = self._wall_offset_s
        self.history.add("clock", self._runtime.monotonic(), offset=self._wall_offset_s)

    # the process

    def _boot(self) -> None:
        self.history.add("boot", self._now)
        self._runtime = ThreadedRuntime(self.chance, self.history, started_at=self._now)
        self._runtime.wall_offset_s, self._runtime.calm = self._wall_offset_s, self._calm
        self.mischief.runtime = self._runtime
        self._real = SqliteStore(self._path, clock=self._runtime.now, synchronous="OFF")
        self._recording = RecordingStore(self._real, self._path, self.history, self._runtime.monotonic)
        self._store = FaultyStore(self._recording, self.chance, self._store_rate, self._jump_the_clock)
        self._store.calm = self._calm
        for provider in self._providers:
            provider.runtime, provider.die = self._runtime, self._die
        self._system = PaymentSystem(
            runtime=self._runtime,
            store=self._store,
            gateways={provider.name: (provider, _settings(provider)) for provider in self._providers},
            settings=SETTINGS,
            listener=SlowListener(self.history, self._runtime, self.chance, self._slow_rate),
            exclusive=True,
        )
        while True:
            try:
                self._system.start()
            except (StoreError, RuntimeError):
                self._runtime.advance(1.0)
            except Crashed:
                break
            else:
                break

    def _die(self) -> None:
        self._store.crashed = True

    def _crash(self) -> None:
        """Everything in memory is gone; the file and the world outside go on, but for what went down with it."""
        self.history.add("crash", self._runtime.monotonic())
        if not self._calm and self.chance.random() < 0.3:
            self._cut_off_somebody()
        self._go_down(self.chance.choice([0.5, 1.0, 1.0, 1.0, 30.0, 30_000.0]))

    def _stop(self) -> None:
        """SIGTERM: nothing new goes out, calls that are out may end, the rest is given back."""
        self.history.add("stop", self._runtime.monotonic())
        self._system.drain()
        until = self._runtime.monotonic() + DRAIN_S
        while not self._system.at_rest and not self._store.crashed and self._runtime.step(until):
            self._client.collect(self._runtime)
        try:
            if not self._store.crashed:
                self._system.retire()
        except (StoreError, RuntimeError, Crashed):
            pass
        self._go_down(self.chance.choice([0.1, 1.0, 30.0]))

    def _go_down(self, for_s: float) -> None:
        self._client.cut_off(self._runtime)
        self._runtime.kill()
        self._now = self._runtime.monotonic() + for_s
        self._store.close()
        self._boot()
        self._dump("restart")
        self._tables("restart")

    def _run_for(self, seconds: float, steps: int, *, to_the_end: bool = False) -> None:
        until = self._runtime.monotonic() + seconds
        for step in range(steps):
            if self._store.crashed:
                self._crash()
                return
            if not self._runtime.step(until):
                break
            self._client.collect(self._runtime)
            if to_the_end and step % 50 == 0 and not self._client.waits and not self._runtime.busy:
                left = self._recording.left_to_do(self._providers[-1].name)
                if not left:
                    break
                if left == {"parked"}:  # what the operator's orders before the last outage's end could not help
                    self._operator.retry(self._system, self._runtime, DeadLetterFilter())
                else:
                    self._skip_what_is_dull()

    def _skip_what_is_dull(self) -> None:
        """Nothing to do for long: let the time pass at once, and not beat by beat."""
        due = [self._real.next_due_s(provider.name) for provider in self._providers]
        wait_s = min((each for each in due if each is not None), default=0.0)
        if wait_s > 30.0:
            self._runtime.advance(wait_s - 10.0)

    # what the store holds

    def _dump(self, when: str) -> None:
        with self._real.audit() as audit:
            for stream in audit.streams():
                events = [
                    {
                        "id": event.event_id,
                        "version": event.version,
                        "type": event.type,
                        "body": event.body.decode(),
                        "hash": event.hash.hex(),
                    }
                    for event in audit.events(stream)
                ]
                self.history.add("dump", self._runtime.monotonic(), when=when, stream=list(stream), events=events)

    def _tables(self, when: str) -> None:
        with self._real.audit() as audit:
            for stream in audit.streams():
                self.history.add(
                    "tables",
                    self._runtime.monotonic(),
                    when=when,
                    stream=list(stream),
                    transactions={
                        row.transaction_id: [row.status.value, row.gateway_reference]
                        for row in audit.transactions(stream)
                    },
                    balances={currency: [row.available, row.reserved] for currency, row in audit.balances(stream)},
                    unfinished=list(audit.unfinished(stream)),
                    reviews=[[review.transaction_id, review.state] for review in audit.reviews(stream)],
                )


def _settings(provider: SimulatedProvider) -> GatewaySettings:
    return GatewaySettings(
        provider.name,
        "gateway_a",
        f"http://127.0.0.1:8090/{provider.name}",
        timeout_s=TIMEOUT_S,
        settle_s=SETTLE_S,
        max_concurrent=SLOTS,
        max_retries=1,
    )


def simulate(seed: int, folder: Path, commands: int = 36) -> History:
    """One run; the same ``seed`` gives the same history, byte for byte."""
    logging.disable(logging.CRITICAL)  # actors are made to die here by the hundred
    try:
        world = World(seed, folder)
        with ExitStack() as stack:
            stack.enter_context(world.deadly.installed())
            stack.enter_context(world.mischief.installed())
            return world.run(commands)
    finally:
        logging.disable(logging.NOTSET)
