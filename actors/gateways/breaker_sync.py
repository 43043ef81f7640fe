"""The actor through which the supervisor shares its breakers with all processes, and hears of theirs.

It reads the records and people's orders at each beat, changes records for the supervisor, and keeps orders. It has no
state of its own that matters: what does not come through is told, or asked, again by the supervisor.
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
"""How long it takes at the most until a process reads what another one made of a breaker."""
ALL_AGAIN_BEATS: Final = 10
"""After so many beats everything is told, and not only what is new: a message may be given up."""
TURNS_MAX: Final = 5
"""How often to try to turn a breaker that others turn at the same time."""

_beats: Final = count(1)


class ProbeTimes(NamedTuple):
    """How long a gateway's breaker sleeps before a probe, and for how long the probe's permit holds."""

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
        store_is_earlier: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._store_is_earlier = store_is_earlier
        self._epochs: dict[str, int] = {}
        """The highest epochs seen; they decrease only when the whole store is restored."""
        self._runtime, self._store, self._gateways, self._owner = runtime, store, gateways, owner
        self._supervisor, self._self = supervisor, self_address
        self._beat = next(_beats)
        self._told_epochs: dict[str, int] = {}
        self._told_modes: dict[str, GatewayMode] = {}
        self._complained = False
        self._beats = 0

    def on_start(self) -> None:
        """Begin to beat."""
        self._self.tell(Tick(self._beat))

    def receive(self, message: Any) -> None:
        """Look for what is new, or change what the supervisor or a person wants changed."""
        match message:
            case Tick(of=of) if of == self._beat:
                self._runtime.after(SHARE_S, lambda: self._self.tell(Tick(self._beat)))
                self._look()
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
                # The records are of another time: what is known of them says nothing, and everything is to be told.
                self._epochs.clear()
                self._told_epochs.clear()
                self._told_modes.clear()
            case SetBreakerMode(mode=mode, reply=reply):
                self._order(mode, reply)

    def _look(self) -> None:
        """Tell the supervisor what has changed since it was told last."""
        try:
            # In this order: a record is at least as new as the orders, so that none is followed by what was before it.
            modes = self._store.gateway_modes()
            asked_at = self._runtime.monotonic()
            records = self._store.breakers()
        except Exception as error:  # noqa: BLE001  # dying of it would mean to begin with another beat at once
            self._complain("the breakers of other processes cannot be seen", error)
            return  # the next beat tries again
        self._complained = False
        self._beats = (self._beats + 1) % ALL_AGAIN_BEATS
        if not self._beats:
            self._told_modes.clear()
            self._told_epochs.clear()
        for gateway in self._gateways:
            epoch = records[gateway].epoch if gateway in records else 0
            if epoch < self._epochs.get(gateway, 0):
                self._store_is_earlier()
            self._epochs[gateway] = max(epoch, self._epochs.get(gateway, 0))
            mode, record = modes.get(gateway), records.get(gateway)
            seen = None if record is None else BreakerRecordRead(record, asked_at)
            if mode is not None and mode != self._told_modes.get(gateway):
                self._supervisor.tell(ApplyBreakerMode(mode, None, seen))
                self._told_modes[gateway] = mode
            elif seen is not None and seen.record.epoch != self._told_epochs.get(gateway):
                self._supervisor.tell(seen)
            if record is not None:
                self._told_epochs[gateway] = record.epoch

    def _change(self, change: Callable[[], BreakerRecord]) -> None:
        asked_at = self._runtime.monotonic()
        try:
            record = change()
        except StoreError as error:
            self._complain("a breaker could not be shared", error)
            return  # the supervisor says it again
        self._epochs[record.gateway] = max(record.epoch, self._epochs.get(record.gateway, 0))
        self._supervisor.tell(BreakerRecordRead(record, asked_at))

    def _order(self, mode: GatewayMode, reply: Future[GatewayStatus]) -> None:
        if mode.gateway not in self._gateways:
            fail(reply, LookupError(f"no gateway {mode.gateway!r}"))
            return
        seen: BreakerRecordRead | None = None
        try:
            if mode.mode == "auto":
                seen = self._settle(mode.gateway)
            self._store.set_gateway_mode(mode)
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer, whatever it is
            fail(reply, error)
            return
        logger.warning("breaker ordered %s: %s", mode.mode, mode.reason, extra={"fields": {"gateway": mode.gateway}})
        if mode.mode != "auto":
            try:  # from now on, so that the sleep is over when it is left to itself after a while
                seen = self._turn(mode.gateway, mode.mode, {mode.mode})
            except Exception as error:  # noqa: BLE001  # the order is kept, and then this is made good for
                logger.warning("the breaker is not turned before it is left to itself again: %s", error)
        self._supervisor.tell(ApplyBreakerMode(mode, reply, seen))

    def _settle(self, gateway: str) -> BreakerRecordRead:
        """While it is still forced, have the record say what every process is to begin with when it is not any more."""
        was = self._store.gateway_modes().get(gateway)
        if was is None or was.mode == "auto":
            return self._seen(gateway)
        return self._turn(gateway, was.mode, {"open", "half_open"} if was.mode == "open" else {"closed"})

    def _turn(self, gateway: str, state: str, enough: set[str]) -> BreakerRecordRead:
        """Have the record be ``state``, unless it is ``enough`` already. Raises StoreError."""
        seen = self._seen(gateway)
        for _ in range(TURNS_MAX):
            if seen.record.state in enough:
                return seen
            asked_at = self._runtime.monotonic()
            seen = BreakerRecordRead(self._store.turn_breaker(gateway, seen.record.epoch, state), asked_at)
        if seen.record.state not in enough:
            raise StoreUnavailableError("others turn the breaker all the time")
        return seen

    def _seen(self, gateway: str) -> BreakerRecordRead:
        asked_at = self._runtime.monotonic()
        return BreakerRecordRead(self._store.breakers().get(gateway, BreakerRecord(gateway)), asked_at)

    def _complain(self, what: str, error: Exception) -> None:
        """Once, until the store has answered again."""
        if not self._complained:
            logger.warning("%s: %s", what, error, exc_info=None if isinstance(error, StoreError) else error)
        self._complained = True
