"""The record before a sending without keys, when the store fails or the actor dies: still once for each attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors.messages import Loaded, Passivate, Retry, SubmissionRecorded, Written
from actors.operations.submission import SubmissionOperation
from domain.events import Failed, Kind
from domain.outcomes import Approved
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import Action, DeliveryCertainty
from tests.actors.customer.fault_injection import Fatal
from tests.actors.customer.fixtures import KEYLESS, Customers
from tests.actors.support import OWNER, Trouble, TroubledStore, stream

UNCERTAIN = CommitUncertainError("cut")
AWAY = StoreUnavailableError("away")


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("again", [[], [UNCERTAIN], [AWAY], [UNCERTAIN, UNCERTAIN, AWAY]])
def test_an_uncertain_commit_lets_one_submission_out(
    keyless: Customers, store: TroubledStore, *, stored: bool, again: list[Exception]
) -> None:
    """Whether the write was stored the first time or the last, one attempt is on record and may be sent once."""
    item = keyless.deposited()
    store.inject("append", Trouble(UNCERTAIN, after=stored), *again)
    keyless.submit(item)
    keyless.run(30.0)
    assert store.troubles_left == 0
    assert keyless.submitted() == [(item.work_id, 1)]
    [cleared] = keyless.cleared()
    assert cleared.item is not None
    assert cleared.item.token == item.token + 1
    keyless.report(cleared.item, Approved("B-1", final=True))
    keyless.run()
    assert keyless.real.work_counts() == {}


def test_while_the_store_is_away_nothing_goes_out(keyless: Customers, store: TroubledStore) -> None:
    """However long it takes: before the record nothing may be sent, and after it one attempt may."""
    item = keyless.deposited()
    store.inject("append", *[AWAY] * 30)
    store.inject("load", *[AWAY] * 30)
    keyless.submit(item)
    keyless.run_until(lambda: store.troubles_left == 0)
    assert keyless.cleared() == []
    keyless.run(5.0)
    assert [cleared.work_id for cleared in keyless.sendable()] == [item.work_id]
    assert keyless.submitted() == [(item.work_id, 1)]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [SubmissionOperation, Loaded, Written, Retry])
def test_a_death_at_any_message_lets_one_submission_out(
    keyless: Customers, store: TroubledStore, *, kind: type, after: bool, times: int
) -> None:
    """Whichever message the actor dies of: each submission has one attempt on record, and may go out once."""
    items = [keyless.deposited() for _ in range(3)]
    fatal = Fatal(keyless, kind, after=after, times=times)
    keyless.router.tell(stream(), Passivate())
    keyless.run()
    if kind is Retry:
        store.inject("load", AWAY)
    for number, item in enumerate(items):
        keyless.submit(item, number)
    keyless.run(5.0)
    assert fatal.left == 0
    assert sorted(keyless.submitted()) == sorted((item.work_id, 1) for item in items)
    assert sorted(item.work_id for item in keyless.sendable()) == sorted(item.work_id for item in items)
    assert len(keyless.cleared()) == 3
    assert keyless.router.at_rest


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_death_during_the_permissions_neither_loses_nor_doubles_one(keyless: Customers, nth: int) -> None:
    """When the nth SubmissionRecorded of a write kills the actor, each is sent once: twice could be two payments."""
    items = [keyless.deposited() for _ in range(4)]
    keyless.send()  # in flight first, so that the submissions share a write
    for number, item in enumerate(items):
        keyless.submit(item, number)
    tell, reported = keyless.supervisor.tell, []

    def deadly(message: object) -> None:
        if isinstance(message, SubmissionRecorded):
            reported.append(message)
            if len(reported) == nth:
                raise RuntimeError("no")
        tell(message)

    keyless.supervisor.tell = deadly  # type: ignore[method-assign]
    keyless.run(5.0)
    assert keyless.router.deaths == 1
    assert sorted(item.work_id for item in keyless.sendable()) == sorted(item.work_id for item in items)
    assert sorted(cleared.permit.number for cleared in keyless.cleared()) == [0, 1, 2, 3]


@pytest.mark.parametrize("stored", [False, True])
def test_a_journal_that_dies_lets_one_submission_out(keyless: Customers, store: TroubledStore, *, stored: bool) -> None:
    """The same must hold when the journal is killed before or after its commit."""
    item = keyless.deposited()
    store.inject("append", Trouble(SystemExit(), after=stored))
    keyless.submit(item)
    keyless.run(5.0)
    assert keyless.submitted() == [(item.work_id, 1)]
    assert len(keyless.cleared()) == len(keyless.sendable()) == 1


def test_what_was_settled_after_an_uncertain_commit_is_not_sent(keyless: Customers, store: TroubledStore) -> None:
    """A transaction that has ended meanwhile is not sent, even if the attempt is on record, and its work ends."""
    item = keyless.deposited()
    store.inject("append", Trouble(UNCERTAIN, after=True), UNCERTAIN)
    keyless.submit(item)
    keyless.run_until(lambda: store.troubles_left == 0)
    keyless.on_record(item, Failed(Kind.DEPOSIT, item.work_id, "do_not_honor", None, "no"))
    keyless.run(5.0)
    assert keyless.submitted() == [(item.work_id, 1)]
    assert [cleared.item for cleared in keyless.cleared()] == [None]
    assert keyless.real.work_counts() == {}


def test_another_process_attempt_is_not_taken_for_its_own(
    keyless: Customers, store: TroubledStore, another_process: Callable[[], Customers]
) -> None:
    """A write that was not stored is not recognised by an attempt that another process made."""
    item = keyless.deposited()
    store.inject("append", UNCERTAIN, UNCERTAIN)
    keyless.submit(item)
    keyless.run_until(lambda: store.troubles_left == 0)
    keyless.real.retire_owner(OWNER, unsent=True)
    other = replace(another_process(), store=keyless.real, policy=KEYLESS)
    [theirs] = other.claim()
    assert theirs.work_id == item.work_id
    other.submit(theirs)
    while not other.cleared():
        other.runtime.step()
    keyless.run(30.0)
    assert [it.token for it in other.sendable()] == [theirs.token + 1]
    assert [cleared.item for cleared in keyless.cleared()] == [None]
    assert keyless.submitted() == [(item.work_id, 1)]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    "trouble", [[], [UNCERTAIN], [Trouble(UNCERTAIN, after=True), UNCERTAIN], [RuntimeError("no")] * 2]
)
def test_work_that_is_delivered_twice_may_go_out_once(
    keyless: Customers, store: TroubledStore, trouble: list[Any], *, later: bool
) -> None:
    """Under one token there is one sending, however often it is delivered, and each delivery frees its slot."""
    item = keyless.deposited()
    store.inject("append", *trouble)
    keyless.submit(item, 1)
    if later:
        keyless.run(5.0)
    keyless.submit(item, 2)
    keyless.run(30.0)
    assert keyless.submitted() == [(item.work_id, 1)]
    assert len(keyless.sendable()) == 1
    assert sorted(cleared.permit.number for cleared in keyless.cleared()) == [1, 2]


def test_a_submission_that_cannot_be_recorded_is_given_up(keyless: Customers) -> None:
    """A submission that always meets a defect frees its slot, and its work continues as not sent."""
    item = keyless.deposited()
    assert item.transaction is not None
    neighbour = keyless.deposited()
    odd = replace(item, transaction=replace(item.transaction, transaction_id="absent"))
    keyless.submit(odd, 1)
    keyless.submit(neighbour, 2)
    keyless.run(60.0)
    assert keyless.router.at_rest
    assert [cleared.permit.number for cleared in keyless.cleared() if cleared.item is None] == [1]
    assert [it.work_id for it in keyless.sendable()] == [neighbour.work_id]
    [again] = [it for it in keyless.claim() if it.work_id == item.work_id]
    assert (again.action, again.certainty, again.attempts) == (Action.SUBMIT, DeliveryCertainty.NOT_SENT, 1)


@pytest.mark.parametrize("stored", [False, True])
def test_a_submission_that_the_store_always_fails_at_does_not_keep_its_slot(
    keyless: Customers, store: TroubledStore, *, stored: bool
) -> None:
    """A defect that these data meet at every commit must not hold a gateway's slot without limit."""
    item = keyless.deposited()
    append = store.append

    def failing(writes: Any) -> Any:
        if any(event.type == "DepositSubmitted" for write in writes for part in write.parts for event in part.events):
            if stored:
                append(writes)
            raise RuntimeError("a defect that these data meet")
        return append(writes)

    store.append = failing  # type: ignore[method-assign]
    keyless.submit(item)
    keyless.run(120.0)
    assert len(keyless.cleared()) == 1
    assert keyless.router.at_rest


@pytest.mark.parametrize("trouble", [[], [UNCERTAIN], [Trouble(UNCERTAIN, after=True)]])
@pytest.mark.parametrize("steps", [*range(8), 100])
def test_a_token_that_two_processes_hold_sends_once(
    keyless: Customers, another_process: Callable[[], Customers], steps: int, trouble: list[Any]
) -> None:
    """Two processes have the work: at whatever step one is when the other records the attempt, only one may send it."""
    item = keyless.deposited()
    troubled = TroubledStore(keyless.real)
    troubled.inject("append", *trouble)
    other = replace(another_process(), policy=KEYLESS, store=troubled)
    other.submit(item, 2)
    for _ in range(steps):
        other.runtime.step()
    keyless.submit(item, 1)
    keyless.run(60.0)
    other.run(60.0)
    assert len(keyless.sendable() + other.sendable()) == 1
    assert keyless.submitted() == [(item.work_id, 1)]
    assert [cleared.permit.number for cleared in keyless.cleared() + other.cleared()] == [1, 2]


@pytest.mark.parametrize("kind", [SubmissionOperation, Written])
@pytest.mark.parametrize("trouble", [[], [UNCERTAIN], [Trouble(UNCERTAIN, after=True)], [UNCERTAIN] * 4])
def test_an_attempt_that_is_on_record_is_not_taken_for_its_own(
    keyless: Customers, another_process: Callable[[], Customers], trouble: list[Any], kind: type
) -> None:
    """A submission that finds the attempt on record, and wrote nothing itself, sends nothing."""
    item = keyless.deposited()
    keyless.submit(item, 1)
    keyless.run()
    troubled = TroubledStore(keyless.real)
    other = replace(another_process(), policy=KEYLESS, store=troubled)
    fatal = Fatal(other, kind, after=True)
    troubled.inject("append", *trouble)
    other.submit(item, 2)
    other.run(60.0)
    assert (fatal.left, troubled.troubles_left) == (0, 0)
    assert [cleared.item for cleared in other.cleared()] == [None]
    assert len(keyless.sendable()) == 1
    assert keyless.submitted() == [(item.work_id, 1)]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit()])
def test_a_death_over_a_refused_submission_loses_no_slot(keyless: Customers, error: BaseException) -> None:
    """The successor repeats that nothing may be sent: otherwise the slot would never become free."""
    item = keyless.deposited()
    keyless.real.retire_owner(OWNER, unsent=True)
    tell = keyless.supervisor.tell

    def deadly(message: object) -> None:
        if isinstance(message, SubmissionRecorded):
            keyless.supervisor.tell = tell  # type: ignore[method-assign]
            raise error
        tell(message)

    keyless.supervisor.tell = deadly  # type: ignore[method-assign]
    keyless.submit(item)
    keyless.run(5.0)
    assert keyless.router.deaths == 1
    assert [cleared.item for cleared in keyless.cleared()] == [None]
    assert keyless.submitted() == []
    assert keyless.router.at_rest
