"""The interface between a customer's actor and what it decides on: operations, and the batch of their decisions.

An operation is a command from outside or a report about a piece of work. ``actors/operations`` has one module for each
kind. The actor, the batch and the poison-message policy call the methods of ``Operation`` and never test for a kind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Final, NamedTuple

from actors.customer.context import CustomerContext
from domain.account import Account, Refused, Transaction, UnknownTransactionError
from domain.commands import TransactionCommand
from domain.events import TRANSACTION_EVENTS, Event, Recorded
from domain.state_machine import decide, evolve
from store.codec import Metadata, encode
from store.port import Claim, EncodedEvent, Head, Lease, Part, Review, StreamKey, Write
from store.projection import project_review

logger: Final = logging.getLogger(__name__)


class Operation:
    """One thing to decide on a customer's stream.

    A new operation overrides ``decide`` and, where the defaults do not fit, the methods that follow it.
    """

    event_ids: list[str]
    """Chosen once, so that a repeated write is recognised by them."""
    in_doubt: bool
    """An append of it was sent, and the result is not known."""
    crashes: int
    """How often it was in hand when something broke."""
    fenced: bool = False
    """Whether the token of its work was stale, so that the present lease must be read first."""
    survives_defects: ClassVar[bool] = False
    """Whether it is tried without limit, at the end of the queue, while the store has a defect."""
    __slots__ = ("crashes", "event_ids", "in_doubt")

    @property
    def transaction_id(self) -> str | None:
        """The transaction that it is about, if any."""
        raise NotImplementedError

    @property
    def to_load(self) -> tuple[str, ...]:
        """The transactions that a load must look for. A load reads their parents as well."""
        return () if self.transaction_id is None else (self.transaction_id,)

    @property
    def work_id(self) -> str | None:
        """The piece of work whose token fences it, if any."""
        return None

    @property
    def unique(self) -> Hashable | None:
        """What may be in a batch once, if anything: a piece of work or an idempotency key."""
        return self.work_id

    @property
    def alone(self) -> bool:
        """Whether it is written alone: it met trouble, or its events may be stored already."""
        return bool(self.crashes) or self.in_doubt

    @property
    def fields(self) -> dict[str, str | None]:
        """The fields of a log line about it."""
        return {"transaction_id": self.transaction_id}

    # on arrival

    def turn_away(self, reason: str) -> bool:  # noqa: ARG002
        """Answer that nothing is stored, unless it was taken up or must not get lost; True when it is answered."""
        return False

    def arrived_twice(self, in_hand: Iterable[Operation], context: CustomerContext) -> bool:  # noqa: ARG002
        """Whether it is among those ``in_hand`` already. If so it is answered, and the other one is decided on."""
        return False

    # deciding

    def ready(self, batch: Batch, context: CustomerContext) -> bool:  # noqa: ARG002
        """Whether to decide on it in ``batch``; if not, it is answered.

        Raises UnknownTransactionError when a load must look for its transaction first.
        """
        return True

    def decide(self, batch: Batch, context: CustomerContext) -> None:
        """Add its events, claims and work to ``batch``, or refuse it there. May be called again for a later batch.

        Raises UnknownTransactionError when its transaction must be loaded first; the batch is not used then.
        """
        raise NotImplementedError

    # results of a write

    def after_commit(self, batch: Batch, context: CustomerContext) -> None:
        """Answer, and pass work on. Each is done once, also when the actor dies in between and a successor repeats it.

        Called for what the batch was given with ``Batch.on_commit``, once the batch is stored.
        """

    def replayed(self, held: Claim) -> bool:
        """Handle a claim of its own that is held already: it, or one with the same claim, was stored before.

        True: that answers it. False: it is decided again, and takes into account what is held.
        """
        raise AssertionError(f"{type(self).__name__} claims nothing, and {held.scope!r} is held")

    def fenced_off(self) -> bool:
        """Handle a stale token. True: that answers it. False: it is decided again, once the lease is read."""
        raise AssertionError(f"{type(self).__name__} has no fence")

    def with_lease(self, lease: Lease | None, account: Account, context: CustomerContext) -> bool:  # noqa: ARG002
        """Whether to decide again after ``fenced_off``; ``lease`` is the present one of its work."""
        return True

    def refusal_claim(self, refused: Refused, version: int) -> Claim | None:  # noqa: ARG002
        """The claim that records its refusal at ``version`` of the stream, if a repetition must get the same answer."""
        return None

    def refused(self, refused: Refused, version: int) -> None:  # noqa: ARG002
        """Answer that it is refused, which the stream at ``version`` confirms."""
        raise AssertionError(f"{type(self).__name__} is never refused")

    def doubt_refusal(self) -> None:
        """Note that the record of its refusal may be stored or land later."""

    def not_stored(self, reason: str) -> bool:  # noqa: ARG002
        """Answer that nothing of it is stored, if that is certain; False when it is decided again."""
        return False

    def doubt(self, version: int) -> None:  # noqa: ARG002
        """Note that a write of it, after ``version`` of the stream, may be stored or land later."""
        if self.event_ids:
            self.in_doubt = True

    def without_transaction(self, stream: StreamKey, context: CustomerContext) -> bool:
        """Whether to decide again after a load did not find its transaction. If not, it is answered or given up."""
        raise NotImplementedError

    # trouble

    def actor_died(self) -> bool:
        """Note that the actor that had it in hand died; returns whether the successor decides on it."""
        if self.event_ids:
            self.in_doubt = True  # it was put into a write, and only the lost answer had its result
        return True

    def simplify(self) -> bool:
        """Drop content that may be the reason for its trouble; False when there is nothing left to try."""
        return False

    def give_up(self, stream: StreamKey, context: CustomerContext) -> None:
        """Stop trying."""
        logger.error("given up after it met trouble %s times", self.crashes, extra={"fields": self.fields})
        self.poisoned(stream, context)

    def poisoned(self, stream: StreamKey, context: CustomerContext) -> None:
        """Answer it without a decision, and give its work back for another try."""
        raise NotImplementedError


class Refusal(NamedTuple):
    """An operation that is refused if the stream still ends where the decision saw it end."""

    operation: Operation
    refused: Refused


class Batch:
    """Takes the decisions of one operation after the other, each on the state that the ones before it leave.

    ``asked``: the transactions that the newest load looked for, whether it found them or not.
    """

    def __init__(
        self,
        stream: StreamKey,
        account: Account,
        head: Head,
        now: datetime,
        new_id: Callable[[], str],
        *,
        asked: Collection[str] = (),
    ) -> None:
        self.stream, self.account, self.head = stream, account, head
        self.operations: list[Operation] = []
        """Operations whose ``after_commit`` is called once the batch is stored."""
        self.refusals: list[Refusal] = []
        self.confirmed = False
        """Whether the refusals are known to hold, without a look at the stream's head."""
        self.recorded: list[tuple[Recorded, Metadata]] = []
        self.confirms = False
        """Whether a commit must confirm something on record, besides the operations without a part."""
        self.before, self.now, self._new_id, self._asked = head, now, new_id, asked
        self._parts: list[Part] = []
        self._sources: list[Operation] = []
        self._transactions: dict[str, None] = {}
        self._currencies: dict[str, None] = {}
        self._reviews: list[Review] = []

    # what operations call from ``decide``

    def known(self, transaction_id: str) -> Transaction:
        """The transaction as the batch leaves it so far. Raises UnknownTransactionError."""
        try:
            return self.account.transactions[transaction_id]
        except KeyError:
            raise UnknownTransactionError(transaction_id) from None

    def looked_for(self, transaction_id: str | None) -> bool:
        """Whether the absence of a transaction proves that it was not on record when the account was loaded."""
        return transaction_id is None or transaction_id in self.account.transactions or transaction_id in self._asked

    def replans(self, work_id: str) -> bool:
        """Whether an operation before has changed this work, and so renewed its token."""
        return any(change.work_id == work_id for part in self._parts for change in part.work)

    def decided(self, command: TransactionCommand) -> Sequence[Event]:
        """The events of a command that cannot be refused. Raises UnknownTransactionError."""
        decision = decide(self.account, command)
        assert not isinstance(decision, Refused)  # only commands of clients and operators can be refused
        return decision

    def record(
        self,
        events: Sequence[Event],
        metadata: Metadata,
        event_ids: list[str],
        *,
        at: datetime | None = None,
        before: Review | None = None,
    ) -> tuple[EncodedEvent, ...]:
        """Add ``events`` with ``event_ids`` at the time ``at`` (None: now). ``before``: the review that they close."""
        at = self.now if at is None else at
        encoded = []
        for number, event in enumerate(events):
            if number == len(event_ids):
                event_ids.append(self._new_id())
            recorded = Recorded(self.head.version + 1, at, event, metadata.correlation_id)
            self.account = evolve(self.account, recorded)
            done = encode(self.stream, self.head, recorded, event_ids[number], metadata)
            self.head = Head(done.version, done.hash)
            encoded.append(done)
            self.recorded.append((recorded, metadata))
            if isinstance(event, TRANSACTION_EVENTS):
                self._transactions[event.transaction_id] = None
                parent_id = self.account.transactions[event.transaction_id].parent_id
                if parent_id is not None:
                    self._transactions[parent_id] = None
            elif (review := project_review(before, recorded)) is not None:
                self._reviews.append(review)
        return tuple(encoded)

    def add_part(self, part: Part, source: Operation) -> None:
        """Add ``part``, which belongs to ``source``, to the write."""
        self._parts.append(part)
        self._sources.append(source)

    def touch(self, currency: str) -> None:
        """Add the balance in ``currency``, which an event without a transaction changed, to the write."""
        self._currencies[currency] = None

    def refuse(self, operation: Operation, refused: Refused) -> None:
        """Refuse ``operation``, once the stream's head is confirmed."""
        self.refusals.append(Refusal(operation, refused))

    def on_commit(self, operation: Operation) -> None:
        """Call ``operation.after_commit`` once the batch is stored.

        An operation without a part of its own relies on the record, and a commit must confirm the record first.
        """
        self.operations.append(operation)

    # what the actor calls

    def record_refusals(self) -> None:
        """Store the refusals that have a claim, so that a repetition gets the same answer."""
        for operation, refused in self.refusals:
            claim = operation.refusal_claim(refused, self.before.version)
            if claim is not None:
                self.add_part(Part(claims=(claim,)), operation)

    def write(self) -> Write | None:
        """The write of everything added; None when nothing needs to be stored.

        Results of an earlier write were only read: a commit must confirm them before they are answered.
        """
        stored = set(map(id, self._sources))
        confirm = self.confirms or not stored.issuperset(map(id, self.operations))
        if not (self._parts or confirm):
            return None
        transactions = tuple(map(self.account.transactions.__getitem__, self._transactions))
        currencies = {transaction.money.currency: None for transaction in transactions} | self._currencies
        balances = self.account.balances
        return Write(
            self.stream,
            self.before,
            tuple(self._parts),
            transactions,
            tuple((currency, balances[currency]) for currency in currencies if currency in balances),
            tuple(self._reviews),
            confirm=confirm,
        )

    def source_of(self, part: int) -> Operation:
        """The operation that part number ``part`` of the write belongs to."""
        return self._sources[part]
