"""Requests and reports that the store contradicts because it was restored to an earlier state.

A provider's report is applied under the present token of its work, or reviewed when its transaction is no longer on
record. Nothing is sent on the basis of lost records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from actors.customer.after_commit import clear
from actors.customer.batch import Pending
from actors.customer.context import CustomerContext
from actors.messages import OutcomeReport, Request, SubmissionRequest
from actors.operations.callback import CallbackReport
from actors.replies import NotStored, Uncertain
from domain.account import Account
from domain.outcomes import Approved, Declined, Unknown
from store.port import TOKENS_APART, Lease

logger: Final = logging.getLogger(__name__)

_SAYS_SOMETHING: Final = (Approved, Declined, Unknown)
_GONE: Final = "It is no longer on record."


Report = SubmissionRequest | OutcomeReport | CallbackReport
"""Messages about a piece of work."""


def judged(source: Report, lease: Lease | None, account: Account, to: CustomerContext) -> bool:
    """Whether to decide again on ``source``, which had a stale token; ``lease`` is the present one of its work."""
    source.fenced = False
    item = source.item
    gone = lease is None and source.transaction_id is not None and source.transaction_id not in account.transactions
    is_later = gone if lease is None else lease.token <= item.token
    if gone or is_later:
        logger.error("the store is earlier than what this process knows", extra={"fields": source.fields})
        to.generations.suspect()
    if isinstance(source, SubmissionRequest):
        logger.warning("somebody else has the work by now", extra={"fields": source.fields})
        clear(source, None, to)
        return False
    if gone:
        return _without_its_transaction(source)
    if lease is not None and (is_later or lease.token - item.token >= TOKENS_APART):
        if isinstance(source, CallbackReport) or isinstance(getattr(source, "result", None), _SAYS_SOMETHING):
            source.item = replace(item, token=lease.token)
            return True
        return False  # the report adds nothing to the record: its work is given back as sent
    if isinstance(source, OutcomeReport):
        logger.warning("a stale owner's report is kept as evidence only", extra={"fields": source.fields})
        source.stale = True
        if isinstance(source.result, Approved):
            to.settlement.accepted(item.work_id)
        return True
    logger.warning("somebody else has the work by now", extra={"fields": source.fields})
    return False


def without_transaction(
    pendings: Iterable[Pending], transaction_id: str, to: CustomerContext, drop: Callable[[Pending], None]
) -> list[Pending]:
    """The ``pendings`` that continue, after a load found that this transaction is not on record.

    ``drop`` gives up a report, and its lease if there is one.
    """
    kept: list[Pending] = []
    for pending in pendings:
        if pending.transaction_id != transaction_id:
            kept.append(pending)
            continue
        logger.error("its transaction is not on record", extra={"fields": pending.fields})
        if isinstance(pending, Request):
            if pending.take_up() and not pending.reply.done:
                doubtful = pending.in_doubt or pending.refusal_in_doubt
                pending.reply.set(Uncertain(transaction_id) if doubtful else NotStored(_GONE))
            continue
        to.generations.suspect()
        if isinstance(pending, OutcomeReport | CallbackReport) and _without_its_transaction(pending):
            kept.append(pending)
        else:
            drop(pending)
    return kept


def _without_its_transaction(pending: Report) -> bool:
    """Whether there is something left to decide on ``pending``."""
    if isinstance(pending, OutcomeReport):
        if pending.gone or not isinstance(pending.result, _SAYS_SOMETHING):
            return False
        pending.gone, pending.event_ids = True, []
        return True
    if isinstance(pending, CallbackReport):
        pending.command = None  # it is matched again later
    return True
