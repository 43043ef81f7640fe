"""The state machine under any order of commands and outcomes, against independently stated rules."""

from __future__ import annotations

import re
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.account import Account, Balance, Refused, Status, Transaction
from domain.commands import (
    Adjust,
    Command,
    Discard,
    OpenReview,
    Receive,
    ReceiveChild,
    RecordOutcome,
    Resolve,
)
from domain.events import (
    Failed,
    Kind,
    Recorded,
    ReviewOpened,
)
from domain.outcomes import AUTHORIZATION_GONE, Approved, Authorization, Declined, Outcome, Unknown
from domain.state_machine import decide, evolve
from tests.domain.histories import histories, outcomes
from tests.domain.ledger import EXPIRES, START, Ledger
from tests.effort import examples

CODES: dict[type, set[str]] = {
    Discard: {"not-discardable"},
    Resolve: {"stale-version", "already-final", "not-possible-now"},
    ReceiveChild: {"not-possible-now", "not-supported", "amount-too-large", "insufficient-funds"},
}
"""The codes with which commands of operators, and those about a parent, may be refused."""
LETTERS = {
    "Received": "R",
    "OutcomeUnknown": "U",
    "Processed": "P",
    "Authorized": "A",
    "Completed": "C",
    "Voided": "V",
    "Failed": "F",
}
PERMITTED = re.compile("RU?(P?F?|PC|P?A[CVF]?)")
"""Every permitted sequence of a transaction's events. No event follows a terminal one."""
STATUS = {
    "Received": Status.PENDING,
    "OutcomeUnknown": Status.UNKNOWN,
    "Processed": Status.PROCESSED,
    "Authorized": Status.AUTHORIZED,
    "Completed": Status.COMPLETED,
    "Voided": Status.VOIDED,
    "Failed": Status.FAILED,
}
"""The status after each event."""


@examples(150)
@given(histories)
def test_only_permitted_sequences_of_events(history: list[Command]) -> None:
    """For any order of commands, each transaction's events are a permitted sequence after every command."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            ledger.apply(command)
            for transaction in ledger.account.transactions.values():
                names = ledger.event_names(transaction.transaction_id)
                assert PERMITTED.fullmatch("".join(LETTERS[name] for name in names))
                assert transaction.status is STATUS[names[-1]]
                assert ("Authorized" in names) <= transaction.manual_capture


@examples(150)
@given(histories)
def test_balances_are_the_sum_of_the_events(history: list[Command]) -> None:
    """No balance is ever negative, and balances are the sum of completed deposits, reserves and adjustments."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            ledger.apply(command)
            for currency in ("USD", "JPY"):
                balance = ledger.account.balances.get(currency, Balance())
                assert balance == ledger.balance(currency)
                assert balance.available >= 0
                assert balance.reserved >= 0


@examples(150)
@given(histories)
def test_a_withdrawal_is_refused_exactly_when_too_little_is_available(history: list[Command]) -> None:
    """Of the withdrawals, only checked ones above the available balance are refused. A refusal records no event."""
    ledger = Ledger()
    for command in history:
        if not ledger.known(command):
            continue
        before = ledger.account
        answer = ledger.apply(command)
        if isinstance(command, Receive) and command.transaction_id not in before.transactions:
            available = before.balances.get(command.money.currency, Balance()).available
            short = command.kind is Kind.WITHDRAWAL and command.checked and available < command.money.minor
            assert isinstance(answer, Refused) == short
        elif isinstance(command, Adjust):
            available = before.balances.get(command.money.currency, Balance()).available
            assert isinstance(answer, Refused) == (available + command.money.minor < 0)
        else:
            assert isinstance(command, Discard | Resolve | ReceiveChild) or not isinstance(answer, Refused)
        if isinstance(answer, Refused):
            assert answer.code in CODES.get(type(command), {"insufficient-funds"})
            assert ledger.account == before


@examples(150)
@given(histories)
def test_a_repeated_command_is_recorded_once(history: list[Command]) -> None:
    """A command that is decided again at once has no events, unless it opened a review: it then opens another."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            first = ledger.apply(command)
            if isinstance(first, Refused):
                continue
            again = decide(ledger.account, command)
            if isinstance(command, Discard | Resolve):
                assert isinstance(again, Refused)
            elif isinstance(command, Adjust):
                continue  # repetitions are recognised by the adjustment's id outside of the account
            elif first and isinstance(first[0], ReviewOpened):
                assert not isinstance(again, Refused)
                assert [type(event) for event in again] == [ReviewOpened]
            else:
                assert again == ()


@examples(150)
@given(histories, st.data())
def test_a_final_outcome_does_not_change(history: list[Command], data: st.DataObject) -> None:
    """No outcome changes a terminal transaction. An agreeing outcome is ignored; a contradicting one opens a review."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            ledger.apply(command)
    ended = [transaction for transaction in ledger.account.transactions.values() if transaction.status.terminal]
    transaction = data.draw(st.sampled_from(ended))
    outcome = data.draw(outcomes)
    events = ledger.apply(RecordOutcome(transaction.transaction_id, outcome, EXPIRES))
    assert ledger.account.transactions[transaction.transaction_id] == transaction
    contradicts = _contradicts(transaction, outcome)
    assert not isinstance(events, Refused)
    assert [type(event) for event in events] == ([ReviewOpened] if contradicts else [])


def _contradicts(transaction: Transaction, outcome: Outcome | Unknown) -> bool:
    """Whether the outcome says something else than the end on record, and is no earlier report that came late."""
    status, failure, final = transaction.status, transaction.failure, False
    match outcome:
        case Unknown():
            return False
        case Declined():
            return status is Status.COMPLETED
        case Authorization() if transaction.manual_capture and failure is not None:
            final = failure.code not in AUTHORIZATION_GONE
        case Approved():
            final = outcome.final
    other = transaction.gateway_reference not in {None, outcome.reference}
    return other or (final and status is not Status.COMPLETED)


@examples(150)
@given(histories)
def test_reviews_have_unique_ids(history: list[Command]) -> None:
    """Every review of an account has a unique id, and changes nothing but the version."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            before = ledger.account
            answer = ledger.apply(command)
            if not isinstance(answer, Refused) and answer and isinstance(answer[0], ReviewOpened):
                assert ledger.account == Account("c", before.version + 1, before.balances, before.transactions)
    ids = [event.review_id for event in ledger.events if isinstance(event, ReviewOpened)]
    assert len(ids) == len(set(ids))


@examples(150)
@given(histories)
def test_a_history_folds_to_the_same_account(history: list[Command]) -> None:
    """Evolving over the recorded events again gives the same account, and versions have no gaps."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            ledger.apply(command)
    account = Account("c")
    for version, event in enumerate(ledger.events, start=1):
        account = evolve(account, Recorded(version, START + timedelta(seconds=version), event))
    assert account == ledger.account
    assert account.version == len(ledger.events)


@examples(150)
@given(histories)
def test_a_discard_ends_only_pending_transactions(history: list[Command]) -> None:
    """A discard succeeds exactly for pending transactions, whatever came before. A second discard is refused."""
    ledger = Ledger()
    for command in history:
        if not ledger.known(command):
            continue
        before = ledger.account
        answer = ledger.apply(command)
        if isinstance(command, Discard):
            pending = before.transactions[command.transaction_id].status is Status.PENDING
            assert isinstance(answer, Refused) != pending
            transaction = ledger.account.transactions[command.transaction_id]
            if pending:
                assert transaction.failure is not None
                assert (transaction.status, transaction.failure.code) == (Status.FAILED, "discarded")
            else:
                assert transaction == before.transactions[command.transaction_id]
    discarded = [
        event.transaction_id for event in ledger.events if isinstance(event, Failed) and event.code == "discarded"
    ]
    assert len(discarded) == len(set(discarded))


@examples(150)
@given(histories)
def test_a_review_is_opened_only_for_unfinished_transactions(history: list[Command]) -> None:
    """A review changes nothing but the version, and is not opened for a terminal transaction."""
    ledger = Ledger()
    for command in history:
        if not ledger.known(command):
            continue
        before = ledger.account
        answer = ledger.apply(command)
        if isinstance(command, OpenReview):
            terminal = before.transactions[command.transaction_id].status.terminal
            assert not isinstance(answer, Refused)
            assert [type(event) for event in answer] == ([] if terminal else [ReviewOpened])
            assert ledger.account.transactions == before.transactions
            assert ledger.account.balances == before.balances
