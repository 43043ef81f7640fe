"""Everything outside the service: clients, providers with their callbacks, and operators."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from store.port import DeadLetterFilter
from tests.simulation.callback_delivery import Notifier
from tests.simulation.client import Client
from tests.simulation.history import History
from tests.simulation.operator import Operator
from tests.simulation.operator_resolutions import ResolvingOperator
from tests.simulation.process import Process
from tests.simulation.provider import SimulatedProvider
from tests.simulation.provider_callbacks import Callbacks
from tests.simulation.timeline import Timeline

GATEWAYS: Final = [("gatewayA", True, True), ("gatewayB", False, True), ("gatewayC", False, False)]
"""Names, and whether they honour keys and have lookups. The last has neither: without a callback, only an operator
can resolve an unknown outcome there."""


class Environment:
    """All parts that outlive processes. ``rate`` returns a rate of faults, ``find`` the process for a callback."""

    def __init__(
        self,
        chance: random.Random,
        history: History,
        timeline: Timeline,
        rate: Callable[[], float],
        find: Callable[[], Process | None],
    ) -> None:
        self._chance = chance
        names = [name for name, _, _ in GATEWAYS]
        self._operator_rate, self._person_rate = rate(), rate()
        self.notifier = Notifier(chance, history, timeline, rate(), find)
        self._callbacks = Callbacks(chance, self.notifier, rate(), names)
        self.providers = [
            SimulatedProvider(
                name,
                chance,
                history,
                timeline,
                rate(),
                honours_keys=keys,
                looks_up=looks_up,
                notifier=self.notifier,
                callbacks=self._callbacks,
            )
            for name, keys, looks_up in GATEWAYS
        ]
        self.client = Client(chance, history, [*names[:2] * 4, names[2]], self._callbacks.after_request)
        self._operator = Operator(chance, history, names)
        self._resolver = ResolvingOperator(chance, history, {provider.name: provider for provider in self.providers})

    def act(self, find: Callable[[], Process]) -> None:
        """Let operators send commands at random."""
        if self._chance.random() < 0.3 * self._operator_rate:
            self._operator.act(find())
        if self._chance.random() < 0.5 * self._person_rate:
            for _ in range(self._chance.randint(1, 3)):
                self._resolver.act(find())

    def cut_off_a_provider(self) -> None:
        """Make a provider unreachable for a while."""
        self._chance.choice(self.providers).fail_for(self._chance.choice([5.0, 40.0, 400.0]))

    def be_calm(self) -> None:
        """End all faults."""
        self.notifier.calm = self._callbacks.calm = True
        for provider in self.providers:
            provider.calm = True

    def end_orders_and_retry(self, process: Process) -> None:
        """Set all breakers to "auto" again, and retry all dead letters."""
        for provider in self.providers:
            self._operator.order_mode(process, provider.name, "auto")
        self.retry(process)

    def retry(self, process: Process) -> None:
        """Retry all dead letters."""
        self._operator.retry(process, DeadLetterFilter())

    @property
    def held(self) -> set[str]:
        """The orders whose money a provider holds now."""
        return {key for provider in self.providers for key in provider.held}

    @property
    def known_holds(self) -> set[str]:
        """The orders whose money a provider held at some time."""
        return {key for provider in self.providers for key in provider.holds.known}

    def record_outcomes(self) -> None:
        """Write the true outcomes of all orders into the history."""
        for provider in self.providers:
            provider.record_outcomes()
