"""How waiting operations become one write of a customer's stream. Pure: no Pykka, no threads, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.customer.idempotency import claim_of
from domain.account import Account, Refused, Transaction, UnknownTransactionError
from domain.commands import TransactionCommand
from domain.events import TRANSACTION_EVENTS, Event, Recorded
from domain.state_machine import decide, evolve
from store.codec import Metadata, encode
from store.port import EncodedEvent, Head, Part, Review, StreamKey, Write
from store.projection import project_review

if TYPE_CHECKING:  # they import this module
    from actors.customer.command_operation import CommandOperation
    from actors.customer.operation import Operation

BATCH_MAX: Final = 64
"""Operations decided together."""


def take_up(waiting: list[Operation], in_hand: Sequence[Operation]) -> list[Operation]:
    """Return the operations ``in_hand`` and the next ones, which are removed from ``waiting``, in order.

    An operation that met trouble is alone in its batch, so that it affects no other. The same holds for one whose
    events may be stored already: a stored write is recognised by these events alone. A piece of work is in a batch
    once, because a fence compares its token as it was before the batch. An idempotency key is in a batch once, because
    a repetition is answered with the result of the first command, once that is stored.
    """
    taken = [*in_hand]
    met = {thing for operation in taken if (thing := operation.unique) is not None} if taken else set[Hashable]()
    for operation in waiting:
        if len(taken) >= BATCH_MAX or (taken and (operation.alone or taken[0].alone)):
            break
        thing = operation.unique
        if thing is not None:
            if thing in met:
                break
            met.add(thing)
        taken.append(operation)
    del waiting[: len(taken) - len(in_hand)]  # at the end: after an error each operation is still in one of the two
    return taken


class Refusal(NamedTuple):
    """A command that is refused if the stream still ends where the decision saw it end."""

    command: CommandOperation
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
            recorded = Recorded(self.head.version + 1, at, event)
            self.account = evolve(self.account, recorded)
            done = encode(self.stream, self.head, recorded, event_ids[number], metadata)
            self.head = Head(done.version, done.hash)
            encoded.append(done)
            self.recorded.append((recorded, metadata))
            if isinstance(event, TRANSACTION_EVENTS):
                self._transactions[event.transaction_id] = None
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

    def refuse(self, command: CommandOperation, refused: Refused) -> None:
        """Refuse ``command``, once the stream's head is confirmed."""
        self.refusals.append(Refusal(command, refused))

    def on_commit(self, operation: Operation) -> None:
        """Call ``operation.after_commit`` once the batch is stored.

        An operation without a part of its own relies on the record, and a commit must confirm the record first.
        """
        self.operations.append(operation)

    # what the actor calls

    def record_refusals(self) -> None:
        """Store the refusals of commands with an idempotency key, so that a repetition gets the same answer."""
        for command, refused in self.refusals:
            key = command.idempotency_key
            if key is not None and not command.may_be_stored(self.before.version):
                self.add_part(Part(claims=(claim_of(key, command.own_id, refused),)), command)

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
