"""Addresses: by key, to actors that come to life when they are told something and go when they are idle.

A message told to an address is handled by a live actor, or the teller gets an error; it is never dropped. An actor
that died of an error is replaced, and what it had not handled goes to its successor.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from pykka import ActorDeadError, ActorRef
from pykka._envelope import Envelope  # what Pykka's own references put into an inbox

from actors.runtime.actor import Redelivery, ServiceActor
from actors.runtime.dispatchers import Dispatcher
from actors.runtime.locks import ShortLock
from actors.runtime.mailbox import Mailbox

logger: Final = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class Router(Generic[K]):
    """One actor for each key. ``capacity`` bounds each mailbox; ``monotonic`` times idleness.

    A message that comes less than ``granularity_s`` after the last one that was noted does not count against idleness.
    """

    def __init__(
        self,
        make: Callable[[K], ServiceActor],
        dispatcher: Dispatcher,
        *,
        capacity: int,
        monotonic: Callable[[], float],
        granularity_s: float = 0.0,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._make, self._dispatcher, self._capacity, self._monotonic = make, dispatcher, capacity, monotonic
        self._granularity_s = granularity_s
        self._on_end = self._ended  # bound once, not for each actor
        self._on_death = on_death
        self._lock = ShortLock()
        # Least recently told first; with the time, so that a sweep need not ask anybody who is not idle.
        self._live: OrderedDict[K, tuple[ActorRef[Any], float]] = OrderedDict()
        self.deaths = 0

    def __len__(self) -> int:
        """How many actors live."""
        return len(self._live)

    def tell(self, key: K, message: Any, *, run_here: bool = False) -> None:
        """Send ``message`` to the actor of ``key``, starting it if need be. Raises MailboxFullError.

        ``run_here``: let it run in the caller, who is about to wait for its answer: one hand-over less.
        """
        while True:
            entry = self._live.get(key)
            ref = entry[0] if entry is not None else self.start(key)
            try:
                if run_here:
                    cast("Mailbox", ref.actor_inbox).put_and_run(Envelope(message))
                else:
                    ref.tell(message)
            except ActorDeadError:  # it stopped a moment ago: the next one takes the message
                self._forget(key, ref)
                continue
            now = self._monotonic()
            if entry is not None and now - entry[1] >= self._granularity_s:
                with self._lock:
                    entry = self._live.get(key)
                    if entry is not None and entry[0] is ref:  # and not its successor, if it has ended meanwhile
                        self._live[key] = (ref, now)
                        self._live.move_to_end(key)
            return

    def idle(self, idle_s: float, limit: int) -> list[ActorRef[Any]]:
        """Up to ``limit`` actors that were told nothing for ``idle_s`` seconds; each is named once in that time."""
        found: list[ActorRef[Any]] = []
        now = self._monotonic()
        with self._lock:
            while len(found) < limit and self._live:
                key, (ref, told_at) = next(iter(self._live.items()))
                if now - told_at < idle_s:
                    break
                self._live[key] = (ref, now)
                self._live.move_to_end(key)
                found.append(ref)
        return found

    @property
    def at_rest(self) -> bool:
        """Whether no actor has anything to do."""
        with self._lock:
            return all(cast("Mailbox", ref.actor_inbox).at_rest for ref, _ in self._live.values())

    def start(self, key: K) -> ActorRef[Any]:
        """The actor of ``key``, started if need be."""
        with self._lock:
            entry = self._live.get(key)
            if entry is not None:
                return entry[0]
            actor = self._make(key)
            actor.key, actor.on_end = key, self._on_end
            ref = actor.launch(self._dispatcher, self._capacity)
            self._live[key] = (ref, self._monotonic())
            return ref

    def _forget(self, key: K, ref: ActorRef[Any]) -> None:
        with self._lock:
            entry = self._live.get(key)
            if entry is not None and entry[0] is ref:
                del self._live[key]

    def _ended(self, actor: ServiceActor, left: Sequence[Any]) -> None:
        key: K = actor.key
        self._forget(key, actor.actor_ref)
        if actor.failed is not None:
            self.deaths += 1
            logger.error("an actor died of %r and is replaced", actor.failed, extra={"fields": {"actor": str(key)}})
            left = [*actor.unhandled(), *left]
        for message in left:  # accepted once, and so not to be refused by a mailbox that is full
            self.tell(key, message if isinstance(message, Redelivery) else Redelivery(message, 0))
        if actor.failed is not None:
            self._on_death()


RESTART_S: Final = 0.5
"""Wait before an actor that died is begun again for its own sake, and not for a message's."""


class Address:
    """One actor that is always there: begun again when it died, by ``after`` (a timer) also when nobody tells it."""

    def __init__(
        self,
        make: Callable[[], ServiceActor],
        dispatcher: Dispatcher,
        *,
        capacity: int,
        monotonic: Callable[[], float],
        after: Callable[[float, Callable[[], None]], object] = lambda _delay_s, _function: None,
    ) -> None:
        self._router: Router[None] = Router(
            lambda _: make(),
            dispatcher,
            capacity=capacity,
            monotonic=monotonic,
            on_death=self._revive,
        )
        self._after = after
        self._ref: ActorRef[Any] | None = None

    def tell(self, message: Any) -> None:
        """Send ``message``. Raises MailboxFullError."""
        ref = self._ref
        if ref is not None:
            try:
                ref.tell(message)
            except ActorDeadError:
                self._ref = None
            else:
                return
        self._router.tell(None, message)
        self.start()

    def start(self) -> None:
        """Have it live now, before anybody tells it anything."""
        self._ref = self._router.start(None)

    @property
    def deaths(self) -> int:
        """How often it died of an error so far."""
        return self._router.deaths

    def _revive(self) -> None:
        self._after(RESTART_S, self.start)
