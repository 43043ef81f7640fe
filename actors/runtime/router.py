"""Routing by key to actors that are started on demand and stopped when idle, and addresses of single actors.

A message is handled by a live actor or its sender gets an error; it is never lost. An actor that died of an error is
replaced. Its successor first receives the work in progress, then the waiting messages, then those that came since. In
between, messages are held here, and no other actor of the key is started.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Sequence
from itertools import islice, takewhile
from typing import Any, Final, Generic, TypeVar

from pykka import ActorDeadError, ActorRef

from actors.runtime.actor import Redelivery, Reference, ServiceActor
from actors.runtime.dispatchers import Dispatcher
from actors.runtime.locks import ShortLock
from actors.runtime.mailbox import MailboxFullError

logger: Final = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

RECOVERIES_MAX: Final = 3
"""Attempts to recover the work of a dead actor: the first may fail for the same reason as the actor."""


class Router(Generic[K]):
    """One actor for each key. ``capacity`` bounds each mailbox; ``monotonic`` times idleness.

    A message within ``granularity_s`` of the last noted one does not reset idleness. ``restart`` is called at each end
    with a function that starts a successor, to be called now or later; until then messages are held. Without it, a
    successor starts at once, if there is anything for it to do.
    """

    def __init__(
        self,
        make: Callable[[K], ServiceActor],
        dispatcher: Dispatcher,
        *,
        capacity: int,
        monotonic: Callable[[], float],
        granularity_s: float = 0.0,
        restart: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._make, self._dispatcher, self._capacity, self._monotonic = make, dispatcher, capacity, monotonic
        self._granularity_s = granularity_s
        self._restart = restart
        self._on_end = self._ended  # bound once rather than for each actor
        self._lock = ShortLock()
        # Least recently used first, so that a sweep stops at the first actor that is not idle. An OrderedDict takes 60
        # bytes more for each actor.
        self._live: dict[K, Reference] = {}
        self._held: dict[K, list[Any]] = {}
        """Messages for the successor of a key whose actor has ended or is ending."""
        self.deaths = 0

    def __len__(self) -> int:
        """The number of live actors."""
        return len(self._live)

    def tell(self, key: K, message: Any, *, run_here: bool = False) -> None:
        """Send ``message`` to the actor of ``key``, starting it if necessary. Raises MailboxFullError.

        ``run_here``: let an idle actor run in the caller, for callers that wait for the answer anyway.
        """
        while True:
            living = self._live.get(key)
            if living is None and self._restart is not None and self._hold(key, None, message):
                return
            ref = living if living is not None else self.start(key)
            try:
                if run_here:
                    ref.tell_here(message)
                else:
                    ref.tell(message)
            except ActorDeadError:  # it has just stopped: its successor takes the message
                if self._hold(key, ref, message):
                    return
                continue
            now = self._monotonic()
            if living is not None and now - ref.used_at >= self._granularity_s:
                with self._lock:
                    if self._live.get(key) is ref:  # and not a successor, if it has ended meanwhile
                        self._note(key, ref, now)
            return

    def idle(self, idle_s: float, limit: int) -> list[Reference]:
        """Up to ``limit`` actors without a message for ``idle_s`` seconds; each is returned once in that time."""
        now = self._monotonic()
        with self._lock:
            first = islice(self._live.items(), limit)
            found = list(takewhile(lambda entry: now - entry[1].used_at >= idle_s, first))
            for key, ref in found:
                self._note(key, ref, now)
        return [ref for _, ref in found]

    def waiting(self, limit: int) -> int:
        """Messages that wait for the ``limit`` most recently used actors, or for a successor."""
        with self._lock:
            refs = [*islice(reversed(self._live.values()), limit)]
            held = sum(map(len, self._held.values()))
        return held + sum(len(ref.actor_inbox) for ref in refs)

    @property
    def at_rest(self) -> bool:
        """Whether no actor has work."""
        with self._lock:
            if self._held:
                return False
            refs = [*self._live.values()]
        return all(ref.actor_inbox.at_rest for ref in refs)

    def start(self, key: K) -> Reference:
        """The actor of ``key``, started if necessary. Raises what its constructor raises."""
        living = self._live.get(key)
        if living is not None:
            return living
        actor = self._make(key)  # foreign code: not under the lock, even if two are made and one is dropped
        actor.key, actor.on_end = key, self._on_end
        now = self._monotonic()
        with self._lock:
            living = self._live.get(key)
            if living is not None:
                return living
            ref = actor.launch(self._dispatcher, self._capacity)
            self._deliver_held(key, ref)
            ref.used_at = now
            self._live[key] = ref  # last: senders read it without the lock
            return ref

    def living(self, key: K) -> Reference | None:
        """The live actor of ``key``, if any."""
        return self._live.get(key)

    def _note(self, key: K, ref: Reference, now: float) -> None:
        """Note a message to ``ref``. Under the lock; a sender that finds no actor meanwhile looks again under it."""
        ref.used_at = now
        del self._live[key]
        self._live[key] = ref

    def _deliver_held(self, key: K, ref: Reference) -> None:
        """Deliver the held messages to a new actor before any other message. Under the lock."""
        held = self._held.pop(key, [])
        for number, message in enumerate(held):
            try:  # accepted before, and so not to be refused by a full mailbox
                ref.tell(message if isinstance(message, Redelivery) else Redelivery(message, 0))
            except ActorDeadError:  # it failed at its start: its end puts the delivered ones first
                self._held[key] = held[number:]
                return

    def _hold(self, key: K, ref: Reference | None, message: Any) -> bool:
        """Hold ``message`` for the successor of ``ref`` (None: of one that has ended).

        False when the sender has to look up the actor again. Raises MailboxFullError.
        """
        with self._lock:
            if self._live.get(key) is not ref or (ref is None and key not in self._held):
                return False
            held = self._held.setdefault(key, [])
            if len(held) >= self._capacity and getattr(message, "refusable", False):
                raise MailboxFullError(f"{len(held)} messages wait already")
            held.append(message)
            return True

    def _ended(self, actor: ServiceActor, left: Sequence[Any]) -> None:
        key: K = actor.key
        if actor.failed is not None:
            logger.error("an actor died of %r and is replaced", actor.failed, extra={"fields": {"actor": str(key)}})
        left = [*_unhandled(actor), *left]
        with self._lock:
            if actor.failed is not None:
                self.deaths += 1
            self._live.pop(key, None)
            if left or self._restart is not None or key in self._held:
                self._held[key] = [*left, *self._held.get(key, ())]
            is_needed = key in self._held
        if is_needed:
            self._start_successor(key)

    def _start_successor(self, key: K) -> None:
        if self._restart is None:
            self._start_again(key)
        else:
            self._restart(lambda: self._start_again(key))

    def _start_again(self, key: K) -> None:
        try:
            self.start(key)
        except Exception:  # no caller to raise it to: held messages wait for the next attempt
            logger.exception("an actor cannot be made again", extra={"fields": {"actor": str(key)}})
            if self._restart is not None:
                self._start_successor(key)


def _unhandled(actor: ServiceActor) -> Sequence[Any]:
    """The work in progress of the dead ``actor``. Its ``recover`` may fail as its handler did."""
    for _ in range(RECOVERIES_MAX):
        try:
            return actor.unhandled()
        except BaseException:  # its successor must start in any case
            logger.exception("the work in progress of a dead actor cannot be recovered")
    return ()


SAME_CAUSE_S: Final = 5.0
"""Deaths within this time of each other have one cause, and are followed by growing delays."""
RESTART_FIRST_S: Final = 0.05
RESTART_MAX_S: Final = 0.5
"""The longest delay: an actor is restarted within a second of its death in any case."""


class ActorAddress:
    """The address of a single actor that is restarted whenever it ends, even without messages.

    The first restart is immediate; deaths in close succession are followed by growing delays on the timer ``after``.
    Without a timer it is restarted when a message comes. ``run_here``: an idle actor handles messages in the sender's
    thread, for actors that never block.
    """

    def __init__(
        self,
        make: Callable[[], ServiceActor],
        dispatcher: Dispatcher,
        *,
        capacity: int,
        monotonic: Callable[[], float],
        after: Callable[[float, Callable[[], None]], object] | None = None,
        run_here: bool = False,
    ) -> None:
        self._make, self._monotonic, self._after, self._run_here = make, monotonic, after, run_here
        self._router: Router[None] = Router(
            self._made,
            dispatcher,
            capacity=capacity,
            monotonic=monotonic,
            restart=None if after is None else self._restart,
        )
        self._ref: Reference | None = None
        self._started: ActorRef[Any] | None = None
        self._ended_at = -math.inf
        self._close_deaths = 0

    def tell(self, message: Any) -> None:
        """Send ``message``. Raises MailboxFullError."""
        ref = self._ref
        if ref is not None:
            try:
                if self._run_here:
                    ref.tell_here(message)
                else:
                    ref.tell(message)
            except ActorDeadError:
                pass
            else:
                return
        self._router.tell(None, message)
        self._ref = self._router.living(None)

    @property
    def waiting(self) -> int:
        """The number of messages that wait for the actor."""
        return self._router.waiting(1)

    def start(self) -> None:
        """Start the actor now, before any message."""
        self._router.start(None)

    @property
    def alive(self) -> bool:
        """Whether the actor is alive now and its start succeeded. Never blocks."""
        ref = self._started
        return ref is not None and ref.is_alive()

    @property
    def deaths(self) -> int:
        """How often the actor died of an error so far."""
        return self._router.deaths

    def _made(self, _key: None) -> ServiceActor:
        actor = self._make()
        begin = actor.on_start

        def on_start() -> None:
            begin()
            self._started = actor.actor_ref

        actor.on_start = on_start  # type: ignore[method-assign]  # of this actor only: ``alive`` depends on it
        return actor

    def _restart(self, begin: Callable[[], None]) -> None:
        now = self._monotonic()
        self._close_deaths = self._close_deaths + 1 if now - self._ended_at < SAME_CAUSE_S else 0
        self._ended_at = now
        if self._close_deaths and self._after is not None:
            self._after(min(RESTART_FIRST_S * 2 ** min(self._close_deaths - 1, 10), RESTART_MAX_S), begin)
        else:
            begin()
