"""Addresses: by key, to actors that come to life when they are told something and go when they are idle.

A message told to an address is handled by a live actor, or the teller gets an error; it is never dropped. An actor
that died of an error is replaced. Its successor gets first what it had in work, then what waited, then what came
since: between the two lives messages are held here, and nobody else starts an actor of the same key.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from pykka import ActorDeadError, ActorRef

from actors.runtime.actor import Redelivery, Reference, ServiceActor
from actors.runtime.dispatchers import Dispatcher
from actors.runtime.locks import ShortLock
from actors.runtime.mailbox import MailboxFullError

logger: Final = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

SALVAGES_MAX: Final = 3
"""How often a dead actor is asked for what it had in work; what failed once may be the very thing that it died of."""


class Router(Generic[K]):
    """One actor for each key. ``capacity`` bounds each mailbox; ``monotonic`` times idleness.

    A message that comes less than ``granularity_s`` after the last one that was noted does not count against idleness.
    ``succeed`` is told of each end with a function that begins a successor, to call it now or later; until then
    messages are held. Without it a successor begins at once, if there is anything for it to do.
    """

    def __init__(
        self,
        make: Callable[[K], ServiceActor],
        dispatcher: Dispatcher,
        *,
        capacity: int,
        monotonic: Callable[[], float],
        granularity_s: float = 0.0,
        succeed: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._make, self._dispatcher, self._capacity, self._monotonic = make, dispatcher, capacity, monotonic
        self._granularity_s = granularity_s
        self._succeed = succeed
        self._on_end = self._ended  # bound once, not for each actor
        self._lock = ShortLock()
        # Least recently told first; with the time, so that a sweep need not ask anybody who is not idle.
        self._live: OrderedDict[K, tuple[Reference, float]] = OrderedDict()
        self._held: dict[K, list[Any]] = {}
        """For the next actor of a key: the one before has ended, or is about to."""
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
            if entry is None and self._succeed is not None and self._hold(key, None, message):
                return
            ref = entry[0] if entry is not None else self.start(key)
            try:
                if run_here:
                    ref.tell_here(message)
                else:
                    ref.tell(message)
            except ActorDeadError:  # it stopped a moment ago: the next one takes the message
                if self._hold(key, ref, message):
                    return
                continue
            now = self._monotonic()
            if entry is not None and now - entry[1] >= self._granularity_s:
                with self._lock:
                    entry = self._live.get(key)
                    if entry is not None and entry[0] is ref:  # and not its successor, if it has ended meanwhile
                        self._live[key] = (ref, now)
                        self._live.move_to_end(key)
            return

    def idle(self, idle_s: float, limit: int) -> list[Reference]:
        """Up to ``limit`` actors that were told nothing for ``idle_s`` seconds; each is named once in that time."""
        found: list[Reference] = []
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

    def waiting(self, limit: int) -> int:
        """How many messages wait for the ``limit`` actors that were told something last, or for a successor."""
        with self._lock:
            refs = [ref for ref, _ in islice(reversed(self._live.values()), limit)]
            held = sum(map(len, self._held.values()))
        return held + sum(len(ref.actor_inbox) for ref in refs)

    @property
    def at_rest(self) -> bool:
        """Whether no actor has anything to do."""
        with self._lock:
            if self._held:
                return False
            refs = [ref for ref, _ in self._live.values()]
        return all(ref.actor_inbox.at_rest for ref in refs)

    def start(self, key: K) -> Reference:
        """The actor of ``key``, started if need be. Raises whatever making it does."""
        entry = self._live.get(key)
        if entry is not None:
            return entry[0]
        actor = self._make(key)  # foreign code: not under the lock, although two may be made and one be for nothing
        actor.key, actor.on_end = key, self._on_end
        now = self._monotonic()
        with self._lock:
            entry = self._live.get(key)
            if entry is not None:
                return entry[0]
            ref = actor.launch(self._dispatcher, self._capacity)
            self._hand_over(key, ref)
            self._live[key] = (ref, now)  # last: tellers look in here without the lock
            return ref

    def living(self, key: K) -> Reference | None:
        """The actor of ``key``, if there is one."""
        entry = self._live.get(key)
        return None if entry is None else entry[0]

    def _hand_over(self, key: K, ref: Reference) -> None:
        """Give a new actor what is held for it, before anybody else can tell it anything. Under the lock."""
        held = self._held.pop(key, [])
        for number, message in enumerate(held):
            try:  # accepted once, and so not to be refused by a mailbox that is full
                ref.tell(message if isinstance(message, Redelivery) else Redelivery(message, 0))
            except ActorDeadError:  # it could not even begin: its end adds what it was given to the front
                self._held[key] = held[number:]
                return

    def _hold(self, key: K, ref: Reference | None, message: Any) -> bool:
        """Keep ``message`` for the successor of ``ref``; None: of one that has ended. False: look for the actor again.

        Raises MailboxFullError.
        """
        with self._lock:
            entry = self._live.get(key)
            if (None if entry is None else entry[0]) is not ref or (ref is None and key not in self._held):
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
            if left or self._succeed is not None or key in self._held:
                self._held[key] = [*left, *self._held.get(key, ())]
            is_needed = key in self._held
        if is_needed:
            self._begin_successor(key)

    def _begin_successor(self, key: K) -> None:
        if self._succeed is None:
            self._begin_again(key)
        else:
            self._succeed(lambda: self._begin_again(key))

    def _begin_again(self, key: K) -> None:
        try:
            self.start(key)
        except Exception:  # nobody is there to be told: what is held waits for the next attempt
            logger.exception("an actor cannot be made again", extra={"fields": {"actor": str(key)}})
            if self._succeed is not None:
                self._begin_successor(key)


def _unhandled(actor: ServiceActor) -> Sequence[Any]:
    """What the dead ``actor`` had in work. Its salvage is the actor's own code, and may fail as that did."""
    for _ in range(SALVAGES_MAX):
        try:
            return actor.unhandled()
        except BaseException:  # its successor must begin, whatever this is
            logger.exception("an actor that died does not give away what it had in work")
    return ()


CLOSE_S: Final = 5.0
"""Deaths that follow each other within this time have one cause, and are answered with growing waits."""
RESTART_FIRST_S: Final = 0.05
RESTART_MAX_S: Final = 0.5
"""Longest wait: whatever happens, a second after its death an actor has been begun again."""


class ActorAddress:
    """One actor that is always there: begun again when it ends, also when nobody tells it anything.

    The first time at once, then after growing waits (by ``after``, a timer) while deaths follow each other closely.
    Without a timer it is begun again when there is something for it to do. ``run_here``: one that is idle handles in
    the caller what it is told, for actors that never block.
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
            succeed=None if after is None else self._succeed,
        )
        self._ref: Reference | None = None
        self._begun: ActorRef[Any] | None = None
        self._ended_at = -math.inf
        self._close_ends = 0

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
        """How many messages wait for the actor."""
        return self._router.waiting(1)

    def start(self) -> None:
        """Have it live now, before anybody tells it anything."""
        self._router.start(None)

    @property
    def alive(self) -> bool:
        """Whether the actor lives at this moment, and its start succeeded. Never blocks."""
        ref = self._begun
        return ref is not None and ref.is_alive()

    @property
    def deaths(self) -> int:
        """How often it died of an error so far."""
        return self._router.deaths

    def _made(self, _key: None) -> ServiceActor:
        actor = self._make()
        begin = actor.on_start

        def on_start() -> None:
            begin()
            self._begun = actor.actor_ref

        actor.on_start = on_start  # type: ignore[method-assign]  # of this one: who lives is asked of the address
        return actor

    def _succeed(self, begin: Callable[[], None]) -> None:
        now = self._monotonic()
        self._close_ends = self._close_ends + 1 if now - self._ended_at < CLOSE_S else 0
        self._ended_at = now
        if self._close_ends and self._after is not None:
            self._after(min(RESTART_FIRST_S * 2 ** min(self._close_ends - 1, 10), RESTART_MAX_S), begin)
        else:
            begin()
