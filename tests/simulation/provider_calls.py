"""Calls from one process to a provider: they take time, and any fault may occur on the way.

A process that is frozen during a call gets the old answer when it continues, or gives the call up.
"""

from __future__ import annotations

from collections.abc import Callable

from greenlet import GreenletExit

from domain.outcomes import NotReceived, NotSentError, Outcome, OutcomeUnknownError
from gateways.port import Order
from tests.gateway_facts import SameForAll
from tests.simulation.history import History
from tests.simulation.provider import TIMEOUT_S, SimulatedProvider
from tests.simulation.signatures import SharedSecret
from tests.simulation.threads import ThreadedRuntime


class CallingGateway(SameForAll):
    """Implements gateways.port.Gateway. ``die`` is sometimes called during a call, and ends the process there."""

    currencies = frozenset({"USD", "JPY"})

    def __init__(
        self, provider: SimulatedProvider, runtime: ThreadedRuntime, history: History, die: Callable[[], None]
    ) -> None:
        self.name, self.honours_keys, self.looks_up = provider.name, provider.honours_keys, provider.looks_up
        self.key_window_s = provider.key_window_s
        self.callbacks = SharedSecret(provider.name)
        self._provider, self._runtime, self._history, self._die = provider, runtime, history, die
        self._chance = provider.chance

    def submit(self, order: Order) -> Outcome:
        """Submit the order: each call has an effect, or each remembered key has one."""
        return self._call("submit", order, self._submit)  # type: ignore[return-value]  # see _submit

    def lookup(self, order: Order) -> Outcome | NotReceived:
        """Look the order up: returns its state at a moment between request and answer, unless a fault occurs."""
        return self._call("lookup", order, self._lookup)

    def close(self) -> None:
        """Nothing to close."""

    def _call(self, verb: str, order: Order, do: Callable[[Order], Outcome | NotReceived]) -> Outcome | NotReceived:
        number = self._provider.new_number()
        runtime, key = self._runtime, order.transaction_id
        where = {"process": runtime.process, "gateway": self.name, "number": number}
        self._history.add("call", self._now(), verb=verb, key=key, job=runtime.job, **where)
        result = "unknown"
        try:
            outcome = do(order)
            result = type(outcome).__name__
        except NotSentError:
            result = "NotSent"
            raise
        except GreenletExit:
            result = ""
            raise
        finally:
            if result:
                self._history.add("ended", self._now(), result=result, **where)
        return outcome

    def _submit(self, order: Order) -> Outcome:
        deadline = self._now() + TIMEOUT_S
        self._meet_faults_on_the_way(deadline)
        fate = self._provider.take(order, self._now() + self._some([0.0, 0.0, 0.0, 0.01, 0.5, 2.0]), deadline)
        self._wait_until(fate.arrived)
        if self._provider.happens(0.01):
            self._die()
            self._wait_until(self._now())
        if self._provider.happens(0.12) or (fate.visible > fate.arrived and self._provider.happens(0.5)):
            self._wait_until(self._now() + self._some([0.0, 0.5, deadline - self._now()]))
            raise OutcomeUnknownError(self._chance.choice(["reset", "garbage", "HTTP 500", "deadline"]))
        answered_at = fate.arrived + self._some([0.0, 0.0, 0.01, 1.0])
        self._wait_until(answered_at, deadline)
        return self._provider.answer(order, fate, answered_at)

    def _lookup(self, order: Order) -> Outcome | NotReceived:
        deadline = self._now() + TIMEOUT_S
        self._meet_faults_on_the_way(deadline)
        answered_at = self._now() + self._some([0.0, 0.0, 0.01, 1.0])
        self._wait_until(answered_at + self._some([0.0, 0.0, 0.01, 1.0, 3.0]), deadline)
        if self._provider.happens(0.08):
            raise OutcomeUnknownError("HTTP 503")
        return self._provider.look_up(order, answered_at)

    def _meet_faults_on_the_way(self, deadline: float) -> None:
        provider = self._provider
        if not provider.reachable:
            self._wait_until(self._now() + self._some([0.0, 0.01, 2.0]))
            raise NotSentError("connection refused")
        if provider.calm:
            return
        draw = self._chance.random() / provider.rate if provider.rate else 1.0
        if draw < 0.08:
            self._wait_until(self._now() + self._some([0.0, 0.01, 2.0]))
            raise NotSentError("connect timeout")
        if draw < 0.16:
            self._wait_until(self._now() + self._some([0.0, 0.5, deadline - self._now()]))
            raise OutcomeUnknownError("the request was lost")
        if draw < 0.17:
            raise ZeroDivisionError("a defect in the adapter")
        if draw < 0.18:
            provider.fail_for(self._chance.choice([1.0, 30.0, 300.0]))

    def _wait_until(self, when: float, deadline: float | None = None) -> None:
        """Wait until ``when``. After a freeze beyond the deadline, return the answer or give the call up."""
        if not self._provider.calm:
            self._runtime.pause(max(when - self._now(), 0.0))
            if deadline is not None and self._now() > deadline and self._chance.random() < 0.5:
                raise OutcomeUnknownError("deadline")

    def _some(self, seconds: list[float]) -> float:
        return 0.0 if self._provider.calm else max(self._chance.choice(seconds), 0.0)

    def _now(self) -> float:
        return self._runtime.monotonic()
