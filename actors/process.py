"""The actors of a service process on its live runtime: built once the store is open, stopped in order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final, Protocol

from actors.listeners import Listener
from actors.operations.waiting_callbacks import gateway_of
from actors.runtime.runtime import LiveRuntime
from actors.service import ServiceFacade
from actors.settings import SystemSettings
from actors.stats import ProcessStats
from actors.system import PaymentSystem
from gateways.port import Gateway
from gateways.settings import GatewaySettings
from messaging.port import WorkQueue
from store.backend import PaymentStore
from store.errors import StoreError

logger: Final = logging.getLogger(__name__)

DRAIN_S: Final = 8.0
"""How long a stopping process waits for its calls; the outcomes of others are looked up by the next process."""


class OperatorSettings(Protocol):
    """What the operator sets for the actors; see ``SystemSettings`` and ``ServiceFacade``."""

    @property
    def request_deadline_s(self) -> float: ...  # noqa: D102
    @property
    def commands_max(self) -> int: ...  # noqa: D102
    @property
    def passivate_after_s(self) -> float: ...  # noqa: D102
    @property
    def lease_s(self) -> float: ...  # noqa: D102
    @property
    def dead_letter_first_s(self) -> float: ...  # noqa: D102
    @property
    def dead_letter_max_s(self) -> float: ...  # noqa: D102
    @property
    def dead_letter_attempts(self) -> int: ...  # noqa: D102


class ActorProcess:
    """The facade, which exists from the beginning, and the actors behind it.

    ``processing``: whether this process sends work to gateways.
    """

    def __init__(
        self,
        runtime: LiveRuntime,
        gateways: Mapping[str, tuple[Gateway, GatewaySettings]],
        settings: OperatorSettings,
        listener: Listener,
        queue: WorkQueue,
        *,
        processing: bool,
    ) -> None:
        self._runtime, self._gateways, self._settings = runtime, gateways, settings
        self._listener, self._queue, self._processing = listener, queue, processing
        self.service = ServiceFacade(
            runtime,
            {name: gateway for name, (gateway, _) in gateways.items()},
            listener,
            request_deadline_s=settings.request_deadline_s,
            commands_max=settings.commands_max,
        )
        self._system: PaymentSystem | None = None

    def build(self, store: PaymentStore, *, exclusive: bool, load_threads: int) -> None:
        """Make the actors and their threads on the open ``store``; see PaymentSystem and SystemSettings."""
        settings = self._settings
        self._store = store
        self._system = PaymentSystem(
            service=self.service,
            runtime=self._runtime,
            store=store,
            queue=self._queue,
            gateways=self._gateways,
            settings=SystemSettings(
                passivate_after_s=settings.passivate_after_s,
                lease_s=settings.lease_s,
                dead_letter_first_s=settings.dead_letter_first_s,
                dead_letter_max_s=settings.dead_letter_max_s,
                dead_letter_attempts=settings.dead_letter_attempts,
                load_threads=load_threads,
                processing=self._processing,
            ),
            listener=self._listener,
            exclusive=exclusive,
        )

    @property
    def _built(self) -> PaymentSystem:
        assert self._system is not None
        return self._system

    def start(self) -> None:
        """Begin to work. Raises StoreError, after which it may be called again."""
        self._built.start()

    def report_unconfigured(self) -> None:
        """Log unfinished work of gateways that are not configured. Raises StoreError."""
        for (gateway, state), count in sorted(self._store.work_counts().items()):
            if gateway_of(gateway) not in self._gateways:
                logger.error(
                    "unfinished work of a gateway that is not configured: it stays unfinished",
                    extra={"fields": {"gateway": gateway, "state": state, "count": count}},
                )

    def stats(self) -> ProcessStats:
        """The present state in numbers; never blocks."""
        return self._built.stats()

    def drain(self) -> None:
        """Send nothing new to gateways."""
        self._built.drain()

    def stop(self) -> None:
        """Wait for calls in flight up to DRAIN_S, then give the rest of the work back."""
        system = self._built
        self._runtime.wait_until(lambda: system.at_rest, DRAIN_S)
        try:
            system.retire()
        except StoreError as error:
            logger.warning("leases could not be given back: %s", error)

    def end(self) -> None:
        """End all threads."""
        self._runtime.stop(timeout_s=1.0)
