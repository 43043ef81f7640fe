"""A message that kills several actors before one of them takes it is dropped; its caller is answered."""

from __future__ import annotations

from typing import Any

import pytest

from actors.customer.actor import CustomerStreamActor
from actors.journal import JournalActor
from actors.messages import Append, NotSent
from actors.operations.outcome import OutcomeOperation
from actors.operations.receive import ReceiveOperation
from actors.operations.submission import SubmissionOperation
from actors.replies import Accepted, Uncertain
from actors.runtime.actor import ServiceActor
from store.port import Action, WorkItem
from tests.actors.customer.fixtures import Customers, answer

MINUTE_S = 60.0


def kill_each(monkeypatch: pytest.MonkeyPatch, actor: type[ServiceActor], kind: type, times: int) -> None:
    """Kill an actor of that class at each of its next ``times`` messages of ``kind``, before it takes the message."""
    receive, left = actor.receive, [None] * times

    def deadly(self: ServiceActor, message: Any) -> Any:
        if isinstance(message, kind) and left:
            left.pop()
            raise RuntimeError("killed")
        return receive(self, message)

    monkeypatch.setattr(actor, "receive", deadly)


def free(customers: Customers, item: WorkItem) -> WorkItem:
    """The work, whose lease is given up."""
    customers.runtime.advance(MINUTE_S)
    [again] = customers.claim()
    assert again.work_id == item.work_id
    return again


def test_a_customer_gets_its_answer_from_the_journal(customers: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that kills three journals: it is not known to be stored, so it is loaded, tried again, and stored."""
    kill_each(monkeypatch, JournalActor, Append, 3)
    request = customers.send()
    customers.run(5.0)
    assert isinstance(answer(request), Accepted)
    assert customers.types() == ["DepositReceived"]


def test_a_client_gets_an_answer(customers: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply is uncertain: the command was never decided."""
    kill_each(monkeypatch, CustomerStreamActor, ReceiveOperation, 3)
    request = customers.send()
    customers.run(MINUTE_S)
    assert answer(request) == Uncertain(request.command.transaction_id)
    assert customers.types() == []


def test_a_submission_gives_slot_and_work_back(keyless: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not on record, so it must not go out; the work is unchanged."""
    kill_each(monkeypatch, CustomerStreamActor, SubmissionOperation, 3)
    item = keyless.deposited()
    keyless.submit(item)
    keyless.run(MINUTE_S)
    [cleared] = keyless.cleared()
    assert cleared.item is None
    assert free(keyless, item).action is Action.SUBMIT


def test_a_report_gives_its_work_back(customers: Customers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its result is lost, but the work is not: the next owner looks it up or sends it again."""
    kill_each(monkeypatch, CustomerStreamActor, OutcomeOperation, 3)
    item = customers.deposited()
    customers.report(item, NotSent("refused"))
    customers.run(MINUTE_S)
    assert free(customers, item).attempts == 1
