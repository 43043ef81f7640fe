"""Each dead letter is reported once each time it becomes one; other work is not reported."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from actors.listeners import LogListener
from actors.messages import CallResult, DeadLettered, NotSent, NotTried, Unhandled
from actors.runtime.simulated import EPOCH
from domain.outcomes import Approved, Unknown
from store.errors import CommitUncertainError
from store.port import Action, DeliveryCertainty, MoveWork, WorkError, WorkItem, WorkState
from tests.actors.customer.fixtures import POLICY, Customers
from tests.actors.gateways.fixtures import work
from tests.actors.support import GATEWAY, Trouble, TroubledStore

LAST = POLICY.max_retries + POLICY.dead_letter_attempts


def letters(customers: Customers) -> list[tuple[str, WorkState]]:
    """What the dead-letter actor received, which reports each."""
    return [(letter.item.work_id, letter.move.state) for letter in customers.dead_letters.of(DeadLettered)]


@pytest.mark.parametrize(
    ("attempts", "result", "states"),
    [
        (0, NotSent("refused"), []),
        (POLICY.max_retries - 1, NotSent("refused"), []),
        (POLICY.max_retries, NotSent("refused"), [WorkState.DEAD]),
        (LAST - 1, NotSent("refused"), [WorkState.DEAD]),
        (LAST, NotSent("refused"), [WorkState.PARKED]),
        (0, Unhandled("nothing handles it"), [WorkState.PARKED]),
        (POLICY.max_retries, NotTried("the breaker opened"), []),
        (POLICY.max_retries, Approved("A-1", final=True), []),
        (POLICY.max_retries, Approved("A-1", final=False), []),
        (LAST, Unknown("timeout"), []),
    ],
)
def test_a_dead_letter_is_reported(
    customers: Customers, attempts: int, result: CallResult, states: list[WorkState]
) -> None:
    """Work that waits for a re-send or an operator is reported; work that is retried, looked up or done is not."""
    item = replace(customers.deposited(), attempts=attempts)
    customers.report(item, result)
    customers.run()
    assert letters(customers) == [(item.work_id, state) for state in states]


@pytest.mark.parametrize("stored", [False, True])
def test_it_is_reported_when_it_is_stored(customers: Customers, store: TroubledStore, *, stored: bool) -> None:
    """It is reported at most once: never unless stored, and not when this process cannot identify its own commit."""
    item = replace(customers.deposited(), attempts=POLICY.max_retries)
    store.inject("append", Trouble(CommitUncertainError("cut"), after=stored))
    customers.report(item, NotSent("refused"))
    customers.run(5.0)
    assert letters(customers) == ([] if stored else [(item.work_id, WorkState.DEAD)])
    assert customers.real.work_counts() == {(GATEWAY, "dead"): 1}


def test_a_stale_report_is_no_dead_letter(customers: Customers) -> None:
    """Another owner has the work, so that owner reports it."""
    item = replace(customers.deposited(), attempts=POLICY.max_retries)
    customers.real.retire_owner(customers.owner, unsent=True)
    customers.report(item, NotSent("refused"))
    customers.run(5.0)
    assert letters(customers) == []


@pytest.mark.parametrize(
    ("state", "level", "message", "due_s"),
    [
        (WorkState.DEAD, logging.WARNING, "dead letter", 12.3),
        (WorkState.PARKED, logging.ERROR, "parked for an operator", None),
    ],
)
def test_the_line(
    caplog: pytest.LogCaptureFixture, state: WorkState, level: int, message: str, due_s: float | None
) -> None:
    """It has the transaction, the gateway, the attempts, the reason, and the time of the next attempt if any."""
    item: WorkItem = work()
    errors = (WorkError(EPOCH, "timeout"), WorkError(EPOCH, "refused"))
    move = MoveWork(item.work_id, Action.SUBMIT, state, 12.34, 4, errors, DeliveryCertainty.NOT_SENT)
    caplog.set_level(logging.DEBUG, logger="payments")
    LogListener().dead_letter(item, move)
    [record] = caplog.records
    fields = record.fields  # type: ignore[attr-defined]
    assert (record.levelno, record.getMessage()) == (level, message)
    assert (fields["transaction_id"], fields["gateway"], fields["action"]) == (item.work_id, GATEWAY, "submit")
    assert (fields["attempts"], fields["reason"], fields["next_attempt_in_s"]) == (4, "refused", due_s)


def test_a_line_without_errors(caplog: pytest.LogCaptureFixture) -> None:
    """Work may be parked without an error of its own."""
    item = work()
    LogListener().dead_letter(
        item, MoveWork(item.work_id, Action.SUBMIT, WorkState.PARKED, 0.0, 0, (), DeliveryCertainty.NOT_SENT)
    )
    assert caplog.records[-1].fields["reason"] is None  # type: ignore[attr-defined]
