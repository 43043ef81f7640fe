"""Dead letters stay listed for operators, behind an open breaker and when only lookups are left."""

from __future__ import annotations

import pytest

from actors.messages import SetBreakerMode
from actors.runtime.actor import Future
from actors.runtime.simulated import SimulatedRuntime
from actors.settings import SystemSettings
from domain.outcomes import NotSentError, Outcome, OutcomeUnknownError
from gateways.port import Order
from store.port import DeadLetterFilter, GatewayMode, WorkState
from store.sqlite.adapter import SqliteStore
from tests.actors.support import GATEWAY, TroubledStore
from tests.actors.system.fixtures import Service

HOUR_S = 3600.0
EVERYTHING = DeadLetterFilter()


def refuse(_: Order) -> Outcome:
    """The provider refuses connections."""
    raise NotSentError("refused")


def swallow(_: Order) -> Outcome:
    """The provider does not answer."""
    raise OutcomeUnknownError("timeout")


@pytest.fixture
def service(runtime: SimulatedRuntime, store: TroubledStore, real_store: SqliteStore) -> Service:
    """A started service whose dead letters come soon."""
    settings = SystemSettings(dead_letter_first_s=20.0, dead_letter_max_s=20.0, dead_letter_attempts=12)
    service = Service(runtime, store, real_store, settings=settings)
    service.system.start()
    return service


def order(service: Service, mode: str) -> None:
    """Set an operator's mode of the breaker."""
    service.system.actors.breaker_sync.tell(SetBreakerMode(GatewayMode(GATEWAY, mode, "maintenance"), Future()))


def run(service: Service, seconds: float) -> None:
    """Let virtual ``seconds`` pass."""
    runtime = service.runtime
    assert isinstance(runtime, SimulatedRuntime)
    end = runtime.monotonic() + seconds
    runtime.run(end)
    runtime.advance(max(end - runtime.monotonic(), 0.0))


def listed(service: Service) -> set[str]:
    """The ids of the listed dead letters."""
    return {it.item.work_id for it in service.real.dead_letters("main", EVERYTHING, before=None, limit=100)}


def stuck(service: Service, count: int) -> set[str]:
    """Make ``count`` dead letters at a gateway that refuses."""
    service.gateway.answer = refuse
    order(service, "closed")
    for number in range(count):
        service.send(f"c{number}")
    for _ in range(200):
        run(service, 0.5)
        if len(listed(service)) == count:
            return listed(service)
    raise AssertionError("there were no dead letters")


def test_dead_letters_stay_listed_behind_a_breaker_that_an_operator_opened(service: Service) -> None:
    """They stay listed however long it stays open and they have been due. After that all of them are sent."""
    letters = stuck(service, 5)
    order(service, "open")
    calls = len(service.gateway.calls)
    run(service, HOUR_S)
    assert listed(service) == letters
    assert len(service.gateway.calls) == calls
    service.gateway.answer = service.gateway.accept
    order(service, "auto")
    run(service, 60.0)
    assert listed(service) == set()
    assert set(service.gateway.effects) == letters


def test_in_an_outage_one_dead_letter_is_the_probe_and_the_others_stay_listed(service: Service) -> None:
    """Behind a breaker that opened by itself, only what is sent is claimed."""
    letters = stuck(service, 8)
    order(service, "auto")
    run(service, 120.0)
    assert len(listed(service)) >= len(letters) - 1
    service.gateway.answer = service.gateway.accept
    run(service, 60.0)
    assert set(service.gateway.effects) == letters


def test_work_that_is_only_looked_up_once_a_day_is_listed(service: Service) -> None:
    """It may have been sent and cannot be discarded, but it is reported and listed as a dead letter."""
    service.gateway.answer = swallow
    service.gateway.looks_up = False
    order(service, "closed")
    service.send()
    run(service, 8 * HOUR_S)  # the schedule of lookups is over then
    (letter,) = service.real.dead_letters("main", EVERYTHING, before=None, limit=10)
    assert letter.state is WorkState.DEAD
    assert service.heard.dead_letters[-1] == (letter.item.work_id, WorkState.DEAD)
