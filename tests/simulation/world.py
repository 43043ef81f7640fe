"""One run under a seed: clients send commands while faults occur; then faults stop, and everything must end."""

from __future__ import annotations

import logging
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from actors.operations.waiting_callbacks import queue_of
from tests.simulation.broker import Broker
from tests.simulation.databases import Database, File
from tests.simulation.environment import Environment
from tests.simulation.faults import Deadly
from tests.simulation.hints import Hints
from tests.simulation.history import History
from tests.simulation.message_faults import MessageFaults
from tests.simulation.outgoing import BATCHES
from tests.simulation.process import DRAIN_S, HELD_UP_S, LEASES_S, Process, Surroundings
from tests.simulation.recording_store import Eyes
from tests.simulation.relay_operator import RelayOperator
from tests.simulation.roles import SHAPES, Role, Shape, is_whole
from tests.simulation.snapshots import dump, tables
from tests.simulation.timeline import Timeline

CALM_S: Final = 40 * 86_400.0
"""Virtual time after the last fault within which everything must end. The rarest lookups are a day apart."""
STEPS_MAX: Final = 300_000
LOOK_EVERY: Final = 50
"""Steps between two checks whether everything has ended."""
IDLE_S: Final = 8.0
"""When nothing is due for this long, the time advances in one step and not heartbeat by heartbeat."""
RATES: Final = (0.0, 0.3, 1.0, 4.0)
READ: Final = (0, 1, 3)
"""Numbers of transactions that clients read between two bursts of commands."""


class World:
    """The parts that outlive a crash: the file, the environment, the history and the random numbers.

    A single process has an exclusive store. Several processes share the store and one time line. Their wall clocks
    differ, and due times and leases are measured by the store's clock. A world with a process of the role relay has a
    broker; a world whose processes have all roles has one with some seeds.
    """

    def __init__(self, seed: int, database: Database, shape: Shape | None = None) -> None:
        self.chance = random.Random(seed)
        self.history = History()
        self.timeline = Timeline(self.chance, self.history)
        chosen = self.chance.choice(SHAPES)
        shape = chosen if shape is None else shape
        count = len(shape)
        self._brokered = self.chance.random() < 0.5 if set(shape) == {Role.ALL} else Role.RELAY in shape
        # Each seed has its own mixture of faults. If all faults occurred at once, some would hide others.
        store_rate, self._crash_rate, slow_rate, self._held_up_rate = (self._some_rate() for _ in range(4))
        self.deadly = Deadly(self.chance, self._some_rate() * 0.005, self._hindered)
        self.message_faults = MessageFaults(self.chance, self.timeline, self._some_rate())
        self._processes: list[Process] = []
        self._outside = Environment(self.chance, self.history, self.timeline, self._some_rate, self._reachable)
        self._eyes = Eyes(database, self.history, self.timeline)
        self._looking = database.open(self.timeline.clock)
        self._broker = hints = None
        if self._brokered:
            self._broker = Broker(self.chance, self.history, self.timeline, self._some_rate())
            hints = Hints(self.chance, self.history, self.timeline, self._broker, self._some_rate())
            self._relay_operator = RelayOperator(self.chance, self.history, self.timeline, database)
        around = Surroundings(
            self.chance,
            self.history,
            self.timeline,
            database,
            self._eyes,
            self._outside.providers,
            exclusive=count == 1 and not database.is_server,
            store_rate=store_rate,
            slow_rate=slow_rate,
            held_up_rate=self._held_up_rate,
            lease_s=self.chance.choice(LEASES_S),
            broker=self._broker,
            hints=hints,
            batch_max=self.chance.choice(BATCHES),
        )
        self._database, self._alone = database, count == 1
        self._calm = False
        self._processes += [Process(number, role, around) for number, role in enumerate(shape)]
        for process in self._processes:
            if process.number == 0:
                process.boot()
            else:
                self._boot_in(process, self.chance.choice([0.0, 0.0, 1.0, 100.0]))

    def run(self, commands: int) -> History:
        """Send ``commands`` in bursts during faults and crashes, then run until everything is at rest."""
        left = commands
        while left:
            for _ in range(min(left, self.chance.randint(1, 6))):
                self._outside.client.send(self._some_process())
                left -= 1
            self._run_for(self.chance.choice([0.0, 0.05, 1.0, 20.0, 80.0]), self.chance.randint(1, 400))
            self._outside.client.read(self._some_process(), self.chance.choice(READ))
            self._inject_faults()
        self._come_to_rest(commands)
        return self.history

    def _some_process(self) -> Process:
        """A process that accepts commands; if there is none, time passes until there is one."""
        while not (running := [each for each in self._processes if each.running and each.role.accepts]):
            self._step(None)
        return running[0] if len(running) == 1 else self.chance.choice(running)

    def _reachable(self) -> Process | None:
        """The process that a provider's callback reaches; sometimes one that is frozen."""
        up = [process for process in self._processes if process.up and process.role.accepts]
        running = [process for process in up if process.running]
        among = running if running and self.chance.random() < 0.9 else up
        return self.chance.choice(among) if among else None

    def _some_rate(self) -> float:
        """A rate for one kind of fault in this seed."""
        return self.chance.choice(RATES)

    # what happens

    def _inject_faults(self) -> None:
        victims = [process for process in self._processes if process.up]
        if victims:
            self._inject_fault_into(self.chance.choice(victims))
        if not self._alone and self.chance.random() < 0.2 * self._held_up_rate:
            self._hold_up()
        self._outside.act(self._some_process)
        if self._broker is not None:
            if self._broker.happens(0.05):
                self._broker.fail_for(self.chance.choice([1.0, 5.0, 40.0, 400.0]))
            self._relay_operator.act()

    def _inject_fault_into(self, process: Process) -> None:
        draw = self.chance.random()
        if draw < 0.2 * self._crash_rate:
            if self.chance.random() < 0.25 and process.running:
                if process.stops_until is None:
                    process.begin_to_stop()
            else:
                self._crash(process)
        elif draw < 0.82:
            pass
        elif draw < 0.90:
            process.jump_the_clock()
        elif draw < 0.95:
            self.timeline.advance(self.chance.choice([1.0, 12.0, 100.0]))  # the whole machine stands still
        else:
            self._outside.cut_off_a_provider()

    def _hold_up(self) -> None:
        running = [process for process in self._processes if process.running]
        if not running:
            return
        process, for_s = self.chance.choice(running), self.chance.choice(HELD_UP_S)
        if self.chance.random() < 0.6:
            process.freeze(for_s)
        elif not process.store.is_cut:
            process.cut_off(for_s)

    def _come_to_rest(self, commands: int) -> None:
        self._calm = self.deadly.calm = self.message_faults.calm = True
        self._outside.be_calm()
        if self._broker is not None:
            self._broker.calm = True
        for process in self._processes:
            process.be_calm(calm=True)
            if not process.up:
                self._boot(process)
            elif process.store.crashed or self.chance.random() < 0.5:
                self._crash(process)
            else:
                process.thaw(process.runtime)
                process.heal(process.store)
        self.history.add("calm", self.timeline.now)
        self._run_for(DRAIN_S + 1.0, STEPS_MAX)  # operator commands in progress are answered, or given up
        self._outside.end_orders_and_retry(self._some_process())
        self._run_for(CALM_S, STEPS_MAX, to_the_end=True)
        self._outside.client.read(self._some_process(), commands)
        self._dump("rest")
        self._eyes.look_at_claims()
        if self._brokered:
            self._eyes.look_at_positions()
        self._outside.record_outcomes()
        # Check that the actors are at rest, and not only the store.
        self.history.add("rest", self.timeline.now, outstanding=self._outside.client.waits)
        for process in self._processes:
            if process.up:
                process.end()
            process.close()
        self._looking.close()
        self._database.close()

    # the processes

    def _boot(self, process: Process) -> None:
        if not process.up and not process.gone:
            process.boot()
            self._dump("restart")

    def _boot_in(self, process: Process, seconds: float) -> None:
        self.timeline.after(seconds, lambda: self._boot(process))

    def _crash(self, process: Process) -> None:
        """Lose all memory; the file and the environment remain."""
        self.history.add("crash", self.timeline.now, process=process.number)
        if not self._calm and self.chance.random() < 0.3:
            self._outside.cut_off_a_provider()
        self._go_down(process, [0.5, 1.0, 1.0, 1.0, 30.0, 30_000.0 if self._alone else 600.0])

    def _go_down(self, process: Process, for_s: list[float]) -> None:
        self._outside.client.cut_off(process)
        process.end()
        others = [each.role for each in self._processes if each is not process and not each.gone]
        process.gone = is_whole(others, brokered=self._brokered) and self.chance.random() < 0.1
        if not process.gone:
            self._boot_in(process, self.chance.choice(for_s))

    def _hindered(self) -> None:
        """Mark the running process as hindered."""
        if self.timeline.current is not None:
            self._processes[self.timeline.current.process].hindered()

    # time

    def _step(self, until: float | None) -> bool:
        """Do one step, and its direct consequences. Returns False if there is no step before ``until``."""
        if not self.timeline.step(until):
            return False
        for process in self._processes:
            if not process.up:
                continue
            if process.store.crashed:
                self._crash(process)
                continue
            if process.freezes_for_s is not None and not self._calm:
                process.freeze(process.freezes_for_s)
            if not process.runtime.frozen:
                self._outside.client.collect(process)
                if process.has_stopped:
                    process.retire()
                    self._go_down(process, [0.1, 1.0, 30.0])
        return True

    def _run_for(self, seconds: float, steps: int, *, to_the_end: bool = False) -> None:
        until = self.timeline.now + seconds
        looked = 0
        for step in range(steps):
            if not self._step(until):
                break
            if to_the_end and step - looked >= LOOK_EVERY and not self._is_busy:
                looked = step
                outside = self._outside
                left = self._eyes.left_to_do(outside.providers[-1].name, outside.held, outside.known_holds)
                if not left and self._outside.notifier.next_s is None:
                    if not self._brokered or not self._eyes.backlog:
                        break
                    continue
                if left == {"parked"}:  # the operator's commands came before the end of the last outage
                    self._outside.retry(self._some_process())
                else:
                    self._skip_idle_time()

    @property
    def _is_busy(self) -> bool:
        return bool(self._outside.client.waits) or any(
            not each.up or each.runtime.busy for each in self._processes if not each.gone
        )

    def _skip_idle_time(self) -> None:
        """If nothing is due for long, advance the time at once. No process misses a heartbeat."""
        names = [provider.name for provider in self._outside.providers]
        due = [self._outside.notifier.next_s, *(self._due_s(name) for name in [*names, *map(queue_of, names)])]
        wait_s = min((each for each in due if each is not None), default=0.0)
        if wait_s > IDLE_S:
            self.timeline.advance(wait_s - IDLE_S / 4)
            for process in self._processes:
                if process.up and process.recording.owner is not None:
                    process.recording.heartbeat(process.recording.owner)

    def _due_s(self, gateway: str) -> float | None:
        return next(process for process in self._processes if process.up).recording.next_due_s(gateway)

    # what the store holds

    def _dump(self, when: str) -> None:
        dump(self._looking, self.history, self.timeline.now, when)
        tables(self._looking, self.history, self.timeline.now, when)


def simulate(
    seed: int,
    folder: Path,
    commands: int = 36,
    *,
    database: Database | None = None,
    shape: Shape | None = None,
) -> History:
    """Run one simulation on a SQLite file, unless a database is given.

    ``shape`` names the roles of the processes; if it is None, the seed chooses. The same ``seed`` gives the same
    history, byte for byte.
    """
    logging.disable(logging.CRITICAL)  # hundreds of actors die here on purpose
    try:
        world = World(seed, database or File(folder), shape)
        with ExitStack() as stack:
            stack.enter_context(world.deadly.installed())
            stack.enter_context(world.message_faults.installed())
            return world.run(commands)
    finally:
        logging.disable(logging.NOTSET)
