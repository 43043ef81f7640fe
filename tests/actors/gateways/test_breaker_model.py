"""The circuit breaker against a model of it, under any order of calls, results, waits and operator's modes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from actors.gateways.breaker import GatewayBreaker, Permit
from actors.runtime.simulated import EPOCH
from tests.effort import EFFORT
from tests.store.breaker_model import SharedBreaker

# All times are multiples of a quarter, which binary fractions express exactly.
STEP_S = 0.25
WINDOW_S = 5.0
SLEEP_S = 3.0
PERMIT_S = 2.0
VOLUME = 4
PERCENT = 40
MANY = 70
"""More calls than slow start ever holds back."""
REMEMBERED = 300


@dataclass
class Model:
    """The rules in plain lists, applied at each tick of the clock."""

    time: float = 0.0
    state: str = "closed"
    mode: str = "auto"
    reported: list[str] = field(default_factory=list)
    healthy: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    out: dict[Permit, float] = field(default_factory=dict)
    rests: float = 0.0
    """No probe before that time."""
    probe_until: float = 0.0
    record: str = "closed"
    """The shared record; no other process changes it here."""
    limit: int | None = None
    trouble: float = 0.0

    def turn(self, state: str) -> None:
        """Enter a state, without permits of earlier ones."""
        self.out.clear()
        self.limit = None
        if state != self.state:
            self.reported.append(state)
            if state == "closed":
                self.forget()
        self.state = state

    def forget(self) -> None:
        """Begin an empty window."""
        self.healthy.clear()
        self.failed.clear()

    def stats(self) -> tuple[int, float]:
        """Calls and the percentage of failures in the last ten parts of the window, this one included."""
        latest = [(self.healthy[part], self.failed[part]) for part in range(self.part() - 9, self.part() + 1)]
        failed = sum(it[1] for it in latest)
        requests = failed + sum(it[0] for it in latest)
        return requests, 100 * failed / requests if requests else 0.0

    def part(self) -> int:
        """Which part of a window it is."""
        return int(self.time // (WINDOW_S / 10))

    def tick(self) -> None:
        """A quarter of a second passes."""
        self.time += STEP_S
        expired = [permit for permit, until in self.out.items() if self.time >= until]
        for permit in expired:
            del self.out[permit]
            self.trouble = self.time
        if self.state == "half_open" and self.time >= self.probe_until:
            self.turn("open")

    def may_admit(self) -> bool:
        """Whether a call is admitted now; this may make the breaker half-open."""
        if self.mode == "closed":
            return True
        if self.mode == "open":
            return False
        if self.state == "open" and self.time >= self.rests:
            self.turn("half_open")
            self.record = "half_open"
            self.probe_until = self.time + PERMIT_S
            self.rests = self.probe_until + SLEEP_S
        admissible = {"open": 0, "half_open": 1}.get(self.state, 1000 if self.limit is None else self.limit)
        return len(self.out) < admissible

    def admit(self, permit: Permit) -> None:
        """Admit a call."""
        self.out[permit] = self.probe_until if self.state == "half_open" else self.time + PERMIT_S

    def report(self, permit: Permit, *, healthy: bool) -> None:
        """Report a result."""
        if permit not in self.out:
            return
        del self.out[permit]
        (self.healthy if healthy else self.failed)[self.part()] += 1
        requests, percent = self.stats()
        if self.mode == "closed":
            return
        if self.state == "half_open":
            self.turn("closed" if healthy else "open")
            self.limit, self.trouble = (2 if healthy else None), self.time
        elif requests >= VOLUME and percent >= PERCENT:
            self.turn("open")
        elif self.limit is not None and not healthy:
            self.limit, self.trouble = max(self.limit // 2, 1), self.time
        elif self.limit is not None:
            done = self.limit + 1 > 64 or self.time >= self.trouble + WINDOW_S
            self.limit = None if done else self.limit + 1
        if self.state == "open":
            self.rests = self.time + SLEEP_S
        self.record = self.state

    def force(self, mode: str) -> None:
        """Set an operator's mode."""
        if mode == self.mode:
            return
        was, self.mode = self.mode, mode
        if mode != "auto":
            self.turn(mode)
            if mode == "open" and self.record != "open":
                self.rests = self.time + SLEEP_S
            self.record = mode
        else:
            self.turn(self.record)
            if was == "closed":
                self.forget()


class BreakerMachine(RuleBasedStateMachine):
    """Applies the same steps to the breaker and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.given: list[Permit] = []
        self.reported: list[str] = []
        self.record = SharedBreaker("gatewayA")
        self.breaker = GatewayBreaker(
            owner="me",
            error_percent=PERCENT,
            request_volume=VOLUME,
            window_s=WINDOW_S,
            sleep_s=SLEEP_S,
            permit_s=PERMIT_S,
            monotonic=lambda: self.model.time,
            now=lambda: EPOCH,
            changed=self.reported.append,
        )

    def share(self, *, probe: bool = False) -> None:
        """Apply the breaker's requests to the record at once."""
        self.record.time = self.model.time
        turn = self.breaker.pending_transition()
        if turn is not None:
            self.breaker.follow(self.record.turn(*turn), self.model.time)
        epoch = self.breaker.probe_wanted() if probe else None
        if epoch is not None:
            answer = self.record.take(epoch, "me", sleep_s=SLEEP_S, permit_s=PERMIT_S)
            self.breaker.follow(answer, self.model.time)

    @rule(times=st.integers(1, 5))
    def admit(self, times: int) -> None:
        """The breaker admits what the model admits, each with a new permit."""
        for _ in range(times):
            expected = self.model.may_admit()
            self.share(probe=True)
            permit = self.breaker.admit()
            assert (permit is not None) == expected
            if permit is not None:
                assert not self.given or permit > self.given[-1]
                self.given = [*self.given[-REMEMBERED:], permit]
                self.model.admit(permit)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), healthy=st.booleans())
    def report_any(self, data: st.DataObject, *, healthy: bool) -> None:
        """Report any call, however old, perhaps repeatedly."""
        permit = data.draw(st.sampled_from(self.given[-20:]))
        self.model.report(permit, healthy=healthy)
        self.breaker.report(permit, healthy=healthy)
        self.share()

    @precondition(lambda self: self.model.out)
    @rule(results=st.lists(st.sampled_from([True, True, False]), min_size=1, max_size=6))
    def report_those_out(self, results: list[bool]) -> None:
        """Report running calls."""
        for permit, healthy in zip(list(self.model.out), results, strict=False):
            self.model.report(permit, healthy=healthy)
            self.breaker.report(permit, healthy=healthy)
            self.share()

    @rule(rounds=st.integers(1, 6))
    def traffic(self, rounds: int) -> None:
        """A healthy gateway under load: every admitted call is made and succeeds."""
        for _ in range(rounds):
            while len(self.model.out) < MANY and self.model.may_admit():
                self.admit(1)
            if len(self.model.out) < MANY:
                self.admit(1)  # one more than may go out
            self.report_those_out([True] * MANY)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """Withdraw a permit."""
        permit = data.draw(st.sampled_from(self.given[-20:]))
        self.model.out.pop(permit, None)
        self.breaker.withdraw(permit)

    @rule(steps=st.integers(1, 40))
    def wait(self, steps: int) -> None:
        """Let time pass without a call of the breaker."""
        for _ in range(steps):
            self.model.tick()

    @precondition(lambda self: self.model.mode != "open")
    @rule()
    def wait_as_told(self) -> None:
        """A call is admitted after exactly ``wait_s``, and none earlier."""
        wait_s = self.breaker.wait_s()
        assert wait_s is not None
        for _ in range(int(wait_s / STEP_S)):
            assert not self.model.may_admit()
            self.model.tick()
        self.admit(1)
        assert self.given[-1] in self.model.out

    @rule(mode=st.sampled_from(["auto", "auto", "open", "closed"]))
    def force(self, mode: str) -> None:
        """Set an operator's mode."""
        self.model.force(mode)
        self.record.time = self.model.time
        if mode not in {"auto", self.record.state}:
            self.record.turn(self.record.epoch, mode)
        self.breaker.follow(self.record.record(), self.model.time)
        self.breaker.force(mode)

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        """State, reported states, statistics and permits equal the model's."""
        status = self.breaker.status()
        assert (status.state, status.mode) == (self.model.state, self.model.mode)
        assert self.reported == self.model.reported
        requests, percent = self.model.stats()
        assert (status.requests, status.error_percent) == (requests, int(percent))
        holding = {permit for permit in self.given if self.breaker.is_valid(permit)}
        assert holding == set(self.model.out)
        # Independent of the model: nothing is out while it is open, and one call at most while it is half-open.
        assert len(holding) <= {"open": 0, "half_open": 1}.get(status.state, len(holding))


def test_the_breaker_equals_its_model() -> None:
    """In any order of steps, the breaker admits, counts and changes as the model does."""
    run_state_machine_as_test(BreakerMachine, settings=settings(max_examples=40 * EFFORT, stateful_step_count=40))
