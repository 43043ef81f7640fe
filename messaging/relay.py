"""The relay: publishes all events of the store in the order of their positions, and remembers how far it came.

It reads the feed up to the first position that may still be committed, publishes a batch, and moves its checkpoint
after the broker has confirmed all of it. A relay that dies in between, or loses its lease, leaves events that are
published again, and none that is left out. One relay leads; the others ask for the lease until it expires.

An event that the broker refuses, or that cannot be made into a message, stops the relay before it: the relay tries
again from time to time and publishes nothing after it, until an operator skips it (``manage.py relay``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from messaging.port import BrokerUnavailableError, Message, Published, Publisher, Refused
from messaging.troubles import Troubles
from messaging.waves import shallow
from store.errors import CorruptStoreError, StoreError
from store.event_json import position_on_wire
from store.port import GenerationStore, RelayLease, RelayStore, StoredEvent

logger: Final = logging.getLogger(__name__)

RELAY_OF_EVENTS: Final = "events"
"""The name of the relay that publishes to the broker."""
BATCH_MAX: Final = 500
"""Events of one batch. Larger ones save little. Slow or failing batches make the next ones smaller."""
TOOK_MIN_S: Final = 0.001
"""The shortest time that a batch counts for."""
WAVES_MAX: Final = 100
"""Events of one stream in a batch: each waits for the confirm of the one before it, while the lease gets older."""
IDLE_S: Final = 0.2
"""The wait before the feed is read again after its end."""
STANDBY_S: Final = 1.0
"""The longest wait of a relay that does not lead before it asks for the lease again."""
REFUSED_S: Final = 10.0
"""The wait before a refused event is tried again."""
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0
"""The wait after an error of the store or the broker doubles from the first to the longest, or to a third of the lease.

So the leader keeps its lease while the broker is away."""


class RelaySource(RelayStore, GenerationStore, Protocol):
    """What the relay needs of the store."""

    def all_events(self, merchant: str | None, *, after: int, limit: int) -> Sequence[StoredEvent]:
        """See ``store.queries.Queries``."""


MakeMessages = Callable[[Sequence[StoredEvent], int], Iterable[Message]]
"""Makes the messages of events in a generation, in their order. Raises CorruptStoreError when one cannot be made.

It may read the store, and then raises the errors of the store.
"""


class RelayState(NamedTuple):
    """The state of a relay in this process."""

    leading: bool = False
    position: int = 0
    """The checkpoint, as this process knows it."""
    backlog: int = 0
    """Positions above the checkpoint when the feed was read last. Some of them may be unused."""
    published: int = 0
    """Events that this process published and the broker confirmed, repetitions included."""
    refused: Refused | None = None
    """The event before which the relay stays."""
    refusals: int = 0
    """Attempts of this process to publish an event that were refused."""
    problem: str | None = None
    """Why the newest step failed."""


class Relay:
    """One relay of this process. ``step`` does one batch, and returns how long the caller waits.

    ``owner`` must differ between processes. ``monotonic`` measures how much of the lease is left. ``on_published`` gets
    the seconds from sending a batch to the broker's answer.
    """

    def __init__(
        self,
        *,
        name: str,
        owner: str,
        store: RelaySource,
        make_messages: MakeMessages,
        publisher: Publisher,
        lease_s: float,
        monotonic: Callable[[], float],
        batch_max: int = BATCH_MAX,
        on_published: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._name, self._owner, self._store = name, owner, store
        self._make_messages, self._publisher = make_messages, publisher
        self._lease_s, self._monotonic, self._batch_max = lease_s, monotonic, batch_max
        self._on_published = on_published
        self._limit = batch_max
        """Events of the next batch."""
        self._lease: RelayLease | None = None
        self._known = RelayLease(0, 0, 0)
        """The newest lease that this process had, at its last known checkpoint."""
        self._renew_at = 0.0
        self._retry_s = RETRY_FIRST_S
        self._troubles = Troubles(monotonic)
        self.state = RelayState()
        """Replaced as a whole, so that other threads may read it."""

    def run(self, wait: Callable[[float], bool]) -> None:
        """Step until ``wait``, which gets the seconds to wait, returns True. Then gives the lease back."""
        while not wait(self.step()):
            pass
        self.resign()

    def step(self) -> float:
        """Publish one batch, or ask for the lease. Returns the seconds until the next step; raises no Exception."""
        try:
            wait_s = self._step()
        except (StoreError, BrokerUnavailableError) as error:
            if self._stumble(str(error)):
                logger.warning("the relay cannot publish: %s", error, extra=self._fields())
        except Exception as error:  # a defect must not end the relay: the next step may succeed
            if self._stumble(f"{type(error).__name__}: {error}"):
                logger.exception("unexpected error in the relay", extra=self._fields())
        else:
            if self._troubles.end():
                logger.info("the relay can publish again", extra=self._fields())
            self._retry_s = RETRY_FIRST_S
            self.state = self.state._replace(problem=None)
            return wait_s
        wait_s, self._retry_s = self._retry_s, min(2 * self._retry_s, RETRY_MAX_S)
        return min(wait_s, self._lease_s / 3)

    def resign(self) -> None:
        """Stop leading and close the connection. Another relay leads at once, or when the lease expires."""
        if self._lease is not None:
            try:
                self._store.resign(self._name, self._owner)
            except StoreError as error:
                logger.warning("the lease of the relay could not be given back: %s", error, extra=self._fields())
            except Exception:  # a defect must not keep the connection open
                logger.exception("unexpected error at the end of the relay", extra=self._fields())
        self._let_go()
        self._publisher.close()

    def _step(self) -> float:
        lease = self._leading()
        if lease is None:
            return min(self._lease_s / 3, STANDBY_S)
        limit = self._limit if self.state.refused is None else 1  # a refused event is tried alone
        events = shallow(self._store.all_events(None, after=lease.position, limit=limit), WAVES_MAX)
        feed = self._store.feed()  # after the events: they are of this generation, or of an earlier one
        self.state = self.state._replace(backlog=max(feed.last - lease.position, 0))
        if feed.generation != lease.generation:
            self._let_go()  # the next lease has the new generation
            return 0.0
        if not events:
            self._publisher.publish(())
            return min(IDLE_S, self._lease_s / 3)
        return self._publish(lease, events)

    def _leading(self) -> RelayLease | None:
        """The lease, renewed when a third of it is over; None while another process has it."""
        now = self._monotonic()
        if self._lease is None or now >= self._renew_at:
            self._let_go()  # until the store has answered
            lease = self._store.lead(self._name, self._owner, self._lease_s)
            if lease is None:
                self.state = self.state._replace(refused=None)
            elif self._is_earlier(lease):
                logger.critical("the store was put back to an earlier state", extra=self._fields(token=lease.token))
                self._store.begin_generation(self._known.generation)
                self._known = RelayLease(0, 0, self._known.generation + 1)
            else:
                self._take(lease, now)
        return self._lease

    def _is_earlier(self, lease: RelayLease) -> bool:
        """Whether the store has lost what this process saw in it: a checkpoint never goes back under one token."""
        known = self._known
        ours, theirs = (known.generation, known.token), (lease.generation, lease.token)
        return theirs < ours or (theirs == ours and lease.position < known.position)

    def _take(self, lease: RelayLease, now: float) -> None:
        if lease.token != self._known.token:
            position = position_on_wire(lease.generation, lease.position)
            logger.info("the relay leads", extra=self._fields(position=position, token=lease.token))
        self._lease = self._known = lease
        self._renew_at = now + self._lease_s / 3
        if lease.position != self.state.position:
            self.state = self.state._replace(refused=None)  # of another checkpoint
        self.state = self.state._replace(leading=True, position=lease.position)

    def _publish(self, lease: RelayLease, events: Sequence[StoredEvent]) -> float:
        messages, refused = self._messages(events, lease.generation)
        if messages:
            published = self._timed(messages)
            if published.confirmed:
                last = messages[published.confirmed - 1].position
                if not self._store.advance(self._name, lease.token, last, lease.generation):
                    logger.warning("the relay has lost its lease", extra=self._fields(token=lease.token))
                    self._let_go()
                    return 0.0
                self._lease = self._known = lease = lease._replace(position=last)
                self.state = self.state._replace(
                    position=last,
                    refused=None,
                    backlog=max(self.state.backlog - (last - self.state.position), 0),
                    published=self.state.published + published.confirmed,
                )
            refused = published.refused
        if refused is None:
            return 0.0
        return self._refused(lease, refused)

    def _timed(self, messages: Sequence[Message]) -> Published:
        """Publish a batch, and choose the size of the next one: it should take at most a third of the lease.

        A batch that takes longer than the lease would be lost to another relay, again and again. One that fails moves
        nothing, so a connection that is always lost after some messages needs batches that fit between the losses.
        """
        before, count = self._limit, len(messages)
        self._limit = max(min(before, count) // 2, 1)  # unless it succeeds
        began = self._monotonic()
        published = self._publisher.publish(messages)
        took_s = self._monotonic() - began
        self._on_published(took_s)
        fitting = count * self._lease_s / 3 / max(took_s, TOOK_MIN_S)
        self._limit = max(int(min(2 * before, fitting, self._batch_max)), 1)
        return published

    def _messages(self, events: Sequence[StoredEvent], generation: int) -> tuple[list[Message], Refused | None]:
        """The messages of the events up to the first that cannot be made, and why it cannot."""
        with suppress(CorruptStoreError):
            return list(self._make_messages(events, generation)), None
        messages: list[Message] = []
        for event in events:
            try:
                messages += self._make_messages([event], generation)
            except CorruptStoreError as error:
                return messages, Refused(event.position, f"it cannot be read: {error}")
        return messages, None

    def _refused(self, lease: RelayLease, refused: Refused) -> float:
        reason = "".join(character if character.isprintable() else "?" for character in refused.reason)
        logger.error(
            "an event cannot be published; the relay stays before it",
            extra=self._fields(position=position_on_wire(lease.generation, refused.position), reason=reason),
        )
        self.state = self.state._replace(refused=Refused(refused.position, reason), refusals=self.state.refusals + 1)
        if not self._store.note_refusal(self._name, lease.token, refused.position, reason):
            self._let_go()
            return 0.0
        self._renew_at = self._monotonic()  # the operator may have skipped it by the next step
        return min(REFUSED_S, self._lease_s / 3)

    def _stumble(self, problem: str) -> bool:
        """Note why a step failed. Returns whether it is to be logged."""
        self.state = self.state._replace(problem=problem, leading=self._lease is not None)
        return self._troubles.is_due(problem)

    def _let_go(self) -> None:
        self._lease = None
        self.state = self.state._replace(leading=False)

    def _fields(self, **more: object) -> dict[str, object]:
        return {"fields": {"relay": self._name, "owner": self._owner, **more}}
