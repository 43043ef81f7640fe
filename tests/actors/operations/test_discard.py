"""Discards of dead letters: only what certainly was never sent, once, and never while a process works on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product

import pytest

from actors.messages import NotSent, Passivate
from actors.operations.discard import DiscardOperation
from actors.replies import Accepted
from actors.runtime.simulated import SimulatedRuntime
from domain.account import Refused, Status
from domain.events import Authorized, Completed, Event, Failed, Kind, OutcomeUnknown, Processed, Voided
from domain.outcomes import Approved, Unknown
from store.codec import read_body
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Action, DeadLetterFilter, DeliveryCertainty
from store.sqlite.adapter import SqliteStore
from tests.actors.customer.fixtures import KEYLESS, POLICY, Customers, answer
from tests.actors.support import GATEWAY, OWNER, TroubledStore, stream
from tests.gateway_facts import operations_with

UNCERTAIN = CommitUncertainError("cut")
AWAY = StoreUnavailableError("away")


def failures(customers: Customers, customer: str = "c1") -> list[str]:
    """The codes of all failures on record."""
    events = [recorded.event for recorded in customers.events(customer)]
    return [event.code for event in events if isinstance(event, Failed)]


def refusal(request: DiscardOperation) -> str:
    """The code that it was refused with."""
    refused = answer(request)
    assert isinstance(refused, Refused)
    return refused.code


def test_a_discard_fails_the_transaction_and_ends_its_work(customers: Customers) -> None:
    """One event, with the operator and the reason; the work and the dead letter are gone."""
    letter = customers.dead_letter()
    request = customers.discard(letter, reason="the customer has paid cash")
    customers.run()
    accepted = answer(request)
    assert isinstance(accepted, Accepted)
    assert accepted.transaction == customers.transaction(letter.work_id)
    assert accepted.transaction.status is Status.FAILED
    assert accepted.transaction.failure is not None
    assert (accepted.transaction.failure.code, accepted.transaction.failure.message) == (
        "discarded",
        "the customer has paid cash",
    )
    assert customers.types() == ["DepositReceived", "DepositFailed"]
    stored = customers.real.stream_events(stream(), after=1, limit=1)
    assert read_body(stored[0].body).metadata["who"] == "ann"
    assert customers.real.work_counts() == {}


def test_a_discarded_withdrawal_releases_its_reserve(customers: Customers) -> None:
    """The reserved amount is available again."""
    customers.completed(minor=500)
    letter = customers.dead_letter(minor=300, kind=Kind.WITHDRAWAL)
    customers.discard(letter)
    customers.run()
    view = customers.real.customer(stream())
    assert view is not None
    [(_, balance)] = view.balances
    assert (balance.available, balance.reserved) == (500, 0)


LATER = datetime(2026, 12, 1, tzinfo=UTC)
STATUSES: dict[Status, Callable[[str], list[Event]]] = {
    Status.PENDING: lambda _: [],
    Status.UNKNOWN: lambda key: [OutcomeUnknown(Kind.DEPOSIT, key, "timeout")],
    Status.PROCESSED: lambda key: [Processed(Kind.DEPOSIT, key, "A-1")],
    Status.AUTHORIZED: lambda key: [Authorized(Kind.DEPOSIT, key, "A-1", LATER)],
    Status.VOIDED: lambda key: [Authorized(Kind.DEPOSIT, key, "A-1", LATER), Voided(Kind.DEPOSIT, key)],
    Status.COMPLETED: lambda key: [Processed(Kind.DEPOSIT, key, "A-1"), Completed(Kind.DEPOSIT, key)],
    Status.FAILED: lambda key: [Failed(Kind.DEPOSIT, key, "do_not_honor", None, "no")],
}


@dataclass(frozen=True)
class Case:
    """A dead letter as an operator may see it, and the status of its transaction."""

    keys: bool
    certainty: DeliveryCertainty
    action: Action
    status: Status


NO_LOOKUPS = replace(POLICY, operations=operations_with(keys=True, looks_up=False))
"""With lookups, work that may have been sent is looked up, and is no dead letter so soon."""
CASES = [Case(*values) for values in product([True, False], DeliveryCertainty, Action, Status)]
SURELY_NEVER_SENT = [
    Case(keys, certainty, Action.SUBMIT, Status.PENDING)
    for keys, certainty in [
        (True, DeliveryCertainty.NOT_SENT),
        (False, DeliveryCertainty.NOT_SENT),
        (False, DeliveryCertainty.LEASE_LOST),
    ]
]


@pytest.mark.parametrize("runtime", [1], indirect=True)
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_may_be_discarded(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore, case: Case, *, cached: bool
) -> None:
    """Pending, to be sent, and surely never sent; without keys a lost lease leaves no doubt. The rest is refused."""
    customers = Customers(runtime, store, real_store, policy=POLICY if case.keys else KEYLESS)
    letter = customers.dead_letter()
    customers.on_record(letter, *STATUSES[case.status](letter.work_id))
    if not cached:
        customers.router.tell(stream(), Passivate())
        customers.run()
    before = customers.types()
    request = customers.discard(replace(letter, certainty=case.certainty, action=case.action))
    customers.run()
    if case in SURELY_NEVER_SENT:
        assert isinstance(answer(request), Accepted)
        assert customers.types() == [*before, "DepositFailed"]
    else:
        settled = case.status.terminal
        assert refusal(request) == ("dead-letter-busy" if settled else "not-discardable")
        assert customers.types() == before
        assert customers.letter(letter).token == letter.token


def test_a_second_discard_is_refused(customers: Customers) -> None:
    """A discarded transaction is failed, and a failed one is not discarded again: one event."""
    letter = customers.dead_letter()
    requests = [customers.discard(letter) for _ in range(3)]
    customers.run()
    again = customers.discard(letter)
    customers.run()
    assert [type(answer(request)) for request in requests] == [Accepted, Refused, Refused]
    assert refusal(again) == "dead-letter-busy"
    assert failures(customers) == ["discarded"]


def test_without_a_configured_gateway_nothing_is_discarded(customers: Customers) -> None:
    """Whether a gateway that is no longer configured honours keys is not known; the refusal states that."""
    letter = customers.dead_letter()
    request = customers.discard(replace(letter, gateway="gatewayGone"))
    customers.run()
    refused = answer(request)
    assert isinstance(refused, Refused)
    assert (refused.code, "not configured" in refused.detail) == ("not-discardable", True)
    assert customers.letter(letter).token == letter.token


def test_a_discard_of_leased_work_is_refused(customers: Customers) -> None:
    """Once it is leased, queued again or moved, the operator's view is out of date: busy, and nothing is stored."""
    letter = customers.dead_letter()
    customers.runtime.advance(3600.0)
    [item] = customers.claim()
    request = customers.discard(letter)
    customers.run()
    assert refusal(request) == "dead-letter-busy"
    customers.report(item, Approved("A-1", final=True))
    customers.run()
    assert customers.transaction(letter.work_id).status is Status.COMPLETED


def test_a_discard_of_what_is_being_retried_is_refused(customers: Customers) -> None:
    """Either the retry or the discard is carried out, never both."""
    letter = customers.dead_letter()
    assert customers.real.retry_dead("main", DeadLetterFilter(work_id=letter.work_id)) == 1
    request = customers.discard(letter)
    customers.run()
    assert refusal(request) == "dead-letter-busy"
    assert failures(customers) == []


def test_a_busy_discard_blocks_no_neighbour(customers: Customers) -> None:
    """In one write with a discard that comes too late, the others are still stored and answered."""
    busy, fine = customers.dead_letter(), customers.dead_letter()
    customers.real.retry_dead("main", DeadLetterFilter(work_id=busy.work_id))
    first = customers.send()
    late, good, last = customers.discard(busy), customers.discard(fine), customers.send()
    customers.run()
    assert refusal(late) == "dead-letter-busy"
    assert [type(answer(request)) for request in (first, good, last)] == [Accepted] * 3
    assert failures(customers) == ["discarded"]
    assert customers.types().count("DepositReceived") == 4


def test_a_discard_at_an_unconfigured_gateway_is_refused(customers: Customers) -> None:
    """Whether it honours keys is not known then, and so the meaning of a lost lease is not known either."""
    letter = customers.dead_letter()
    request = customers.discard(replace(letter, gateway="gone"))
    customers.run()
    assert refusal(request) == "not-discardable"


def test_without_keys_a_submission_that_was_refused_may_be_discarded(keyless: Customers) -> None:
    """The provider was never reached: all attempts are on record, and none of them is open."""
    keyless.submit(keyless.deposited())
    keyless.run()
    [item] = [cleared.item for cleared in keyless.cleared() if cleared.item is not None]
    keyless.report(replace(item, attempts=KEYLESS.max_retries), NotSent("refused"))
    keyless.run()
    letter = keyless.letter(item)
    assert letter.certainty is DeliveryCertainty.NOT_SENT
    keyless.discard(letter)
    keyless.run()
    assert failures(keyless) == ["discarded"]


def test_with_keys_what_was_ever_unknown_may_not_be_discarded(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """Refusals of the newest attempts prove nothing about the first one."""
    customers = Customers(runtime, store, real_store, policy=NO_LOOKUPS)
    item = customers.deposited()
    customers.report(item, Unknown("timeout"))
    customers.run()
    customers.runtime.advance(60.0)
    [item] = customers.claim()
    customers.report(replace(item, attempts=POLICY.max_retries), NotSent("refused"))
    customers.run()
    letter = customers.letter(item)
    assert letter.certainty is DeliveryCertainty.SENT
    request = customers.discard(letter)
    customers.run()
    assert refusal(request) == "not-discardable"


def test_with_keys_work_of_a_dead_process_may_not_be_discarded(
    runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore
) -> None:
    """That process may have sent it: with keys nothing is recorded before a sending."""
    customers = Customers(runtime, store, real_store, policy=NO_LOOKUPS)
    customers.deposited()
    customers.real.retire_owner(OWNER, unsent=False)
    customers.real.register_owner(OWNER)
    [item] = customers.claim()
    customers.report(replace(item, attempts=POLICY.max_retries), NotSent("refused"))
    customers.run()
    letter = customers.letter(item)
    request = customers.discard(letter)
    customers.run()
    assert letter.certainty is DeliveryCertainty.LEASE_LOST
    assert refusal(request) == "not-discardable"
    assert customers.real.work_counts() == {(GATEWAY, "dead"): 1}
