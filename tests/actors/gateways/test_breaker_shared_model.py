"""Breakers of several processes on one record, with messages in any order, late, repeated or lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from actors.gateways.breaker import RESEND_S, GatewayBreaker, Permit
from actors.runtime.simulated import EPOCH
from store.port import BREAKER_REST_SLACK_S, BreakerRecord
from tests.effort import EFFORT
from tests.store.breaker_model import SharedBreaker

STEP_S = 0.25
SLEEP_S = 3.0
PERMIT_S = 2.0
VOLUME = 2
GATEWAY = "gatewayA"


@dataclass
class Process:
    """A breaker, and the messages between it and the store."""

    breaker: GatewayBreaker
    turns: list[tuple[int, str]] = field(default_factory=list)
    asks: list[int] = field(default_factory=list)
    records: list[tuple[BreakerRecord, float]] = field(default_factory=list)
    permits: list[Permit] = field(default_factory=list)


class SharedMachine(RuleBasedStateMachine):
    """Three processes. A message may overtake others, come twice, or be lost."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.record = SharedBreaker(GATEWAY)
        self.probes: dict[tuple[int, Permit], int] = {}
        """The owner of the probe's permit, and its epoch."""
        self.done: set[int] = set()
        """Epochs whose probe was reported."""
        self.processes: list[Process] = []

    @initialize()
    def begin(self) -> None:
        """All are closed."""
        for number in range(3):
            self.processes.append(Process(self._breaker(f"owner-{number}")))

    def _breaker(self, owner: str) -> GatewayBreaker:
        return GatewayBreaker(
            owner=owner,
            error_percent=50.0,
            request_volume=VOLUME,
            window_s=10.0,
            sleep_s=SLEEP_S,
            permit_s=PERMIT_S,
            monotonic=lambda: self.time,
            now=lambda: EPOCH,
            changed=lambda _: None,
        )

    @rule(number=st.integers(0, 2), healthy=st.booleans())
    def call(self, number: int, *, healthy: bool) -> None:
        """A call is made and ends at once."""
        permit = self._admit(number)
        if permit is not None:
            self._report(number, permit, healthy=healthy)

    def _report(self, number: int, permit: Permit, *, healthy: bool) -> None:
        process = self.processes[number]
        if (number, permit) in self.probes and process.breaker.is_valid(permit):
            self.done.add(self.probes[number, permit])
        process.breaker.report(permit, healthy=healthy)
        self._send(process)

    @rule(number=st.integers(0, 2))
    def admit(self, number: int) -> None:
        """A call is made, and ends in a later step."""
        permit = self._admit(number)
        if permit is not None:
            self.processes[number].permits.append(permit)

    def _admit(self, number: int) -> Permit | None:
        process = self.processes[number]
        permit = process.breaker.admit()
        if permit is None:
            epoch = process.breaker.probe_wanted()
            if epoch is not None:
                process.asks.append(epoch)
        elif process.breaker.state == "half_open":
            self.probes[number, permit] = process.breaker._epoch
            assert process.breaker._epoch not in self.done, "an epoch is probed once"
        return permit

    @rule(number=st.integers(0, 2), healthy=st.booleans())
    def end(self, number: int, *, healthy: bool) -> None:
        """A running call ends, however late."""
        process = self.processes[number]
        if process.permits:
            self._report(number, process.permits.pop(0), healthy=healthy)

    @rule(number=st.integers(0, 2))
    def send(self, number: int) -> None:
        """A pending transition is sent, perhaps repeated."""
        self._send(self.processes[number])

    def _send(self, process: Process) -> None:
        turn = process.breaker.pending_transition()
        if turn is not None:
            process.turns.append(turn)

    @rule(number=st.integers(0, 2), index=st.integers(0, 5), fate=st.sampled_from(["once", "once", "twice", "lost"]))
    def store(self, number: int, index: int, fate: str) -> None:
        """The store applies a request and answers; the request or the answer may be lost."""
        process = self.processes[number]
        wanted: list[tuple[int, str] | int] = [*process.turns, *process.asks]
        if not wanted:
            return
        chosen = wanted[index % len(wanted)]
        if fate != "twice":
            (process.asks if isinstance(chosen, int) else process.turns).remove(chosen)  # type: ignore[arg-type]
        self._do(number, chosen)
        if fate != "lost":
            process.records.append((self._now(), self.time))

    def _now(self) -> BreakerRecord:
        self.record.time = self.time
        return self.record.record()

    def _do(self, number: int, chosen: tuple[int, str] | int) -> None:
        before = self._now()
        if isinstance(chosen, int):
            after = self.record.take(chosen, f"owner-{number}", sleep_s=SLEEP_S, permit_s=PERMIT_S)
            if after.epoch > before.epoch:
                rested = before.age_s if before.state == "open" else before.age_s - PERMIT_S
                assert rested >= SLEEP_S - BREAKER_REST_SLACK_S, "a probe before the sleep was over"
        else:
            self.record.turn(*chosen)

    @rule(number=st.integers(0, 2))
    def read_record(self, number: int) -> None:
        """A process reads the record."""
        self.processes[number].records.append((self._now(), self.time))

    @rule(number=st.integers(0, 2), index=st.integers(0, 5), keep=st.booleans())
    def receive(self, number: int, index: int, *, keep: bool) -> None:
        """An answer arrives, however old, perhaps repeated."""
        process = self.processes[number]
        if process.records:
            chosen = process.records[index % len(process.records)]
            process.breaker.follow(*chosen)
            if not keep:
                process.records.remove(chosen)

    @rule(steps=st.integers(1, 20))
    def wait(self, steps: int) -> None:
        """Time passes for all processes, up to the length of a pause."""
        self.time += steps * STEP_S

    @rule()
    def settle(self) -> None:
        """All messages arrive: every breaker has the state of the record."""
        for _ in range(3):
            self.time += RESEND_S
            for number, process in enumerate(self.processes):
                self._send(process)
                for turn in process.turns:
                    self._do(number, turn)
                process.turns.clear()
                process.asks.clear()
            for process in self.processes:
                process.breaker.follow(self._now(), self.time)
                process.records.clear()
        expected = "closed" if self.record.state == "closed" else "open"
        for process in self.processes:
            assert process.breaker.state in {expected, "half_open"}
            assert process.breaker.pending_transition_s() is None

    @rule()
    def recover(self) -> None:
        """At a healthy gateway all are closed within a sleep after the last permit's expiry."""
        for _ in range(int((PERMIT_S + 2 * SLEEP_S + 3 * RESEND_S) / STEP_S)):
            self.time += STEP_S
            for number, process in enumerate(self.processes):
                self.call(number, healthy=True)
                work: list[tuple[int, str] | int] = [*process.turns, *process.asks]
                for chosen in work:
                    self._do(number, chosen)
                process.turns.clear()
                process.asks.clear()
                process.records.clear()
                process.breaker.follow(self._now(), self.time)
        assert [process.breaker.state for process in self.processes] == ["closed"] * 3
        assert self.record.state == "closed"

    @invariant()
    def one_probe_at_a_time(self) -> None:
        """At most one probe's permit permits a call at any time, and not after its expiry."""
        holding = [
            (number, permit, epoch)
            for (number, permit), epoch in self.probes.items()
            if self.processes[number].breaker.is_valid(permit)
        ]
        self.probes = {(number, permit): epoch for number, permit, epoch in holding}
        assert len(holding) <= 1, holding
        for number, _, epoch in holding:
            if epoch == self.record.epoch:
                assert self.record.prober == f"owner-{number}"
                assert self.record.until is not None
                assert self.time < self.record.until


def test_processes_that_share_a_breaker_probe_one_at_a_time_and_agree_in_the_end() -> None:
    """This holds when messages are late, lost or repeated."""
    run_state_machine_as_test(SharedMachine, settings=settings(max_examples=40 * EFFORT, stateful_step_count=60))
