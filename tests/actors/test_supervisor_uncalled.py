"""Calls that were not made, or of which nobody can tell: one outcome each, no second call, and no slot is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.messages import ApplyBreakerMode, NotTried, OutcomeReport
from domain.outcomes import Approved, NotSentError, Outcome, OutcomeUnknownError, Unknown
from gateways.port import Order
from store.port import GatewayMode
from tests.actors.bulkheads import Keyless, Supervised, work
from tests.actors.support import GATEWAY

ERRORS: list[BaseException] = [RuntimeError("can't start new thread"), SystemExit()]


@pytest.fixture
def it() -> Keyless:
    """A supervisor of one gateway with three slots and without keys."""
    return Keyless()


def order_mode(it: Supervised, mode: str) -> None:
    """A person's order comes through."""
    it.address.tell(ApplyBreakerMode(GatewayMode(GATEWAY, mode, "maintenance")))
    it.run()


def free(it: Keyless) -> None:
    """Every slot and permit is there again: as many go out at once as there are slots."""
    assert it.slots_taken == 0
    it.customer.messages.clear()
    it.submit(*[work() for _ in range(5)])
    assert len(it.asked) == 3


def betray(it: Supervised, how: str, error: BaseException) -> None:
    """The next call is made ``at once``, ``later`` or ``never``, and whoever hands it over is told ``error``."""
    bulkhead = it.slots[GATEWAY]
    original = bulkhead.submit

    def submit(function: Callable[[], None], /) -> None:
        bulkhead.submit = original  # type: ignore[method-assign]
        if how == "at once":
            function()
        elif how == "later":
            original(function)
        raise error

    bulkhead.submit = submit  # type: ignore[method-assign]


@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("error", ERRORS)
def test_a_death_over_saying_that_nothing_was_sent(it: Keyless, error: BaseException, *, reopened: bool) -> None:
    """It is said all the same, once, and nothing is sent, even if the gateway may be called again meanwhile."""
    it.submit(work())
    [request] = it.asked
    order_mode(it, "open")
    tell = it.customer.tell

    def deadly(message: object, /) -> None:
        if isinstance(message, OutcomeReport):
            it.customer.tell = tell  # type: ignore[method-assign]
            if reopened:
                it.bulkheads[GATEWAY].breaker.force("auto")
            raise error
        tell(message)

    it.customer.tell = deadly  # type: ignore[method-assign]
    it.clear(request)
    it.run(5.0)
    assert it.address.deaths == 1
    assert [type(result) for result in it.results()] == [NotTried]
    assert (it.out, it.gateway.calls) == ([], [])
    order_mode(it, "closed")
    free(it)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("how", ["at once", "later", "never"])
def test_a_call_that_could_not_be_handed_over_or_was_after_all(it: Keyless, how: str, error: BaseException) -> None:
    """Either it is made and its answer counts, or it is not made, and never will be, and that is what is said."""
    item = work()
    betray(it, how, error)
    it.submit(item)
    it.clear(it.asked[0])
    it.end_all()
    it.run(2.0)
    it.end_all()
    if how == "at once":
        assert it.results() == [Approved(f"A-{item.work_id}", final=True)]
        assert it.gateway.calls == [item.work_id]
    else:
        assert [type(result) for result in it.results()] == [NotTried]
        assert it.gateway.calls == []
    free(it)


@pytest.mark.parametrize("error", ERRORS)
def test_a_death_over_saying_that_no_thread_could_be_had(it: Keyless, error: BaseException) -> None:
    """One shortage may hit both: it is said all the same, once, and the slot comes free."""
    betray(it, "never", error)
    it.submit(work())
    tell = it.customer.tell

    def deadly(message: object, /) -> None:
        it.customer.tell = tell  # type: ignore[method-assign]
        raise error

    it.customer.tell = deadly  # type: ignore[method-assign]
    it.clear(it.asked[0])
    it.run(5.0)
    assert it.address.deaths == 1
    assert [type(result) for result in it.results()] == [NotTried]
    assert it.gateway.calls == []
    free(it)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("how", ["at once", "later", "never"])
def test_with_keys_it_is_called_once_too(how: str, error: BaseException) -> None:
    """The work waits on when nobody has it, and is not called twice when somebody has."""
    it = Supervised()
    item = work()
    betray(it, how, error)
    it.submit(item)
    it.run(2.0)
    it.end_all()
    it.run(2.0)
    assert it.gateway.calls == [item.work_id]
    assert it.results() == [Approved(f"A-{item.work_id}", final=True)]
    assert it.bulkheads[GATEWAY].in_flight == 0


class UnspeakableError(NotSentError):
    """Whoever asks what it says meets another error."""

    def __str__(self) -> str:
        """It cannot be said."""
        raise ValueError("no words")


@pytest.mark.parametrize("error", [UnspeakableError(), type("Odd", (UnspeakableError, OutcomeUnknownError), {})()])
def test_a_call_that_breaks_off_has_an_outcome(it: Keyless, error: BaseException) -> None:
    """Whatever breaks around the adapter: its customer is told that nobody knows, and the slot comes free."""

    def answer(_: Order) -> Outcome:
        raise error

    it.gateway.answer = answer
    it.submit(work())
    it.clear(it.asked[0])
    with pytest.raises(ValueError, match="no words"):  # the bulkhead's thread logs it
        it.end()
    it.run()
    assert it.results() == [Unknown("the call broke off")]
    free(it)


def test_a_listener_that_breaks_hides_no_answer(it: Keyless) -> None:
    """What the gateway said is told, whatever becomes of the figures."""

    def called(*_: Any) -> None:
        raise ValueError("no words")

    it.heard.called = called  # type: ignore[method-assign, assignment]
    item = work()
    it.submit(item)
    it.clear(it.asked[0])
    with pytest.raises(ValueError, match="no words"):
        it.end()
    it.run()
    assert it.results() == [Approved(f"A-{item.work_id}", final=True)]
    free(it)
