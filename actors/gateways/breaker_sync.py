"""Breaker sync: shares a process's breakers with all processes through records in the store.

At each tick it reads the records and the operators' modes. It changes records for the supervisor and stores modes. A
successor needs none of its state: the supervisor repeats whatever was not recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, NamedTuple

from actors.answering import fail
from actors.messages import (
    ApplyBreakerMode,
    BreakerRecordRead,
    BreakerTransition,
    LeasesRevoked,
    ProbeWanted,
    Recipient,
    SetBreakerMode,
    Tick,
)
from actors.replies import GatewayStatus
from actors.runtime.actor import Future, ServiceActor
from actors.runtime.runtime import Runtime
from store.errors import StoreError, StoreUnavailableError
from store.port import BreakerRecord, BreakerStore, GatewayMode

logger: Final = logging.getLogger(__name__)

SHARE_S: Final = 0.5
"""The longest time until a process reads a breaker that another process changed."""
RESEND_TICKS: Final = 10
"""After this many ticks everything is sent, not only changes, because a message may be dropped as poison."""
ATTEMPTS_MAX: Final = 5
"""How often to try to change a breaker that other processes change at the same time."""

_ticks: Final = count(1)


class ProbeTimes(NamedTuple):
    """How long a gateway's breaker sleeps before a probe, and how long the probe's permit is valid."""

    sleep_s: float
    permit_s: float


class BreakerSyncActor(ServiceActor):
    """Blocks on the store, and therefore has a thread of its own."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        store: BreakerStore,
        gateways: Mapping[str, ProbeTimes],
        owner: str,
        supervisor: Recipient,
        self_address: Recipient,
        suspect_restore: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._suspect_restore = suspect_restore
        self._epochs: dict[str, int] = {}
        """The highest epochs read; they decrease only when the whole store is restored."""
        self._runtime, self._store, self._gateways, self._owner = runtime, store, gateways, owner
        self._supervisor, self._self = supervisor, self_address
        self._tick_id = next(_ticks)
        self._sent_epochs: dict[str, int] = {}
        self._sent_modes: dict[str, GatewayMode] = {}
        self._warned = False
        self._ticks = 0

    def on_start(self) -> None:
        """Begin to tick."""
        self._self.tell(Tick(self._tick_id))

    def receive(self, message: Any) -> None:
        """Read the records, change one for the supervisor, or store an operator's mode."""
        match message:
            case Tick(of=of) if of == self._tick_id:
                self._runtime.after(SHARE_S, lambda: self._self.tell(Tick(self._tick_id)))
                self._read()
            case BreakerTransition(gateway=gateway, epoch=epoch, state=state):
                self._change(lambda: self._store.turn_breaker(gateway, epoch, state))
            case ProbeWanted(gateway=gateway, epoch=epoch):
                times = self._gateways[gateway]
                self._change(
                    lambda: self._store.take_probe(
                        gateway, epoch, self._owner, sleep_s=times.sleep_s, permit_s=times.permit_s
                    )
                )
            case LeasesRevoked():
                # The store has earlier records now: forget the newer ones, and send everything again.
                self._epochs.clear()
                self._sent_epochs.clear()
                self._sent_modes.clear()
            case SetBreakerMode(mode=mode, reply=reply):
                self._set_mode(mode, reply)

    def _read(self) -> None:
        """Send the supervisor what has changed since the last time."""
        try:
            # In this order: a record is then at least as new as the mode, and no mode is followed by an older record.
            modes = self._store.gateway_modes()
            asked_at = self._runtime.monotonic()
            records = self._store.breakers()
        except Exception as error:  # noqa: BLE001  # an actor that dies of it would begin with another tick at once
            self._warn("the breakers of other processes cannot be read", error)
            return  # the next tick tries again
        self._warned = False
        self._ticks = (self._ticks + 1) % RESEND_TICKS
        if not self._ticks:
            self._sent_modes.clear()
            self._sent_epochs.clear()
        for gateway in self._gateways:
            epoch = records[gateway].epoch if gateway in records else 0
            if epoch < self._epochs.get(gateway, 0):
                self._suspect_restore()
            self._epochs[gateway] = max(epoch, self._epochs.get(gateway, 0))
            mode, record = modes.get(gateway), records.get(gateway)
            newest = None if record is None else BreakerRecordRead(record, asked_at)
            if mode is not None and mode != self._sent_modes.get(gateway):
                self._supervisor.tell(ApplyBreakerMode(mode, None, newest))
                self._sent_modes[gateway] = mode
            elif newest is not None and newest.record.epoch != self._sent_epochs.get(gateway):
                self._supervisor.tell(newest)
            if record is not None:
                self._sent_epochs[gateway] = record.epoch

    def _change(self, change: Callable[[], BreakerRecord]) -> None:
        asked_at = self._runtime.monotonic()
        try:
            record = change()
        except StoreError as error:
            self._warn("a breaker could not be shared", error)
            return  # the supervisor repeats it
        self._epochs[record.gateway] = max(record.epoch, self._epochs.get(record.gateway, 0))
        self._supervisor.tell(BreakerRecordRead(record, asked_at))

    def _set_mode(self, mode: GatewayMode, reply: Future[GatewayStatus]) -> None:
        if mode.gateway not in self._gateways:
            fail(reply, LookupError(f"no gateway {mode.gateway!r}"))
            return
        newest: BreakerRecordRead | None = None
        try:
            if mode.mode == "auto":
                newest = self._settle(mode.gateway)
            self._store.set_gateway_mode(mode)
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer, whatever it is
            fail(reply, error)
            return
        logger.warning("breaker set to %s: %s", mode.mode, mode.reason, extra={"fields": {"gateway": mode.gateway}})
        if mode.mode != "auto":
            try:  # now, so that the sleep is over when the operator returns it to auto later
                newest = self._transition(mode.gateway, mode.mode, {mode.mode})
            except Exception as error:  # noqa: BLE001  # the mode is stored; _settle repeats this before auto
                logger.warning("the breaker's record changes only when its mode returns to auto: %s", error)
        self._supervisor.tell(ApplyBreakerMode(mode, reply, newest))

    def _settle(self, gateway: str) -> BreakerRecordRead:
        """While the mode is still forced, record the state in which every process begins after it."""
        was = self._store.gateway_modes().get(gateway)
        if was is None or was.mode == "auto":
            return self._record(gateway)
        return self._transition(gateway, was.mode, {"open", "half_open"} if was.mode == "open" else {"closed"})

    def _transition(self, gateway: str, state: str, accepted: set[str]) -> BreakerRecordRead:
        """Record ``state`` unless the record has one of ``accepted``. Raises StoreError."""
        newest = self._record(gateway)
        for _ in range(ATTEMPTS_MAX):
            if newest.record.state in accepted:
                return newest
            asked_at = self._runtime.monotonic()
            newest = BreakerRecordRead(self._store.turn_breaker(gateway, newest.record.epoch, state), asked_at)
        if newest.record.state not in accepted:
            raise StoreUnavailableError("other processes keep changing the breaker")
        return newest

    def _record(self, gateway: str) -> BreakerRecordRead:
        asked_at = self._runtime.monotonic()
        return BreakerRecordRead(self._store.breakers().get(gateway, BreakerRecord(gateway)), asked_at)

    def _warn(self, what: str, error: Exception) -> None:
        """Log once until the store answers again."""
        if not self._warned:
            logger.warning("%s: %s", what, error, exc_info=None if isinstance(error, StoreError) else error)
        self._warned = True
