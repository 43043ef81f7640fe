"""What breaks inside: a store that fails by chance around a real one, actors that die, and the process that does."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pykka._envelope import Envelope

from actors.runtime.actor import ServiceActor
from actors.runtime.mailbox import Mailbox
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import AppendResult, DeadLetterFilter, GatewayMode, Snapshot, StreamKey, WorkItem, Write
from tests.simulation.recording import RecordingStore

T = TypeVar("T")


class Crashed(BaseException):
    """The process dies here. Whoever steps the runtime must look at ``FaultyStore.crashed`` and stop."""


class Deadly:
    """Makes actors die: an error at any message, before its handler, when it tells somebody something, or after it."""

    def __init__(self, chance: random.Random, rate: float) -> None:
        self._chance, self._rate = chance, rate
        self._handling = False
        self.calm = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """For as long as the block lasts."""
        original, put = ServiceActor.on_receive, Mailbox.put

        def on_receive(actor: ServiceActor, message: object) -> object:
            draw = 1.0 if self.calm else self._chance.random()
            if draw < self._rate:
                actor.receive = _raise  # type: ignore[method-assign, assignment]  # this instance only: it dies of it
            self._handling, before = True, self._handling
            try:
                reply = original(actor, message)
            finally:
                self._handling = before
            if draw < 2 * self._rate:
                raise RuntimeError("simulated defect after a message")
            return reply

        def put_or_die(mailbox: Mailbox, envelope: Envelope[Any], /) -> None:
            if self._handling and not self.calm and self._chance.random() < self._rate:
                raise RuntimeError("simulated defect amid a message")
            put(mailbox, envelope)

        ServiceActor.on_receive = on_receive  # type: ignore[method-assign, assignment]  # put back below
        Mailbox.put = put_or_die  # type: ignore[method-assign]
        try:
            yield
        finally:
            ServiceActor.on_receive = original  # type: ignore[method-assign]
            Mailbox.put = put  # type: ignore[method-assign]


def _raise(_message: object) -> None:
    raise RuntimeError("simulated defect before a message")


class FaultyStore:
    """Implements store.port.Store. What it lets through is the real store's.

    ``jump`` is called now and then just before the store looks at the clock.
    """

    def __init__(
        self, store: RecordingStore, chance: random.Random, rate: float, jump: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self._chance, self._rate, self._jump = store, chance, rate, jump
        self.calm = False
        self.crashed = False

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """See Store; may die or fail before or after the commit."""
        return self._write(lambda: self._store.append(writes))

    def load(self, stream: StreamKey, transaction_ids: Collection[str] = ()) -> Snapshot:
        """See Store."""
        return self._read(lambda: self._store.load(stream, transaction_ids))

    def claim_work(self, owner: str, gateway: str, limit: int) -> list[WorkItem]:
        """See Store."""
        return self._write(lambda: self._store.claim_work(owner, gateway, limit))

    def register_owner(self, owner: str) -> None:
        """See Store."""
        self._write(lambda: self._store.register_owner(owner))

    def heartbeat(self, owner: str) -> bool:
        """See Store."""
        return self._write(lambda: self._store.heartbeat(owner))

    def retire_owner(self, owner: str, *, unsent: bool) -> int:
        """See Store."""
        return self._write(lambda: self._store.retire_owner(owner, unsent=unsent))

    def release_dead(self, lease_s: float) -> int:
        """See Store; a clock that jumps just before makes this process look dead while it lives."""
        return self._write(lambda: self._store.release_dead(lease_s))

    def next_due_s(self, gateway: str) -> float | None:
        """See Store."""
        return self._read(lambda: self._store.next_due_s(gateway))

    def clock_set_back(self, lost_s: float) -> int:
        """See Store."""
        return self._write(lambda: self._store.clock_set_back(lost_s))

    def limit_dues(self, max_s: float) -> int:
        """See Store."""
        return self._write(lambda: self._store.limit_dues(max_s))

    def hasten_lookups(self, gateway: str) -> int:
        """See Store."""
        return self._write(lambda: self._store.hasten_lookups(gateway))

    def retry_dead(self, merchant: str, where: DeadLetterFilter) -> int:
        """See Store."""
        return self._write(lambda: self._store.retry_dead(merchant, where))

    def gateway_modes(self) -> dict[str, GatewayMode]:
        """See Store."""
        return self._read(self._store.gateway_modes)

    def set_gateway_mode(self, mode: GatewayMode) -> None:
        """See Store."""
        self._write(lambda: self._store.set_gateway_mode(mode))

    def close(self) -> None:
        """See Store."""
        self._store.close()

    def _write(self, do: Callable[[], T]) -> T:
        draw = self._draw()
        if draw < 0.01:
            self._die()
        if draw < 0.03:
            raise StoreUnavailableError("simulated")
        if draw < 0.04:
            raise CommitUncertainError("simulated: not stored")
        if draw < 0.05:
            raise RuntimeError("simulated defect before the commit")
        if 0.09 <= draw < 0.1:
            self._jump()
        result = do()
        if draw < 0.06:
            self._die()
        if draw < 0.08:
            raise CommitUncertainError("simulated: stored")
        if draw < 0.09:
            raise RuntimeError("simulated defect after the commit")
        return result

    def _read(self, do: Callable[[], T]) -> T:
        draw = self._draw()
        if draw < 0.03:
            raise StoreUnavailableError("simulated")
        if draw < 0.04:
            raise RuntimeError("simulated defect while reading")
        return do()

    def _draw(self) -> float:
        """In [0, 1) and above: small numbers are faults, the likelier the higher this seed's rate."""
        return 1.0 if self.calm or not self._rate else self._chance.random() / self._rate

    def _die(self) -> None:
        self.crashed = True
        raise Crashed
