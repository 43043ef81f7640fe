"""A customer's actor: the only writer of that customer's stream in this process.

It keeps one write in flight. Operations that arrive meanwhile wait and are decided together in the next write.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, assert_never

from actors.customer.batching import BATCH_MAX, take_up
from actors.customer.context import CustomerContext
from actors.customer.loading import load, trimmed, wanted_for
from actors.customer.operation import Batch, Operation, Refusal
from actors.customer.poison import PoisonMessagePolicy, mark_in_doubt, refuse
from actors.customer.rebase import rebase
from actors.messages import Append, Loaded, Passivate, Retry, Unanswered, Written
from actors.runtime.actor import ServiceActor
from domain.account import Account, UnknownTransactionError
from store.errors import CommitUncertainError, CorruptStoreError, StoreUnavailableError
from store.port import (
    AppendResult,
    Committed,
    Conflict,
    Duplicate,
    Fenced,
    Head,
    Lease,
    Snapshot,
    StreamKey,
)

logger: Final = logging.getLogger(__name__)

WAITING_MAX: Final = 2_000
"""Commands that may wait for one customer. A report about work is never refused."""
RETRY_S: Final = 0.5
"""Wait before the next request to a store that did not answer."""

_UNAVAILABLE: Final = "The store is not available."
# Idle actors share these. A list of its own takes 56 bytes, a set 216.
_NOTHING: Final[frozenset[str]] = frozenset()
_NONE: Final = ()


class CustomerStreamActor(ServiceActor):
    """Decides operations in batches, has the journal store them, and calls what follows the commit."""

    def __init__(self, *, stream: StreamKey, context: CustomerContext) -> None:
        super().__init__()
        self._stream = stream
        self._context = context
        self._account: Account | None = None
        self._generation = 0
        """The store's generation when the account was loaded. State of another generation is unusable."""
        self._head = Head()
        self._waiting: list[Operation] = []  # not a deque: an empty one takes 760 bytes, in each of 100,000 actors
        self._deciding: Sequence[Operation] = _NONE
        """Taken out of ``_waiting`` and not settled yet."""
        self._batch: Batch | None = None
        self._confirming: Sequence[Refusal] = _NONE
        self._awaited: int | None = None
        """Number of the load or append whose answer is awaited."""
        self._asked = _NOTHING
        """Transactions that the newest load looked for."""
        self._pausing = False

    def receive(self, message: Any) -> None:
        """Handle one message, then decide the operations that can be decided."""
        match message:
            case Operation():
                self._arrived(message)
            case Written(serial=serial, result=result) if serial == self._awaited:
                self._awaited = None
                self._written(result)
            case Loaded(serial=serial, result=result) if serial == self._awaited:
                self._awaited = None
                self._loaded(result)
                if message.leases and self._account is not None:
                    self._judge(message.leases)
            case Retry():
                self._pausing = False
            case Passivate() if self.at_rest and self.actor_inbox.close_if_empty():
                self._stop()
                return
        self._advance()

    def recover(self) -> list[Operation]:
        """Pass the operations in hand to the successor. It loads again and finds which of them are on record."""
        if self._batch is not None:
            mark_in_doubt(self._batch)
        return [*self._poison.after_a_death(self._deciding), *self._waiting]

    def on_poison_message(self, message: Any) -> None:
        """Answer an operation that killed several actors before any of them took it."""
        if isinstance(message, Operation):
            self._poison.give_up(message)

    @property
    def _poison(self) -> PoisonMessagePolicy:
        return PoisonMessagePolicy(self._stream, self._context)  # made when needed: most actors never need one

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in hand and nothing waits."""
        return self._awaited is None and not self._waiting and not self._pausing

    def _arrived(self, operation: Operation) -> None:
        self.ack()
        full = len(self._waiting) >= WAITING_MAX
        if full and operation.turn_away("Too many commands wait for this customer."):
            return
        if self._deciding or self._waiting:
            in_hand = chain(self._deciding, self._waiting)
            if operation.arrived_twice(in_hand, self._context):
                return
        self._waiting.append(operation)

    # deciding

    def _advance(self) -> None:
        if self._awaited is not None or self._pausing or not self._waiting:
            return
        context = self._context
        if self._account is None or self._generation != context.generations.generation:
            self._account = None
            self._load()
            return
        self._deciding = take_up(self._waiting, self._deciding)
        runtime = context.runtime
        batch = Batch(self._stream, self._account, self._head, runtime.now(), runtime.new_id, asked=self._asked)
        try:
            for operation in self._deciding:
                if operation.ready(batch, context):
                    operation.decide(batch, context)
        except UnknownTransactionError as error:
            self._transaction_missing(error.args[0])
            return
        if batch.recorded:  # the commit will prove that the stream ends where the refusals saw it end
            batch.record_refusals()
        if self._append(batch):
            return
        for operation in batch.operations:
            operation.after_commit(batch, context)
        if batch.refusals:
            self._confirm(batch.refusals)
        else:
            self._deciding = _NONE
            self._advance()

    def _transaction_missing(self, transaction_id: str) -> None:
        """Load again, with ``transaction_id``. If that was done already, the transaction is not on record."""
        looked = transaction_id in self._asked
        if looked:
            if not any(transaction_id in operation.to_load for operation in self._deciding):
                raise CorruptStoreError(f"{transaction_id} is the parent of a transaction, and is not on record")
            kept: list[Operation] = []
            for operation in self._deciding:
                if transaction_id not in operation.to_load:
                    kept.append(operation)
                    continue
                logger.error("its transaction is not on record", extra={"fields": operation.fields})
                if operation.without_transaction(self._stream, self._context):
                    kept.append(operation)
            self._deciding = kept
        self._put_back()
        if looked:
            self._advance()
        else:
            self._load(transaction_id)

    def _append(self, batch: Batch) -> bool:
        """Have the journal store ``batch``; False when there is nothing to store."""
        write = batch.write()
        if write is None:
            return False
        self._batch = batch
        self._awaited = self._context.next_serial()
        self._context.journal.tell(Append(write, self._awaited, self.actor_ref, generation=self._generation))
        return True

    # the store's answers

    def _written(self, result: AppendResult | Unanswered) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None
        if isinstance(result, Committed):
            self._committed(batch)
        elif isinstance(result, Conflict):
            # Another process extended the stream: nothing of the batch is stored, and it is decided again.
            assert self._account is not None
            self._account, self._head = rebase(self._account, result.missed) or (None, self._head)
            self._put_back()
        else:
            self._account = None  # load again: the record differs from what this actor holds
            self._not_committed(batch, result)
            self._put_back()

    def _committed(self, batch: Batch) -> None:
        self._account, self._head, self._asked = trimmed(batch.account), batch.head, _NOTHING
        self._context.listener.recorded(self._stream, batch.recorded, batch.account.transactions)
        for operation in batch.operations:
            operation.after_commit(batch, self._context)
        if batch.refusals:
            if not (batch.recorded or batch.confirmed):
                self._confirm(batch.refusals)  # a write without events checks no head and proves none
                return
            self._refuse(batch.refusals)  # the stream ended where they saw it end: the commit proves it
        self._deciding = _NONE

    def _refuse(self, refusals: Iterable[Refusal]) -> None:
        for operation, refused in refusals:
            operation.refused(refused, self._head.version)

    def _not_committed(self, batch: Batch, result: Duplicate | Fenced | Unanswered) -> None:
        match result:
            case Duplicate(part=part, claim=claim):
                source = batch.source_of(part)
                if source.replayed(claim):
                    self._settled(source)  # not before: the successor of an actor that dies here must have it
            case Fenced(part=part):
                source = batch.source_of(part)
                if source.fenced_off():
                    self._settled(source)  # not before: the same
            case Unanswered(uncertain=True, error=error):
                mark_in_doubt(batch)
                if not isinstance(error, StoreUnavailableError | CommitUncertainError):
                    self._waiting.extend(self._poison.after_a_defect(self._deciding))
                    self._deciding = _NONE
                self._pause()
            case Unanswered(error=StoreUnavailableError()):
                self._deciding = refuse(self._deciding, _UNAVAILABLE)
                self._pause()
            case Unanswered(error=error):
                self._deciding = self._poison.after_a_refusal(self._deciding, error)
            case _:
                assert_never(result)

    def _settled(self, operation: Operation) -> None:
        self._deciding = [it for it in self._deciding if it is not operation]

    def _judge(self, leases: Mapping[str, Lease | None]) -> None:
        """Decide whether to continue with fenced operations, given the present ``leases`` of their work."""
        assert self._account is not None
        for operation in [*self._waiting]:
            work_id = operation.work_id
            if not operation.fenced or work_id is None or work_id not in leases:
                continue
            if not operation.with_lease(leases[work_id], self._account, self._context):
                self._waiting.remove(operation)

    def _loaded(self, result: Snapshot | BaseException) -> None:
        confirming, self._confirming = self._confirming, _NONE
        if isinstance(result, BaseException):
            self._asked = _NOTHING  # the load failed, so nothing is known of the transactions that were asked for
            logger.warning("a customer cannot be loaded: %r", result, extra={"fields": {"stream": self._stream.id}})
            self._deciding = refuse(self._deciding, _UNAVAILABLE)
            self._put_back()
            for operation in [*self._waiting]:
                if operation.turn_away(_UNAVAILABLE):
                    self._waiting.remove(operation)
            self._pause()
            return
        confirmed = confirming and result.head == self._head and self._account is not None
        self._account, self._head = result.account, result.head
        if confirmed:
            self._confirmed(confirming)
        else:
            self._put_back()

    # refusals

    def _confirm(self, refusals: list[Refusal]) -> None:
        """Load the stream's head: the refusals hold if the stream still ends where they saw it end."""
        self._deciding = [refusal.operation for refusal in refusals]
        self._confirming = refusals
        self._load()

    def _confirmed(self, refusals: Sequence[Refusal]) -> None:
        """Answer the confirmed refusals. Those with a claim are answered once it is on record."""
        assert self._account is not None
        runtime = self._context.runtime
        batch = Batch(self._stream, self._account, self._head, runtime.now(), runtime.new_id)
        batch.confirmed = True
        version = self._head.version
        batch.refusals = [
            refusal for refusal in refusals if refusal.operation.refusal_claim(refusal.refused, version) is not None
        ]
        batch.record_refusals()
        self._refuse(refusal for refusal in refusals if refusal not in batch.refusals)
        self._deciding = [refusal.operation for refusal in batch.refusals]
        self._append(batch)

    # the next step

    def _put_back(self) -> None:
        """Decide the operations in hand again, before those that arrived later."""
        self._waiting[:0] = self._deciding
        self._deciding = _NONE

    def _pause(self) -> None:
        self._pausing = True
        address = self._context.address(self._stream)
        self._context.runtime.after(RETRY_S, lambda: address.tell(Retry()))

    def _load(self, *also: str) -> None:
        context = self._context
        serial = self._awaited = context.next_serial()
        first = self._waiting[:BATCH_MAX]
        wanted = tuple(dict.fromkeys((*wanted_for(first, self._account), *also)))
        self._asked = frozenset(wanted)
        self._generation = context.generations.generation
        load(context, self._stream, wanted, first, serial=serial, reply_to=self.actor_ref)
