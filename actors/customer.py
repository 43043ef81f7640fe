"""A customer's actor: the only writer of that customer's stream in this process.

It keeps one write in flight. What arrives meanwhile waits and is decided together in the next write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

from pykka import ActorDeadError

from actors.decisions import Batch, Entry, Pending, Refusal
from actors.intake import Intake
from actors.listeners import Listener
from actors.messages import (
    Append,
    CallResult,
    Cleared,
    DiscardRequest,
    Due,
    Loaded,
    NotSent,
    OutcomeReport,
    Passivate,
    ReceiveRequest,
    Recipient,
    Request,
    Retry,
    SubmissionRequest,
    Submit,
    Unanswered,
    Written,
)
from actors.policy import WorkPolicy, next_step
from actors.replies import Accepted, NotStored, Uncertain
from actors.runtime.actor import ServiceActor
from actors.runtime.dispatchers import Executor
from actors.runtime.runtime import Runtime
from actors.settling import Settling
from actors.work import lost_item
from domain.account import TERMINAL, Account, Refused, Transaction, UnknownTransactionError
from domain.outcomes import Approved, NotReceived, Unknown
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import (
    Action,
    AppendResult,
    Committed,
    Conflict,
    Doubt,
    Duplicate,
    Fence,
    Fenced,
    Head,
    Part,
    Snapshot,
    Store,
    StreamKey,
    WorkItem,
    WorkState,
    Write,
)

logger: Final = logging.getLogger(__name__)

BATCH_MAX: Final = 64
"""Requests and reports decided together."""
WAITING_MAX: Final = 2_000
"""Requests that may wait for one customer; a report is never refused."""
CACHED_MAX: Final = 128
"""Unfinished transactions that an actor remembers; older ones are loaded when their outcome comes."""
CRASHES_MAX: Final = 3
"""How often one message may be there when its actor dies before it is given up."""
RETRY_S: Final = 0.5
"""Wait before the store is asked again after it did not answer."""

_NOT_RECORDED: Final = Unknown("this process could not record what became of it")
_NOTHING: Final[frozenset[str]] = frozenset()  # one for all: each new one takes 216 bytes


@dataclass(frozen=True, slots=True)
class Collaborators:
    """What every customer's actor works with."""

    runtime: Runtime
    store: Store
    loader: Executor
    journal: Recipient
    supervisor: Recipient
    dead_letters: Recipient
    address: Callable[[StreamKey], Recipient]
    policies: Mapping[str, WorkPolicy]
    intake: Intake
    settling: Settling
    owner: str
    listener: Listener
    leases_unknown: Callable[[], None]
    next_serial: Callable[[], int]


class _LetGo:
    """Hears whether a lease was given up. One that was not is given back with all others, at the next beat."""

    __slots__ = ("_leases_unknown",)

    def __init__(self, leases_unknown: Callable[[], None]) -> None:
        self._leases_unknown = leases_unknown

    def tell(self, message: object, /) -> None:
        if isinstance(message, Written) and isinstance(message.result, Unanswered):
            self._leases_unknown()


class CustomerStreamActor(ServiceActor):
    """Takes requests, submissions and reports; answers requests, and passes work on to be done or done again."""

    def __init__(self, *, stream: StreamKey, collaborators: Collaborators) -> None:
        super().__init__()
        self._stream = stream
        self._with = collaborators
        self._address = collaborators.address(stream)
        self._account: Account | None = None
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
            case Request() | SubmissionRequest() | OutcomeReport():
                self._arrived(message)
            case Written(serial=serial, result=result) if serial == self._awaited:
                self._awaited = None
                self._written(result)
            case Loaded(serial=serial, result=result) if serial == self._awaited:
                self._awaited = None
                self._loaded(result)
            case Retry():
                self._pausing = False
            case Passivate() if self.at_rest and self.actor_inbox.close_if_empty():
                self._stop()
                return
        self._advance()

    def salvage(self) -> list[Pending]:
        """What was in hand goes to the successor: it loads afresh and sees what of it is on record."""
        if self._batch is not None:
            self._doubt(self._batch)
        kept: list[Pending] = []
        for pending in self._deciding:
            if isinstance(pending, SubmissionRequest) and pending.cleared:
                continue  # it may be on its way: there is nothing left to do for it here
            if isinstance(pending, Request | SubmissionRequest) and pending.event_ids:
                pending.in_doubt = True  # it was put into a write, and only its answer would say what became of that
            pending.crashes += 1
            if self._tolerable(pending):
                kept.append(pending)
        return [*kept, *self._waiting]

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in hand and nothing waits."""
        return self._awaited is None and not self._waiting and not self._pausing

    def _arrived(self, pending: Pending) -> None:
        self.took()
        if isinstance(pending, Request) and len(self._waiting) >= WAITING_MAX and pending.take():
            pending.reply.set(NotStored("Too many commands wait for this customer."))
            return
        if isinstance(pending, SubmissionRequest) and self._in_hand_already(pending):
            self._clear(pending, None)
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
        if self._account is None:
            self._load()
            return
        self._take_up()
        runtime = self._with.runtime
        batch = Batch(self._stream, self._account, self._head, runtime.now(), runtime.new_id)
        try:
            for pending in self._deciding:
                self._add(batch, pending)
        except UnknownTransactionError as error:
            if error.args[0] in self._asked:
                raise  # it was looked for and is not there: a defect, not a cache that is short
            self._put_back()
            self._load()
            return
        write = batch.write()
        if write is not None:
            self._batch = batch
            self._awaited = self._with.next_serial()
            self._with.journal.tell(Append(write, self._awaited, self.actor_ref))
            return
        self._settle(batch)
        if batch.refusals:
            self._confirm(batch.refusals)
        else:
            self._deciding = []
            self._advance()

    def _take_up(self) -> None:
        """The next requests and reports, in order; one that met trouble goes alone, so that it troubles nobody else.

        A piece of work is in a batch once: a fence looks at its token as it was before the batch.
        """
        waiting, taken = self._waiting, self._deciding
        works = {work_id for pending in taken if (work_id := _work_id(pending)) is not None}
        while waiting and len(taken) < BATCH_MAX and not (taken and (waiting[0].crashes or taken[0].crashes)):
            work_id = _work_id(waiting[0])
            if work_id is not None:
                if work_id in works:
                    break
                works.add(work_id)
            taken.append(waiting.pop(0))

    def _add(self, batch: Batch, pending: Pending) -> None:
        if isinstance(pending, OutcomeReport):
            policy = self._with.policies[pending.item.gateway]
            batch.add_report(pending, policy, self._with.runtime.random(), self._settle_left_s(pending, policy))
        elif isinstance(pending, SubmissionRequest):
            batch.add_submission(pending)
        elif not pending.reply.done:  # given up in an earlier round of the same batch
            self._add_request(batch, pending)

    def _add_request(self, batch: Batch, request: Request) -> None:
        known = request.command.transaction_id
        if request.event_ids and known not in batch.account.transactions and known not in self._asked:
            raise UnknownTransactionError(known)  # it was written before, maybe: first see whether it is on record
        # One in doubt is written again at any time, under the same event ids: only that settles what became of it.
        expired = self._with.runtime.monotonic() >= request.deadline and not request.in_doubt
        if expired and not (isinstance(request, ReceiveRequest) and known in batch.account.transactions):
            if _take(request):
                request.reply.set(NotStored("The deadline passed before it could be stored."))
            return
        if not _take(request):
            return
        if isinstance(request, DiscardRequest):
            batch.add_discard(request, self._with.policies.get(request.item.gateway))
            return
        assert isinstance(request, ReceiveRequest)
        if request.leased is None:  # once: a write that is repeated must say what the first one said
            request.leased = self._with.intake.open[request.command.gateway]
        batch.add_request(request, self._with.owner if request.leased else None)

    def _settle_left_s(self, report: OutcomeReport, policy: WorkPolicy) -> float:
        """How long a provider without keys may still come to know of what it says that it never received."""
        if policy.honours_keys or not isinstance(report.result, Unknown | NotReceived):
            return 0.0
        item = report.item
        orphaned = item.action is Action.SUBMIT and item.doubt is Doubt.SENT and report.asked_at is None
        sent_within_s = policy.permit_s if orphaned else 0.0
        return self._with.settling.left_s(item, policy.settle_s, report.asked_at, sent_within_s=sent_within_s)

    # the store's answers

    def _written(self, result: AppendResult | Unanswered) -> None:
        batch, self._batch = self._batch, None
        assert batch is not None
        if isinstance(result, Committed):
            self._committed(batch)
        else:
            self._account = None  # load again: the record is not what it was held for
            self._not_committed(batch, result)
            self._put_back()

    def _committed(self, batch: Batch) -> None:
        self._account, self._head, self._asked = _trimmed(batch.account), batch.head, _NOTHING
        self._with.listener.recorded(self._stream, batch.recorded)
        self._settle(batch)
        if batch.refusals and not batch.recorded:  # a write without events looks at no head and proves none
            self._confirm(batch.refusals)
            return
        for refusal in batch.refusals:  # the stream ended where they saw it end: the commit proves it
            refusal.request.reply.set(refusal.refused)
        self._deciding = []

    def _not_committed(self, batch: Batch, result: Conflict | Duplicate | Fenced | Unanswered) -> None:
        match result:
            case Conflict():
                pass
            case Duplicate(part=part):
                source = batch.source_of(part)
                assert isinstance(source, OutcomeReport)  # nobody else makes claims
                source.reviewed = True
            case Fenced(part=part):
                self._fenced(batch.source_of(part))
            case Unanswered(uncertain=True, error=error):
                self._doubt(batch)
                if not isinstance(error, StoreUnavailableError | CommitUncertainError):
                    self._suspect()
                self._pause()
            case Unanswered(error=StoreUnavailableError()):
                self._refuse_deciding("The store is not available.")
                self._pause()
            case Unanswered(error=error):
                self._unstorable(error)
            case _:
                assert_never(result)

    def _fenced(self, source: Pending) -> None:
        """Somebody else has the work by now."""
        if isinstance(source, OutcomeReport):
            logger.warning("a stale owner's report is kept as evidence only", extra=_fields(source))
            source.stale = True
            if isinstance(source.result, Approved):
                self._with.settling.accepted(source.item.work_id)
            return
        logger.warning("somebody else has the work by now", extra=_fields(source))
        if isinstance(source, SubmissionRequest):
            self._clear(source, None)
        else:
            source.reply.set(Refused("dead-letter-busy", "The dead letter was taken up meanwhile."))
        self._deciding.remove(source)  # not before: the successor of an actor that dies here must know of it

    def _loaded(self, result: Snapshot | BaseException) -> None:
        confirming, self._confirming = self._confirming, []
        if isinstance(result, BaseException):
            logger.warning("a customer cannot be loaded: %r", result, extra={"fields": {"stream": self._stream.id}})
            self._refuse_deciding("The store is not available.")
            self._put_back()
            for pending in [*self._waiting]:
                if isinstance(pending, Request) and pending.take():
                    self._waiting.remove(pending)
                    pending.reply.set(NotStored("The store is not available."))
            self._pause()
            return
        if confirming and result.head == self._head and self._account is not None:
            for refusal in confirming:
                refusal.request.reply.set(refusal.refused)
            self._deciding = []
        else:
            self._put_back()
        self._account, self._head = result.account, result.head

    def _confirm(self, refusals: list[Refusal]) -> None:
        """Ask the store whether the stream still ends where these saw it end."""
        self._deciding = [refusal.request for refusal in refusals]
        self._confirming = refusals
        self._load()

    def _settle(self, batch: Batch) -> None:
        """What is on record now is answered, and its work goes on its way."""
        for entry in batch.entries:
            match entry.source:
                case Request() as request:
                    self._accepted(entry, request)
                case SubmissionRequest() as submission:
                    self._clear(submission, entry.item)
                    self._moved(entry, submission.item)
                case OutcomeReport(item=item, stale=stale):
                    if not stale and (entry.moved is None or entry.moved.action is Action.SUBMIT):
                        self._with.settling.forget(item.work_id)
                    self._moved(entry, item)
                case _:
                    assert_never(entry.source)

    def _clear(self, submission: SubmissionRequest, item: WorkItem | None) -> None:
        """Say to the supervisor that ``item`` may go out, or (None) that nothing is to be sent."""
        if submission.cleared:
            return
        submission.cleared = True  # first: twice could be two payments
        try:
            self._with.supervisor.tell(Cleared(submission.item.gateway, submission.permit, item))
        except BaseException:
            submission.cleared = False
            raise

    def _moved(self, entry: Entry, item: WorkItem) -> None:
        if entry.moved is None:
            return
        if entry.moved.state in {WorkState.DEAD, WorkState.PARKED}:
            self._with.listener.dead_letter(item, entry.moved)
        self._with.dead_letters.tell(Due(item.gateway, entry.moved.delay_s))

    def _accepted(self, entry: Entry, request: Request) -> None:
        assert entry.transaction is not None
        if isinstance(request, ReceiveRequest) and not request.handed_over:
            assert entry.item is not None
            request.handed_over = True  # first: twice would be worse than not at all
            try:
                self._hand_over(entry.item, leased=entry.leased)
            except BaseException:
                request.handed_over = False
                raise
        if not request.reply.done:
            request.reply.set(Accepted(entry.transaction))

    def _hand_over(self, item: WorkItem, *, leased: bool) -> None:
        if leased:
            self._with.supervisor.tell(Submit(item.gateway, (item,)))
        elif self._with.intake.processing:
            self._with.dead_letters.tell(Due(item.gateway, 0.0))

    # trouble

    def _unstorable(self, error: BaseException) -> None:
        """The database refuses something in hand. Alone, each shows whether it is the bad one."""
        if len(self._deciding) == 1:
            logger.error("cannot be stored: %s", error, extra=_fields(self._deciding[0]))
            self._refuse_deciding("It cannot be stored.")
        for pending in self._deciding:
            pending.crashes += 1
        self._deciding = [pending for pending in self._deciding if self._tolerable(pending)]

    def _tolerable(self, pending: Pending) -> bool:
        """Whether to try once more what was there when something broke. What is not is answered here."""
        if pending.crashes <= CRASHES_MAX:
            return True
        logger.error("given up after it met trouble %s times", pending.crashes, extra=_fields(pending))
        if isinstance(pending, Request):
            if not pending.reply.done:
                pending.reply.set(Uncertain(pending.command.transaction_id))
            if isinstance(pending, ReceiveRequest) and pending.leased and not pending.handed_over:
                self._let_go(lost_item(self._stream, pending.command))
            return False
        if isinstance(pending, SubmissionRequest):
            if pending.crashes <= 2 * CRASHES_MAX:
                return True
            item = pending.item
            for token in (item.token, item.token + 1):  # its write may be stored; whichever is not the work's is fenced
                self._let_go(replace(item, token=token), NotSent("that it is about to be sent cannot be recorded"))
            self._clear(pending, None)
            return False
        if pending.crashes > 2 * CRASHES_MAX:
            self._let_go(pending.item)
            return False
        # The work must go on all the same: as one whose outcome is not known, which no odd answer can break.
        pending.result, pending.event_ids = Unknown("the gateway's answer cannot be recorded"), []
        return True

    def _let_go(self, item: WorkItem, result: CallResult = _NOT_RECORDED) -> None:
        """Give up a lease that nobody here works on any more: the work goes on as ``result`` has it.

        The answer does not matter: a row that is not there, or is somebody else's by now, is fenced off.
        """
        policy = self._with.policies[item.gateway]
        now, chance = self._with.runtime.now(), self._with.runtime.random()
        change = next_step(item, result, policy, now=now, chance=chance, status=None)
        part = Part(fence=Fence(item.work_id, item.token), work=(change,))
        write = Write(self._stream, self._head, (part,))
        self._with.journal.tell(Append(write, 0, _LetGo(self._with.leases_unknown)))

    def _doubt(self, batch: Batch) -> None:
        """It is not known whether ``batch`` is stored: that a load does not find it says nothing, it may land later."""
        for entry in batch.entries:
            if isinstance(entry.source, Request | SubmissionRequest):
                entry.source.in_doubt = True

    def _suspect(self) -> None:
        """Something in hand meets a defect. From now on each goes alone, and after those who met none."""
        for pending in self._deciding:
            # A report is not given up for a store's defect.
            limit = 2 * CRASHES_MAX if isinstance(pending, OutcomeReport) else 2 * CRASHES_MAX + 1
            pending.crashes = min(pending.crashes + 1, limit)
        self._waiting.extend(pending for pending in self._deciding if self._tolerable(pending))
        self._deciding = []

    def _refuse_deciding(self, reason: str) -> None:
        """Answer the requests in hand: nothing of them is stored. All else stays, and so do requests in doubt."""
        kept: list[Pending] = []
        for pending in self._deciding:
            if not isinstance(pending, Request) or pending.in_doubt:
                kept.append(pending)
            elif not pending.reply.done:
                pending.reply.set(NotStored(reason))
        self._deciding = kept

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
            known: None for pending in self._waiting[:BATCH_MAX] if (known := _transaction_id(pending)) is not None
        }
        if self._account is not None:
            wanted.update(dict.fromkeys(self._account.transactions))
        self._asked = frozenset(wanted)
        store, stream, itself = self._with.store, self._stream, self.actor_ref

        def load() -> None:
            try:
                result: Snapshot | BaseException = store.load(stream, tuple(wanted))
            except BaseException as error:  # noqa: BLE001  # the actor waits for an answer, whatever it is
                result = error
            with suppress(ActorDeadError):  # its successor asks for itself
                itself.tell(Loaded(serial, result))

        self._with.loader.submit(load)


def _take(request: Request) -> bool:
    """Take the request, unless it is taken already; False when the waiting thread gave it up first."""
    if not request.taken:
        request.taken = request.take()
    return request.taken


def _work_id(pending: Pending) -> str | None:
    return pending.item.work_id if isinstance(pending, DiscardRequest | SubmissionRequest | OutcomeReport) else None


def _transaction_id(pending: Pending) -> str | None:
    if isinstance(pending, OutcomeReport | SubmissionRequest):
        return pending.item.transaction.transaction_id if pending.item.transaction is not None else None
    if isinstance(pending, ReceiveRequest) and not pending.taken:
        return None  # a new command's cannot be on record
    return pending.command.transaction_id


def _trimmed(account: Account) -> Account:
    """Forget what is finished, and what has been unfinished for long."""
    open_ones: dict[str, Transaction] = {
        key: transaction for key, transaction in account.transactions.items() if transaction.status not in TERMINAL
    }
    for key in list(open_ones)[: max(len(open_ones) - CACHED_MAX, 0)]:
        del open_ones[key]
    return Account(account.customer_id, account.version, account.balances, open_ones)


def _fields(pending: Pending) -> dict[str, dict[str, str]]:
    if isinstance(pending, OutcomeReport):
        return {"fields": {"work_id": pending.item.work_id, "result": type(pending.result).__name__}}
    if isinstance(pending, SubmissionRequest):
        return {"fields": {"work_id": pending.item.work_id}}
    return {"fields": {"transaction_id": pending.command.transaction_id}}
