"""What others are told once something of a customer is on record: the client, the supervisor, the dead letters.

Each is told once, also when the actor dies in the middle of it and its successor begins again.
"""

from __future__ import annotations

from actors.customer.batch import Batch, Entry
from actors.customer.context import CustomerContext
from actors.messages import (
    DeadLettered,
    OutcomeReport,
    ReceiveRequest,
    Request,
    SubmissionRecorded,
    SubmissionRequest,
    Submit,
    WorkDue,
)
from actors.replies import Accepted
from messaging.port import WorkHint
from store.port import Action, WorkItem, WorkState


def hand_over(batch: Batch, to: CustomerContext) -> None:
    """Answer for what is on record now, and send its work on its way."""
    for entry in batch.entries:
        match entry.source:
            case Request() as request:
                _accepted(entry, request, to)
            case SubmissionRequest() as submission:
                ended = _has_its_end(batch, submission)  # by something later in the very same write
                clear(submission, None if ended else entry.item, to)
                _moved(entry, submission.item, to)
            case OutcomeReport(item=item, stale=stale):
                if not stale and (entry.moved is None or entry.moved.action is Action.SUBMIT):
                    to.settlement.forget(item.work_id)
                _moved(entry, item, to)
            case _:
                pass  # a stored callback: nobody waits for it


def _has_its_end(batch: Batch, submission: SubmissionRequest) -> bool:
    known = batch.account.transactions.get(submission.transaction_id or "")
    return known is not None and known.status.terminal


def clear(submission: SubmissionRequest, item: WorkItem | None, to: CustomerContext) -> None:
    """Say to the supervisor that ``item`` may go out, or (None) that nothing is to be sent."""
    if submission.cleared:
        return
    submission.cleared = True  # first: twice could be two payments
    try:
        to.supervisor.tell(SubmissionRecorded(submission.item.gateway, submission.permit, item))
    except BaseException:
        submission.cleared = False
        raise


def _accepted(entry: Entry, request: Request, to: CustomerContext) -> None:
    if isinstance(request, ReceiveRequest) and not request.handed_over:
        assert entry.item is not None
        request.handed_over = True  # first: twice would be worse than not at all
        try:
            _new_work(entry.item, leased=entry.leased, to=to)
        except BaseException:
            request.handed_over = False
            raise
    if request.reply.done:
        return
    if entry.answer is not None:
        request.reply.set(entry.answer)
    else:
        assert entry.transaction is not None
        request.reply.set(Accepted(entry.transaction))


def _new_work(item: WorkItem, *, leased: bool, to: CustomerContext) -> None:
    if leased:
        to.supervisor.tell(Submit(item.gateway, (item,)))
    else:
        to.queue.announce(WorkHint(item.work_id, item.work_id, item.gateway))


def _moved(entry: Entry, item: WorkItem, to: CustomerContext) -> None:
    if entry.moved is None:
        return
    if entry.moved.state in {WorkState.DEAD, WorkState.PARKED}:
        to.dead_letters.tell(DeadLettered(item, entry.moved))
    else:
        to.scheduler.tell(WorkDue(item.gateway, entry.moved.delay_s))
