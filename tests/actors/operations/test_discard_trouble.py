"""Discards when the store fails, the actor dies or the caller gives up: once, and no answer is untrue."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.customer.poison import CRASHES_MAX
from actors.messages import Loaded, Passivate, Submit, Written
from actors.operations.discard import DiscardOperation
from actors.replies import Accepted, NotStored, Uncertain
from domain.account import Refused
from domain.events import Failed, Kind
from store.errors import CommitUncertainError, StoreUnavailableError
from store.port import DeadLetterFilter
from tests.actors.customer.fault_injection import Fatal
from tests.actors.customer.fixtures import DEADLINE_S, Customers, answer
from tests.actors.support import Trouble, TroubledStore, stream

UNCERTAIN = CommitUncertainError("cut")
AWAY = StoreUnavailableError("away")


def failures(customers: Customers, customer: str = "c1") -> list[str]:
    """The codes of all failures on record."""
    events = [recorded.event for recorded in customers.events(customer)]
    return [event.code for event in events if isinstance(event, Failed)]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("again", [[], [UNCERTAIN], [AWAY], [UNCERTAIN, UNCERTAIN, AWAY]])
def test_an_uncertain_commit_discards_once(
    customers: Customers, store: TroubledStore, *, stored: bool, again: list[Exception]
) -> None:
    """At whichever attempt it was stored: one event, and the reply is that it is done."""
    letter = customers.dead_letter()
    store.inject("append", Trouble(UNCERTAIN, after=stored), *again)
    request = customers.discard(letter)
    customers.run(60.0)
    assert isinstance(answer(request), Accepted)
    assert failures(customers) == ["discarded"]
    assert customers.real.work_counts() == {}


@pytest.mark.parametrize("stored", [False, True])
def test_an_uncertain_discard_does_not_take_anothers_end_for_its_own(
    customers: Customers, store: TroubledStore, *, stored: bool
) -> None:
    """When it was not stored and the work continued meanwhile, the reply reports that."""
    letter = customers.dead_letter()
    store.inject("append", Trouble(UNCERTAIN, after=stored), UNCERTAIN)
    request = customers.discard(letter)
    customers.run_until(lambda: store.troubles_left == 0)
    if not stored:
        customers.real.retry_dead("main", DeadLetterFilter())
        customers.claim()
        customers.on_record(letter, Failed(Kind.DEPOSIT, letter.work_id, "do_not_honor", None, "no"))
    customers.run(30.0)
    assert isinstance(answer(request), Accepted if stored else Refused)
    assert failures(customers) == ["discarded" if stored else "do_not_honor"]


def test_a_store_that_is_away_discards_nothing(customers: Customers, store: TroubledStore) -> None:
    """The reply comes at once: nothing is stored, and nothing ever is."""
    letter = customers.dead_letter()
    store.inject("append", AWAY)
    request = customers.discard(letter)
    customers.run(60.0)
    assert isinstance(answer(request), NotStored)
    assert failures(customers) == []
    assert customers.letter(letter).token == letter.token


@pytest.mark.parametrize("times", [1, 2, CRASHES_MAX])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", [DiscardOperation, Loaded, Written])
def test_a_death_at_any_message_discards_once(customers: Customers, *, kind: type, after: bool, times: int) -> None:
    """Whichever message the actor dies of: one event and one answer, which is true."""
    letter = customers.dead_letter()
    fatal = Fatal(customers, kind, after=after, times=times)
    customers.router.tell(stream(), Passivate())
    customers.run()
    request = customers.discard(letter)
    customers.run(5.0)
    assert fatal.left <= max(times - 1, 0)
    if not request.reply.done:  # dropped with its message: the waiting thread takes it at its deadline
        assert request.take()
        assert failures(customers) == []
    elif isinstance(answer(request), Accepted):
        assert failures(customers) == ["discarded"]
    else:
        assert isinstance(answer(request), Uncertain)
    assert customers.router.at_rest


def test_what_is_on_record_is_never_called_not_stored(customers: Customers, store: TroubledStore) -> None:
    """A death after the commit, and a store away until the deadline: it is discarded, and no reply contradicts that."""
    letter = customers.dead_letter()
    customers.send()  # in flight first, so that the next two share a write
    neighbour, request = customers.send(), customers.discard(letter)
    tell = customers.supervisor.tell

    def deadly(message: object) -> None:
        if isinstance(message, Submit) and message.items[0].work_id == neighbour.command.transaction_id:
            customers.supervisor.tell = tell  # type: ignore[method-assign]
            store.inject("load", *[AWAY] * 40)
            raise RuntimeError("no")
        tell(message)

    customers.supervisor.tell = deadly  # type: ignore[method-assign]
    customers.run(DEADLINE_S + 60.0)
    assert customers.router.deaths == 1
    assert failures(customers) == ["discarded"]
    assert isinstance(answer(request), Accepted)


def test_a_discard_that_comes_too_late_is_not_carried_out(customers: Customers) -> None:
    """After its deadline no caller waits for it, so nothing is stored."""
    letter = customers.dead_letter()
    request = customers.discard(letter, deadline_s=0.0)
    customers.run()
    assert isinstance(answer(request), NotStored)
    assert failures(customers) == []


def test_a_discard_that_its_caller_gave_up_is_not_carried_out(customers: Customers) -> None:
    """The waiting thread took it first, so the actor does not write it."""
    letter = customers.dead_letter()
    request = customers.discard(letter)
    assert request.take()
    customers.run()
    assert not request.reply.done
    assert failures(customers) == []


def test_a_discard_of_what_is_not_on_record_is_answered(customers: Customers) -> None:
    """A command for a transaction that the customer does not have is answered, and blocks no other."""
    letter = customers.dead_letter()
    request = customers.discard(replace(letter, work_id="absent"))
    neighbour = customers.send()
    customers.run(60.0)
    assert request.reply.done
    assert not isinstance(answer(request), Accepted)
    assert isinstance(answer(neighbour), Accepted)
    assert customers.router.at_rest
