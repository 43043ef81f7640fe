"""The state machine of an account: two pure functions, ``decide`` and ``evolve``.

``DECISIONS`` has one function per command (``domain.decisions``), ``EVOLUTIONS`` one per event (``domain.evolutions``).
What refunds, captures and voids do to their parents is in ``domain.children``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from domain import children, decisions, evolutions
from domain.account import Account, IllegalTransitionError, Refused
from domain.commands import (
    Adjust,
    CloseReview,
    Command,
    Discard,
    OpenReview,
    Receive,
    ReceiveChild,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolve,
)
from domain.events import (
    Authorized,
    BalanceAdjusted,
    Completed,
    Event,
    Failed,
    OutcomeUnknown,
    Processed,
    Received,
    Recorded,
    ReviewClosed,
    ReviewOpened,
    Submitted,
    Voided,
)


def decide(account: Account, command: Command) -> Sequence[Event] | Refused:
    """Decide ``command``: the resulting events, possibly none, or the refusal.

    Raises UnknownTransactionError when the command names a transaction that ``account`` does not hold, or when it needs
    the parent of one.
    """
    return DECISIONS[type(command)](account, command)


def evolve(account: Account, recorded: Recorded) -> Account:
    """The account after ``recorded``, which must be its next event.

    Raises IllegalTransitionError when the event does not follow from the state, and UnknownTransactionError when
    ``account`` does not hold the transaction that it names, or the parent of that.
    """
    if recorded.version != account.version + 1:
        raise IllegalTransitionError(f"version {recorded.version} does not follow {account.version}")
    return EVOLUTIONS[type(recorded.event)](account, recorded.event, recorded)


DECISIONS: Final[dict[type, Callable[[Account, Any], Sequence[Event] | Refused]]] = {
    Receive: decisions.receive,
    ReceiveChild: children.receive_child,
    RecordSubmission: decisions.record_submission,
    RecordOutcome: decisions.record_outcome,
    RecordCallback: decisions.record_callback,
    Discard: decisions.discard,
    Resolve: decisions.resolve,
    OpenReview: decisions.open_review,
    Adjust: decisions.adjust,
    CloseReview: decisions.close_review,
}
"""The decision on each command."""

EVOLUTIONS: Final[dict[type, Callable[[Account, Any, Recorded], Account]]] = {
    Received: evolutions.received,
    Submitted: evolutions.advanced,
    OutcomeUnknown: evolutions.advanced,
    Processed: evolutions.advanced,
    Authorized: evolutions.advanced,
    Completed: evolutions.advanced,
    Voided: evolutions.advanced,
    Failed: evolutions.advanced,
    BalanceAdjusted: evolutions.adjusted,
    ReviewOpened: evolutions.unchanged,
    ReviewClosed: evolutions.unchanged,
}
"""For each class of event: the account after an event that is the next one."""
