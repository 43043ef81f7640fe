"""One process of the service: how it starts, freezes, loses its connections, and ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.system import PaymentSystem
from gateways.settings import GatewaySettings
from messaging.local import LocalQueue
from store.errors import StoreError
from tests.simulation.broker import Broker, SimulatedPublisher
from tests.simulation.databases import AnyStore, Database
from tests.simulation.faults import Crashed, FaultyStore
from tests.simulation.hints import HintQueue, Hints
from tests.simulation.history import History
from tests.simulation.outgoing import Outgoing
from tests.simulation.provider import SETTLE_S, TIMEOUT_S, SimulatedProvider
from tests.simulation.provider_calls import CallingGateway
from tests.simulation.recording_store import Eyes, RecordingStore
from tests.simulation.relay_stores import FaultyRelayStore, RecordingRelays
from tests.simulation.roles import Role
from tests.simulation.slow_listener import SlowListener
from tests.simulation.threads import ThreadedRuntime
from tests.simulation.timeline import Timeline

DRAIN_S: Final = 10.0
SLOTS: Final = 3
LATE_S: Final = (0.0, 0.01, 0.5, 4.0)
"""Delays after which a write may be stored although its caller has given up. A server ends slower statements."""
HELD_UP_S: Final = (1.0, 6.0, 12.0, 14.0, 17.0, 30.0, 120.0, 600.0)
"""Times for which a process is frozen or disconnected: shorter than its lease, about as long, and longer."""
FREEZING: Final = 0.008
"""Share of the writes before or after which a process is frozen, at the usual rate of such faults."""
FREEZING_WHILE_PUBLISHING: Final = 0.08
"""The same for each message to the broker."""
START_AGAIN_S: Final = 1.0
LEASES_S: Final = (15.0, 15.0, 3.0)
SETTINGS: Final = SystemSettings(passivate_after_s=5.0, dead_letter_max_s=600.0, dead_letter_attempts=4)


@dataclass(frozen=True)
class Surroundings:
    """The environment that all processes share, and the rates of faults. ``exclusive``: there is only one process.

    ``broker`` and ``hints`` are None in a world without a broker. ``batch_max``: events that relays publish at a time.
    """

    chance: random.Random
    history: History
    timeline: Timeline
    database: Database
    eyes: Eyes
    providers: Sequence[SimulatedProvider]
    exclusive: bool
    store_rate: float
    slow_rate: float
    held_up_rate: float
    lease_s: float
    broker: Broker | None
    hints: Hints | None
    batch_max: int


class Process:
    """The process with this number; it is started again after each end, unless it is gone permanently."""

    runtime: ThreadedRuntime
    facade: ServiceFacade
    system: PaymentSystem
    store: FaultyStore
    recording: RecordingStore
    real: AnyStore
    _queue: LocalQueue
    _outgoing: Outgoing | None

    def __init__(self, number: int, role: Role, world: Surroundings) -> None:
        self.number, self.role = number, role
        self._world = world
        self.wall_offset_s = 0.0
        self.up = self.gone = self.calm = False
        self.stops_until: float | None = None
        """During an orderly stop, the time at which its calls must have ended."""
        self.freezes_for_s: float | None = None
        """If not None, it freezes for this time as soon as the running thread pauses."""
        self._closing: list[AnyStore] = []

    def turn(self) -> AbstractContextManager[None]:
        """Run the block in this process."""
        return self._world.timeline.turn(self.runtime)

    # start

    def boot(self) -> None:
        """Start with an empty memory."""
        world = self._world
        self._note("boot", role=self.role)
        runtime = ThreadedRuntime(world.chance, world.history, world.timeline, self.number)
        self.runtime, runtime.wall_offset_s = runtime, self.wall_offset_s
        clock = runtime.now if world.exclusive else world.timeline.clock
        self.real = world.database.open(clock)
        self._closing.append(self.real)
        self.recording = RecordingStore(
            self.real,
            world.eyes,
            world.history,
            world.timeline,
            self.number,
            clock=clock,
            servers_clock=not world.exclusive,
        )
        self.store = store = FaultyStore(
            self.recording,
            runtime,
            world.chance,
            world.store_rate,
            slow=world.slow_rate,
            late=None if world.exclusive else self._land_late,
            jump=self.jump_the_clock,
            freeze=self._is_to_freeze,
            hindered=self.hindered,
        )

        gateways = [CallingGateway(provider, runtime, world.history, self._die) for provider in world.providers]
        listener = SlowListener(world.history, runtime, world.chance, world.slow_rate)
        self.facade = ServiceFacade(
            runtime, {gateway.name: gateway for gateway in gateways}, listener, request_deadline_s=10.0
        )
        self._queue = LocalQueue()
        self._outgoing = self._make_outgoing()
        self.system = PaymentSystem(
            service=self.facade,
            runtime=runtime,
            store=store,
            queue=self._queue,
            gateways={gateway.name: (gateway, _settings(gateway.name)) for gateway in gateways},
            settings=replace(SETTINGS, lease_s=world.lease_s, processing=self.role.processes),
            listener=listener,
            exclusive=world.exclusive,
        )
        self.up, self.stops_until, self.freezes_for_s = True, None, None
        world.timeline.runtimes.append(runtime)
        self.be_calm(calm=self.calm)
        self._start()

    def _make_outgoing(self) -> Outgoing | None:
        """What it publishes; an exclusive store's only process needs no hints of its own work."""
        world = self._world
        if world.broker is None or world.hints is None or not self.role.publishes:
            return None
        return Outgoing(
            self.runtime,
            FaultyRelayStore(self.store, RecordingRelays(self.recording)),
            SimulatedPublisher(
                world.broker,
                self.runtime,
                world.chance,
                self._die_at_once,
                partial(self._is_to_freeze, FREEZING_WHILE_PUBLISHING),
            ),
            None if world.exclusive else HintQueue(world.hints, self.runtime),
            [provider.name for provider in world.providers],
            world.lease_s,
            world.batch_max,
        )

    def _die(self) -> None:
        self.store.crashed = True

    def _die_at_once(self) -> None:
        self._die()
        raise Crashed

    def _start(self) -> None:
        """Start to work; try again later while the store does not answer."""
        runtime = self.runtime
        try:
            with self.turn():
                self.system.start()
        except (StoreError, RuntimeError):
            runtime.after(START_AGAIN_S, self._start)
        except Crashed:
            pass  # the store has recorded the crash
        else:
            self._start_messaging()

    def _start_messaging(self) -> None:
        hints = self._world.hints
        if hints is not None and self.role.processes and not self._world.exclusive:
            names = [provider.name for provider in self._world.providers]
            HintQueue(hints, self.runtime).subscribe(names, self._queue.announce)
        if self._outgoing is not None:
            self._outgoing.start()

    def be_calm(self, *, calm: bool) -> None:
        """Switch its faults off or on."""
        self.calm = calm
        if self.up:
            self.runtime.calm = self.store.calm = calm

    # faults

    @property
    def running(self) -> bool:
        """Whether it is up and not frozen."""
        return self.up and not self.runtime.frozen

    def freeze(self, for_s: float) -> None:
        """Freeze it for this time. Calls and writes in progress continue without it."""
        runtime = self.runtime
        runtime.frozen, self.freezes_for_s = True, None
        self._note("freeze", until=self._world.timeline.now + for_s)
        self._world.timeline.after(for_s, lambda: self.thaw(runtime))

    def hindered(self) -> None:
        """Record that a part of it was delayed or died: it may read other processes' changes a little later."""
        self._note("hindered")

    def _is_to_freeze(self, share: float = FREEZING) -> bool:
        world = self._world
        if world.exclusive or not self.running or world.chance.random() >= share * world.held_up_rate:
            return False
        self.freezes_for_s = world.chance.choice(HELD_UP_S)
        return True

    def thaw(self, runtime: ThreadedRuntime) -> None:
        """Continue it, if it was not restarted since."""
        if self.up and runtime is self.runtime and runtime.frozen:
            runtime.frozen = False
            self._note("thaw")

    def cut_off(self, for_s: float) -> None:
        """Disconnect it from the store for this time."""
        store = self.store
        store.cut()
        self._note("cut", until=self._world.timeline.now + for_s)
        self._world.timeline.after(for_s, lambda: self.heal(store))

    def heal(self, store: FaultyStore) -> None:
        """Connect it to the store again, if it was not restarted since."""
        if self.up and store is self.store and store.is_cut:
            store.heal()
            self._note("healed")

    def jump_the_clock(self) -> None:
        """Set its wall clock forward or back."""
        chance, most = self._world.chance, self._wall_off_max_s
        self.wall_offset_s += chance.choice([-1800.0, -100.0, -5.0, 5.0, 100.0, 1800.0])
        self.wall_offset_s = min(max(self.wall_offset_s, -most), most)
        if self.up:
            self.runtime.wall_offset_s = self.wall_offset_s
        self._note("clock", offset=self.wall_offset_s)

    @property
    def _wall_off_max_s(self) -> float:
        """Maximum error of the wall clock: below half of the time for which keys are remembered; two may be wrong."""
        return 4_500.0 if self._world.exclusive else 4_000.0

    def _land_late(self, write: Callable[[], object]) -> None:
        """Execute a statement in progress, even if its sender has died."""

        def land() -> None:
            try:
                write()
            except StoreError:
                return
            self._note("late")

        self._world.timeline.after(self._world.chance.choice(LATE_S), land)

    # end

    def begin_to_stop(self) -> None:
        """Handle SIGTERM: no new calls start, calls in progress may end, and other work is returned."""
        self._note("stop")
        self.runtime.stopping = True
        with self.turn():
            self.system.drain()
        self.stops_until = self._world.timeline.now + DRAIN_S

    @property
    def has_stopped(self) -> bool:
        """Whether its orderly stop is complete."""
        if self.stops_until is None:
            return False
        return (self.system.at_rest and not self.runtime.loops) or self._world.timeline.now >= self.stops_until

    def retire(self) -> None:
        """Do the last step of an orderly stop."""
        try:
            with self.turn():
                self.system.retire()
        except (StoreError, RuntimeError, Crashed):
            pass

    def end(self) -> None:
        """Lose all memory; the database and the environment remain."""
        self._note("end")
        self.up, self.stops_until = False, None
        self._world.timeline.runtimes.remove(self.runtime)
        self.runtime.kill()
        if self._world.database.is_server:  # a server ends the statements of this connection
            self.real.close()

    def close(self) -> None:
        """Close all connections to the database, including those for late statements."""
        for store in self._closing:
            store.close()

    def _note(self, what: str, **fields: object) -> None:
        self._world.history.add(what, self._world.timeline.now, process=self.number, **fields)


def _settings(gateway: str) -> GatewaySettings:
    return GatewaySettings(
        gateway,
        "gateway_a",
        f"http://127.0.0.1:8090/{gateway}",
        timeout_s=TIMEOUT_S,
        settle_s=SETTLE_S,
        max_concurrent=SLOTS,
        max_retries=1,
    )
