"""The state machine under any order of commands and outcomes, against independently stated rules."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from domain.account import Account, Balance, Refused, Status
from domain.commands import (
    Adjust,
    Command,
    Discard,
    OpenReview,
    Receive,
    RecordCallback,
    RecordOutcome,
    RecordSubmission,
    Resolve,
)
from domain.events import (
    Failed,
    Kind,
    Recorded,
    ReviewOpened,
)
from domain.money import Money
from domain.outcomes import Approved, Category, Declined, Unknown
from domain.state_machine import decide, evolve
from tests.domain.ledger import START, Ledger
from tests.effort import examples

IDS = ["t1", "t2", "t3", "t4", "t5"]

outcomes = st.one_of(
    st.builds(Approved, st.sampled_from(["A-1", "A-2"]), st.booleans()),
    st.builds(Declined, st.just("do_not_honor"), st.sampled_from([None, *Category]), st.just("no")),
    st.builds(Unknown, st.just("timeout")),
)
commands = st.one_of(
    st.builds(
        Receive,
        st.sampled_from(Kind),
        st.sampled_from(IDS),
        st.just("gatewayA"),
        st.builds(Money, st.integers(1, 4), st.sampled_from(["USD", "JPY"])),
        st.just({}),
        st.booleans(),
    ),
    st.builds(RecordSubmission, st.sampled_from(IDS), st.integers(1, 3)),
    st.builds(RecordOutcome, st.sampled_from(IDS), outcomes),
    st.builds(RecordOutcome, st.sampled_from(IDS), outcomes),
    st.builds(Discard, st.sampled_from(IDS), st.just("no more")),
    st.builds(OpenReview, st.sampled_from(IDS), st.just("a day without an answer")),
    st.builds(
        RecordCallback,
        st.sampled_from(IDS),
        st.just("gatewayA"),
        st.sampled_from(["A-1", "A-2"]),
        st.builds(Money, st.integers(1, 2), st.just("USD")),
        st.one_of(
            st.builds(Approved, st.sampled_from(["A-1", "A-2"]), st.just(value=True)),
            st.builds(Declined, st.just("declined"), st.none(), st.just("no")),
        ),
    ),
    st.builds(Resolve, st.sampled_from(IDS), st.booleans(), st.integers(1, 12), st.just("asked by telephone")),
    st.builds(
        Adjust,
        st.just("adjustment"),
        st.builds(Money, st.integers(-3, 3).filter(bool), st.sampled_from(["USD", "JPY"])),
        st.just("a mistake"),
        st.just("ticket 7"),
    ),
)
# Long histories in which deposits complete early, so that withdrawals find something to take.
histories = st.lists(commands, max_size=60).map(
    lambda rest: [
        Receive(Kind.DEPOSIT, "t0", "gatewayA", Money(5, "USD"), {}),
        RecordOutcome("t0", Approved("A-0", final=True)),
        *rest,
    ]
)


CODES: dict[type, set[str]] = {Discard: {"not-discardable"}, Resolve: {"stale-version", "already-final"}}
"""The codes with which commands of operators may be refused."""
SEQUENCES = {
    ("Received",): Status.PENDING,
    ("Received", "OutcomeUnknown"): Status.UNKNOWN,
    ("Received", "Processed"): Status.PROCESSED,
    ("Received", "OutcomeUnknown", "Processed"): Status.PROCESSED,
    ("Received", "Processed", "Completed"): Status.COMPLETED,
    ("Received", "OutcomeUnknown", "Processed", "Completed"): Status.COMPLETED,
    ("Received", "Failed"): Status.FAILED,
    ("Received", "OutcomeUnknown", "Failed"): Status.FAILED,
    ("Received", "Processed", "Failed"): Status.FAILED,
    ("Received", "OutcomeUnknown", "Processed", "Failed"): Status.FAILED,
}
"""Every permitted sequence of a transaction's events and the status after it. No event follows a terminal one."""


@examples(150)
@given(histories)
def test_only_permitted_sequences_of_events(history: list[Command]) -> None:
    """For any order of commands, each transaction's events are a permitted sequence after every command."""
    ledger = Ledger()
    for command in history:
        if ledger.known(command):
            ledger.apply(command)
            for transaction in ledger.account.transactions.values():
                assert SEQUENCES[tuple(ledger.event_names(transaction.transaction_id))] is transaction.status


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
            assert isinstance(command, Discard | Resolve) or not isinstance(answer, Refused)
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
    events = ledger.apply(RecordOutcome(transaction.transaction_id, outcome))
    assert ledger.account.transactions[transaction.transaction_id] == transaction
    contradicts = (
        isinstance(outcome, Approved)
        and (outcome.final or transaction.gateway_reference not in {None, outcome.reference})
        if transaction.status is Status.FAILED
        else isinstance(outcome, Declined)
        or (isinstance(outcome, Approved) and outcome.reference != transaction.gateway_reference)
    )
    assert not isinstance(events, Refused)
    assert [type(event) for event in events] == ([ReviewOpened] if contradicts else [])


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
