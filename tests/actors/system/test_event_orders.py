"""Every order of a call's answer, its callback, a repeated callback, a lookup and a crash has the same result."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from domain.account import Balance, Status
from domain.events import Kind
from store.port import StoredEvent
from tests.actors.support import GATEWAY
from tests.actors.system.ordered_provider import (
    AMOUNT,
    REFERENCE,
    Provider,
    Scenario,
    Step,
    observable,
    orders,
    truthful,
)
from tests.actors.system.ordered_world import FUNDS, SharedStore, World

ORDERS: Final = 12 * (1 + 5 + 4 * 2)
"""Of four things, two of them equal: no crash, or one at five places, or one at two places in each of the four."""
DIFFERENT: Final = 132
"""Those of them that differ in an effect."""
TRUTHFUL: Final = [
    truthful("success", completes=True),
    truthful("declined", completes=False),
    *(truthful(answer, completes=completes) for answer in ("pending", "lost") for completes in (True, False)),
]
CONTRADICTING: Final = [
    Scenario("success", completes=True, says=False),
    Scenario("declined", completes=False, says=True),
]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedStore]:
    """A store for all worlds of a test; nothing is logged, because hundreds of processes die here."""
    logging.disable(logging.CRITICAL)
    shared = SharedStore(tmp_path / "payments.db")
    yield shared
    shared.store.close()
    logging.disable(logging.NOTSET)


def different_orders(*things: str) -> set[tuple[Step, ...]]:
    """Every order of the four ``things`` and a crash, once. It counts them, so that none is left out."""
    every = [*orders(things)]
    assert len(every) == ORDERS
    different = {observable(order) for order in every}
    assert len(different) == DIFFERENT
    return different


def played(shared: SharedStore, scenario: Scenario, kind: Kind, order: Sequence[Step], *, keys: bool) -> World:
    """A new world in which the order and everything that follows from it has happened."""
    world = World(shared, Provider(scenario, keys=keys), kind)
    for step in order:
        world.happen(step)
    world.finish()
    return world


def balance(kind: Kind, *, completed: bool) -> Balance:
    """The customer's balance at the end."""
    moved = AMOUNT if kind is Kind.DEPOSIT else -AMOUNT
    return Balance(FUNDS + moved if completed else FUNDS, 0)


@pytest.mark.parametrize("keys", [True, False], ids=["keys", "no-keys"])
@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
@pytest.mark.parametrize("scenario", TRUTHFUL, ids=str)
def test_every_order_ends_as_the_provider_has_it(
    shared: SharedStore, scenario: Scenario, kind: Kind, *, keys: bool
) -> None:
    """Status, reference and balance agree with the provider; there is at most one effect, no review and no work."""
    for order in different_orders("answer", "callback", "callback", "lookup"):
        world = played(shared, scenario, kind, order, keys=keys)
        reported = " ".join(map(str, order))
        transaction, attention = world.transaction
        status = Status.COMPLETED if scenario.completes else Status.FAILED
        assert (transaction.status, transaction.gateway_reference, attention) == (status, REFERENCE, None), reported
        assert world.balance == balance(kind, completed=scenario.completes), reported
        assert len(ends(world)) == 1, reported
        assert not any(event.type == "ReviewOpened" for event in world.events()), reported
        assert world.provider.moved == scenario.completes, reported
        assert keys or world.provider.sendings == 1, reported
        assert world.work == {}, reported
        assert not world.owed, reported
        world.close()


@pytest.mark.parametrize("keys", [True, False], ids=["keys", "no-keys"])
@pytest.mark.parametrize("kind", [Kind.DEPOSIT, Kind.WITHDRAWAL])
@pytest.mark.parametrize("scenario", CONTRADICTING, ids=str)
def test_every_contradiction_is_one_review(shared: SharedStore, scenario: Scenario, kind: Kind, *, keys: bool) -> None:
    """The first report is kept. Each event id that contradicts it is one review, and so is the call's own answer."""
    for order in different_orders("answer", "callback", "callback", "another"):
        world = played(shared, scenario, kind, order, keys=keys)
        reported = " ".join(map(str, order))
        causes = [f"{GATEWAY}:{world.event_id(name)}" for name in ("callback", "another")]
        (end,) = ends(world)
        by_callback = cause(end) in causes
        completed = scenario.says if by_callback else scenario.completes
        assert world.transaction.transaction.status is (Status.COMPLETED if completed else Status.FAILED), reported
        assert world.balance == balance(kind, completed=completed), reported
        reviews = Counter(cause(event) for event in world.events() if event.type == "ReviewOpened")
        assert world.reviews == reviews.total(), reported
        of_callbacks = {name: reviews.pop(name) for name in causes if name in reviews}
        assert of_callbacks == ({} if by_callback else dict.fromkeys(causes, 1)), reported
        # Where the process died, the call's answer may be lost.
        assert by_callback * answered(order) <= reviews.total() <= by_callback, reported
        assert world.provider.moved == scenario.completes, reported
        assert world.work == {}, reported
        world.close()


def ends(world: World) -> list[StoredEvent]:
    """The events that ended the transaction."""
    return [event for event in world.events() if event.type.endswith(("Completed", "Failed"))]


def cause(event: StoredEvent) -> str | None:
    """The callback or other cause that led to an event."""
    causation: str | None = json.loads(event.body)["metadata"].get("causation_id")
    return causation


def answered(order: Sequence[Step]) -> bool:
    """Whether the call's answer came to a living process that had time to record what follows from it."""
    return Step("answer") in observable(order)
