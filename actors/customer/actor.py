"""A customer's actor: the only writer of that customer's stream in this process.

It keeps one write in flight. What arrives meanwhile waits and is decided together in the next write.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, assert_never

from pykka import ActorDeadError

from actors.customer.after_commit import clear, hand_over
from actors.customer.batch import Batch, Pending, Refusal
from actors.customer.context import CustomerContext
from actors.customer.poison import PoisonMessagePolicy, mark_in_doubt, refuse
from actors.customer.rebase import rebase
from actors.customer.replay import repeated
from actors.customer.restored import Report, judged, without_transaction
from actors.gateways.retry_policy import RetryPolicy
from actors.messages import (
    AboutWork,
    Append,
    DiscardRequest,
    Loaded,
    OutcomeReport,
    Passivate,
    ReceiveRequest,
    Request,
    Retry,
    SubmissionRequest,
    Unanswered,
    Written,
)
from actors.operations.callback import CallbackReport, CallbackRequest, add_callback, add_stored_callback
from actors.operations.operator_commands import (
    AdjustRequest,
    CloseReviewRequest,
    ResolveRequest,
    add_adjustment,
    add_closing,
    add_resolution,
)
from actors.replies import NotStored, Uncertain
from actors.runtime.actor import ServiceActor
from domain.account import TERMINAL, Account, Refused, Transaction, UnknownTransactionError
from domain.outcomes import NotReceived, Unknown
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import (
    Action,
    AppendResult,
    Committed,
    Conflict,
    Duplicate,
    Fenced,
    Head,
    Lease,
    Snapshot,
    StoredEvent,
    StreamKey,
)

logger: Final = logging.getLogger(__name__)

BATCH_MAX: Final = 64
"""Requests and reports decided together."""
WAITING_MAX: Final = 2_000
"""Requests that may wait for one customer; a report is never refused."""
CACHED_MAX: Final = 128
"""Unfinished transactions that an actor remembers; older ones are loaded when their outcome comes."""
RETRY_S: Final = 0.5
"""Wait before the store is asked again after it did not answer."""

_UNAVAILABLE: Final = "The store is not available."
_NOTHING: Final[frozenset[str]] = frozenset()  # one for all: each new one takes 216 bytes


class CustomerStreamActor(ServiceActor):
    """Takes requests, submissions and reports; answers requests, and passes work on to be done or done again."""

    def __init__(self, *, stream: StreamKey, collaborators: CustomerContext) -> None:
        super().__init__()
        self._stream = stream
        self._with = collaborators
        self._address = collaborators.address(stream)
        self._account: Account | None = None
        self._generation = 0
        """The store's generation when the account was loaded; state of another generation is unusable."""
        self._head = Head()
        self._waiting: list[Pending] = []  # not a deque: an empty one takes 760 bytes, in each of 100,000 actors
        self._deciding: list[Pending] = []
        """Taken out of ``_waiting`` and not settled yet."""
        self._batch: Batch | None = None
        self._confirming: list[Refusal] = []
        self._awaited: int | None = None
        """Number of the load or append whose answer is awaited."""
        self._asked = _NOTHING
        """Transactions that the newest load asked for."""
        self._pausing = False

    def receive(self, message: Any) -> None:
        """Handle one message, then go on with whatever can be decided."""
        match message:
            case Request() | AboutWork():
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

    def recover(self) -> list[Pending]:
        """What was in hand goes to the successor: it loads afresh and sees what of it is on record."""
        if self._batch is not None:
            mark_in_doubt(self._batch)
        return [*self._giving_up.after_a_death(self._deciding), *self._waiting]

    def on_poison_message(self, message: Any) -> None:
        """It killed one after the other before it was taken: whoever waits for it is answered all the same."""
        if isinstance(message, Request | AboutWork):
            self._giving_up.drop(message)

    @property
    def _giving_up(self) -> PoisonMessagePolicy:
        return PoisonMessagePolicy(self._stream, self._with)  # when it is needed: 100,000 actors never do

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in hand and nothing waits."""
        return self._awaited is None and not self._waiting and not self._pausing

    def _arrived(self, pending: Pending) -> None:
        self.ack()
        if isinstance(pending, Request) and len(self._waiting) >= WAITING_MAX and pending.take():
            pending.reply.set(NotStored("Too many commands wait for this customer."))
            return
        if isinstance(pending, SubmissionRequest) and self._in_hand_already(pending):
            clear(pending, None, self._with)
            return
        self._waiting.append(pending)

    def _in_hand_already(self, submission: SubmissionRequest) -> bool:
        """Whether the same work was handed over twice: a second record of it could pass for the first one's."""
        item = submission.item
        return any(
            isinstance(it, SubmissionRequest) and (it.item.work_id, it.item.token) == (item.work_id, item.token)
            for it in (*self._deciding, *self._waiting)
        )

    # deciding

    def _advance(self) -> None:
        if self._awaited is not None or self._pausing or not self._waiting:
            return
        if self._account is None or self._generation != self._with.generations.generation:
            self._account = None
            self._load()
            return
        self._take_up()
        runtime = self._with.runtime
        batch = Batch(self._stream, self._account, self._head, runtime.now(), runtime.new_id)
        try:
            for pending in self._deciding:
                self._add(batch, pending)
        except UnknownTransactionError as error:
            transaction_id = error.args[0]
            looked = transaction_id in self._asked
            if looked:  # and it is not on record
                gone, drop = self._deciding, self._giving_up.drop
                self._deciding = without_transaction(gone, transaction_id, self._with, drop)
            self._put_back()
            if looked:
                self._advance()
            else:
                self._load()
            return
        if batch.recorded:  # the commit will prove that the stream ends where they saw it end
            batch.record_refusals()
        if self._append(batch):
            return
        hand_over(batch, self._with)
        if batch.refusals:
            self._confirm(batch.refusals)
        else:
            self._deciding = []
            self._advance()

    def _append(self, batch: Batch) -> bool:
        """Have the journal store ``batch``; False when there is nothing to store."""
        write = batch.write()
        if write is None:
            return False
        self._batch = batch
        self._awaited = self._with.next_serial()
        self._with.journal.tell(Append(write, self._awaited, self.actor_ref, generation=self._generation))
        return True

    def _take_up(self) -> None:
        """The next requests and reports, in order; one that met trouble goes alone, so that it troubles nobody else.

        So does one whose events may be stored already: a write is known again by its events, and nothing else in it.
        A piece of work is in a batch once: a fence looks at its token as it was before the batch. So is an idempotency
        key: whoever comes with it again is told what has become of the first one, once that is stored.
        """
        waiting, taken = self._waiting, self._deciding
        met = {thing for pending in taken if (thing := pending.unique) is not None}
        while waiting and len(taken) < BATCH_MAX and not (taken and (waiting[0].alone or taken[0].alone)):
            thing = waiting[0].unique
            if thing is not None:
                if thing in met:
                    break
                met.add(thing)
            taken.append(waiting.pop(0))

    def _add(self, batch: Batch, pending: Pending) -> None:
        if isinstance(pending, OutcomeReport):
            policy = self._with.policies[pending.item.gateway]
            batch.add_report(pending, policy, self._with.runtime.random(), self._settlement_left_s(pending, policy))
        elif isinstance(pending, SubmissionRequest):
            batch.add_submission(pending)
        elif isinstance(pending, CallbackReport):
            add_stored_callback(batch, pending)
        elif isinstance(pending, Request) and not pending.reply.done:  # given up in an earlier round of the same batch
            self._add_request(batch, pending)

    def _add_request(self, batch: Batch, request: Request) -> None:
        known = request.transaction_id
        held = known is None or known in batch.account.transactions or known in self._asked
        if request.in_doubt and not held:
            raise UnknownTransactionError(known)  # it may be stored: first see whether it is on record
        # One in doubt is written again at any time, under the same event ids: only that settles what became of it.
        doubtful = request.in_doubt or request.refusal_in_doubt
        expired = self._with.runtime.monotonic() >= request.deadline and not doubtful
        if expired and not (isinstance(request, ReceiveRequest) and known in batch.account.transactions):
            if request.take_up():
                request.reply.set(NotStored("The deadline passed before it could be stored."))
            return
        if not request.take_up():
            return
        match request:
            case DiscardRequest():
                batch.add_discard(request, self._with.policies.get(request.item.gateway))
            case ResolveRequest():
                add_resolution(batch, request)
            case AdjustRequest():
                add_adjustment(batch, request)
            case CloseReviewRequest():
                add_closing(batch, request)
            case CallbackRequest():
                add_callback(batch, request)
            case _:
                assert isinstance(request, ReceiveRequest)
                self._add_command(batch, request)

    def _add_command(self, batch: Batch, request: ReceiveRequest) -> None:
        if request.leased is None:  # once: a write that is repeated must say what the first one said
            request.leased = self._with.backpressure.open[request.command.gateway]
        batch.add_request(request, self._with.owner if request.leased else None)

    def _settlement_left_s(self, report: OutcomeReport, policy: RetryPolicy) -> float:
        """How long a provider without keys may still come to know of what it says that it never received."""
        if policy.honours_keys or not isinstance(report.result, Unknown | NotReceived):
            return 0.0
        item = report.item
        # Its own sender has said its last word. Of anybody else's that this process hears of, also by a lookup when
        # whoever took the work over is gone as well, the permit may be as good as new.
        own = item.action is Action.SUBMIT and report.asked_at is not None
        sent_within_s = 0.0 if own else policy.permit_s
        return self._with.settlement.left_s(item, policy.settle_s, report.asked_at, sent_within_s=sent_within_s)

    # the store's answers

    def _written(self, result: AppendResult | Unanswered) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None
        if isinstance(result, Committed):
            self._committed(batch)
        elif isinstance(result, Conflict):
            self._catch_up(result.missed)
            self._put_back()
        else:
            self._account = None  # load again: the record is not what it was held for
            self._not_committed(batch, result)
            self._put_back()

    def _committed(self, batch: Batch) -> None:
        self._account, self._head, self._asked = _trimmed(batch.account), batch.head, _NOTHING
        self._with.listener.recorded(self._stream, batch.recorded, batch.account.transactions)
        hand_over(batch, self._with)
        if batch.refusals and not (batch.recorded or batch.confirmed):
            self._confirm(batch.refusals)  # a write without events looks at no head and proves none
            return
        self._refuse(batch.refusals)  # the stream ended where they saw it end: the commit proves it
        self._deciding = []

    def _refuse(self, refusals: Iterable[Refusal]) -> None:
        for request, refused in refusals:
            if request.reply.done:
                continue
            if request.may_be_stored(self._head.version):  # "refused" would be a guess
                request.reply.set(Uncertain(request.transaction_id))
            else:
                request.reply.set(refused)

    def _catch_up(self, missed: Sequence[StoredEvent]) -> None:
        """Another process went on with the stream: nothing of the batch is stored, and it is decided on anew."""
        assert self._account is not None
        known = rebase(self._account, missed)
        if known is None:
            self._account = None
        else:
            self._account, self._head = known

    def _not_committed(self, batch: Batch, result: Duplicate | Fenced | Unanswered) -> None:
        match result:
            case Duplicate(part=part, claim=claim):
                source = batch.source_of(part)
                answer = repeated(source, claim)
                if answer is not None:
                    assert isinstance(source, Request)
                    if not source.reply.done:
                        source.reply.set(answer)
                    self._deciding.remove(source)
            case Fenced(part=part):
                self._fenced(batch.source_of(part))
            case Unanswered(uncertain=True, error=error):
                mark_in_doubt(batch)
                if not isinstance(error, StoreUnavailableError | CommitUncertainError):
                    self._waiting.extend(self._giving_up.after_a_defect(self._deciding))
                    self._deciding = []
                self._pause()
            case Unanswered(error=StoreUnavailableError()):
                self._deciding = refuse(self._deciding, _UNAVAILABLE)
                self._pause()
            case Unanswered(error=error):
                self._deciding = self._giving_up.after_a_refusal(self._deciding, error)
            case _:
                assert_never(result)

    def _fenced(self, source: Pending) -> None:
        """Handle a stale token: another owner has the work, or the store is earlier than this process's state."""
        if isinstance(source, Report):
            source.fenced = True  # the next load decides which
            return
        assert isinstance(source, Request)
        logger.warning("somebody else has the work by now", extra={"fields": source.fields})
        source.reply.set(Refused("dead-letter-busy", "The dead letter was taken up meanwhile."))
        self._deciding.remove(source)  # not before: the successor of an actor that dies here must know of it

    def _judge(self, leases: Mapping[str, Lease | None]) -> None:
        """Decide whether to continue with fenced reports, given the present ``leases`` of their work."""
        assert self._account is not None
        for pending in [*self._waiting]:
            if (
                isinstance(pending, Report)
                and pending.fenced
                and pending.work_id in leases
                and not judged(pending, leases[pending.work_id], self._account, self._with)
            ):
                self._waiting.remove(pending)

    def _loaded(self, result: Snapshot | BaseException) -> None:
        confirming, self._confirming = self._confirming, []
        if isinstance(result, BaseException):
            self._asked = _NOTHING  # the load failed, so nothing is known of the transactions that were asked for
            logger.warning("a customer cannot be loaded: %r", result, extra={"fields": {"stream": self._stream.id}})
            self._deciding = refuse(self._deciding, _UNAVAILABLE)
            self._put_back()
            for pending in [*self._waiting]:
                if isinstance(pending, Request) and pending.take():
                    self._waiting.remove(pending)
                    pending.reply.set(NotStored(_UNAVAILABLE))
            self._pause()
            return
        confirmed = confirming and result.head == self._head and self._account is not None
        self._account, self._head = result.account, result.head
        if confirmed:
            self._confirmed(confirming)
        else:
            self._put_back()

    def _confirmed(self, refusals: list[Refusal]) -> None:
        """They hold. Those under an idempotency key are answered once that is on record."""
        runtime = self._with.runtime
        assert self._account is not None
        batch = Batch(self._stream, self._account, self._head, runtime.now(), runtime.new_id)
        batch.confirmed = True
        version = self._head.version
        batch.refusals = [
            refusal
            for refusal in refusals
            if refusal.request.once is not None and not refusal.request.may_be_stored(version)
        ]
        batch.record_refusals()
        self._refuse(refusal for refusal in refusals if refusal not in batch.refusals)
        self._deciding = [refusal.request for refusal in batch.refusals]
        self._append(batch)

    def _confirm(self, refusals: list[Refusal]) -> None:
        """Ask the store whether the stream still ends where these saw it end."""
        self._deciding = [refusal.request for refusal in refusals]
        self._confirming = refusals
        self._load()

    # going on

    def _put_back(self) -> None:
        """Decide again on what is in hand, before anything that came later."""
        self._waiting[:0] = self._deciding
        self._deciding = []

    def _pause(self) -> None:
        self._pausing = True
        address = self._address
        self._with.runtime.after(RETRY_S, lambda: address.tell(Retry()))

    def _load(self) -> None:
        serial = self._awaited = self._with.next_serial()
        wanted = {
            known: None
            for pending in self._waiting[:BATCH_MAX]
            if (known := pending.transaction_id) is not None
            and not (isinstance(pending, ReceiveRequest) and not pending.taken)  # a new one cannot be on record
        }
        if self._account is not None:
            wanted.update(dict.fromkeys(self._account.transactions))
        self._asked = frozenset(wanted)
        self._generation = self._with.generations.generation
        fenced = [it.work_id for it in self._waiting[:BATCH_MAX] if isinstance(it, Report) and it.fenced]
        store, stream, itself = self._with.store, self._stream, self.actor_ref

        def load() -> None:
            leases: dict[str, Lease | None] = {}
            try:
                result: Snapshot | BaseException = store.load(stream, tuple(wanted))
                leases.update((work_id, store.lease(work_id)) for work_id in fenced)
            except BaseException as error:  # noqa: BLE001  # the actor waits for an answer, whatever it is
                result = error
            with suppress(ActorDeadError):  # its successor asks for itself
                itself.tell(Loaded(serial, result, leases))

        self._with.loader.submit(load)


def _trimmed(account: Account) -> Account:
    """Forget what is finished, and what has been unfinished for long."""
    open_ones: dict[str, Transaction] = {
        key: transaction for key, transaction in account.transactions.items() if transaction.status not in TERMINAL
    }
    for key in list(open_ones)[: max(len(open_ones) - CACHED_MAX, 0)]:
        del open_ones[key]
    return Account(account.customer_id, account.version, account.balances, open_ones)
