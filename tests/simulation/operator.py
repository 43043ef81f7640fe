"""An operator that sends commands to any process; each runs in a virtual thread and waits for its answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress

from actors.operations.discard import DiscardOperation
from domain.commands import Discard
from store.codec import Metadata
from store.errors import StoreError
from store.port import DeadLetterFilter, GatewayMode
from store.queries import DeadLetter
from tests.simulation.client import ANSWERS
from tests.simulation.faults import Crashed
from tests.simulation.history import History
from tests.simulation.process import Process
from tests.simulation.threads import ThreadedRuntime


class Operator:
    """Forces breakers open or closed, and retries or discards dead letters."""

    def __init__(self, chance: random.Random, history: History, gateways: Sequence[str]) -> None:
        self._chance, self._history, self._gateways = chance, history, gateways
        self._ordering: dict[str, ThreadedRuntime] = {}

    def act(self, process: Process) -> None:
        """Send a random command."""
        draw, gateway = self._chance.random(), self._chance.choice(self._gateways)
        if draw < 0.3:
            self.order_mode(process, gateway, self._chance.choice(["open", "closed", "auto"]))
        elif draw < 0.5:
            self.retry(process, DeadLetterFilter(gateway))
        else:
            letters = process.real.dead_letters("main", DeadLetterFilter(), before=None, limit=10)
            for letter in self._chance.sample(letters, min(len(letters), 3)):
                self._discard(process, letter)

    def order_mode(self, process: Process, gateway: str, mode: str) -> None:
        """Set a breaker's mode. Only one command runs at a time, so that the last one is known."""
        before = self._ordering.get(gateway)
        if before is not None and not before.dead:
            return
        runtime = self._ordering[gateway] = process.runtime
        where = {"process": process.number, "gateway": gateway, "mode": mode}
        self._history.add("mode", runtime.monotonic(), phase="ordered", **where)

        def order() -> None:
            try:
                process.facade.set_breaker_mode(GatewayMode(gateway, mode, "simulated"))
            finally:
                if self._ordering.get(gateway) is runtime:
                    del self._ordering[gateway]
            self._history.add("mode", runtime.monotonic(), phase="done", **where)

        self._try(runtime, order)

    def retry(self, process: Process, where: DeadLetterFilter) -> None:
        """Retry dead letters."""
        facade = process.facade
        self._try(process.runtime, lambda: _ignore(facade.retry_dead_letters("main", where)))

    def _discard(self, process: Process, letter: DeadLetter) -> None:
        assert letter.transaction_id is not None
        command, facade, runtime = Discard(letter.transaction_id, "simulated"), process.facade, process.runtime

        def discard() -> None:
            request = DiscardOperation(command, letter.item, Metadata("operator", who="operator"))
            reply = facade.execute(letter.item.stream, request)
            self._history.add("discard", runtime.monotonic(), id=command.transaction_id, answer=ANSWERS[type(reply)])

        # Discard it now, or after another event about it.
        self._try(runtime, discard, delay_s=self._chance.choice([0.0, 0.0, 0.01, 5.0]))

    def _try(self, runtime: ThreadedRuntime, order: Callable[[], None], *, delay_s: float = 0.0) -> None:
        def thread() -> None:
            # The operator gets the error of a failing store and gives up; a store that dies ends the process.
            with suppress(StoreError, TimeoutError, RuntimeError, Crashed):
                order()

        runtime.begin(thread, delay_s=delay_s)


def _ignore(_result: object) -> None:
    """Ignore the result: the store shows the retried dead letters."""
