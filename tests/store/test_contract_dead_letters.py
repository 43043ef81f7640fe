"""Contract of operator commands: list and retry dead letters, hasten lookups, set the modes of breakers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from store.backend import PaymentStore
from store.errors import UnstorableError
from store.port import (
    Action,
    Committed,
    DeadLetterFilter,
    DeliveryCertainty,
    Fence,
    Fenced,
    GatewayMode,
    Head,
    OpenWork,
    Part,
    StreamKey,
    WorkError,
    WorkItem,
    WorkState,
    Write,
)
from store.queries import DeadLetter
from tests.store.builders import OWNER, START, Customer, Step, move

COMMITTED = Committed()
EVERY = DeadLetterFilter()
ERRORS = (WorkError(START + timedelta(microseconds=1), "connect timeout"), WorkError(START, "ä \u2028"))


def fill(store: PaymentStore) -> Customer:
    """Dead d0 to d3 and parked p0 to p3, odd ones on gatewayB and sent; one each of other work; another merchant's."""
    customer, stranger = Customer(), Customer("customer-1", "other")
    store.append([customer.deposit("leased", owner=OWNER), customer.deposit("queued"), stranger.deposit("d9")])
    moves = []
    for number in range(4):
        gateway = "gatewayB" if number % 2 else "gatewayA"
        for key, state in ((f"d{number}", WorkState.DEAD), (f"p{number}", WorkState.PARKED)):
            store.append([customer.deposit(key, gateway=gateway, owner=OWNER)])
            moves.append(
                move(key, state=state, delay_s=60, attempts=5, errors=ERRORS, certainty=DeliveryCertainty.LEASE_LOST)
            )
    assert store.append([customer.write(Step(work=moves))]) == [COMMITTED]
    assert store.append([stranger.write(Step(work=(move("d9", state=WorkState.DEAD),)))]) == [COMMITTED]
    return customer


def listed(
    store: PaymentStore, where: DeadLetterFilter = EVERY, *, before: str | None = None, limit: int = 100
) -> list[str]:
    """The ids in the order of the list."""
    return [letter.item.work_id for letter in store.dead_letters("main", where, before=before, limit=limit)]


def test_a_dead_letter_shows_all_its_data(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """A dead letter shows state, times, attempts, errors, certainty and the transaction, on its own and in the list.

    A parked one has no time of a next attempt.
    """
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER)])
    pass_time(7)
    dead = move("t1", state=WorkState.DEAD, delay_s=60.5, attempts=5, errors=ERRORS, certainty=DeliveryCertainty.SENT)
    assert store.append([customer.write(Step(work=(dead,)))]) == [COMMITTED]
    expected = DeadLetter(
        WorkItem(
            work_id="t1",
            token=2,
            stream=customer.stream,
            gateway="gatewayA",
            action=Action.SUBMIT,
            event_type="DepositReceived",
            attempts=5,
            errors=ERRORS,
            transaction=customer.account.transactions["t1"],
            certainty=DeliveryCertainty.SENT,
        ),
        transaction_id="t1",
        state=WorkState.DEAD,
        next_attempt_at=START + timedelta(seconds=67.5),
        created_at=START,
    )
    assert store.dead_letter("main", "t1") == expected
    assert store.dead_letters("main", EVERY, before=None, limit=9) == [expected]
    store.append([customer.write(Step(work=(move("t1", state=WorkState.PARKED),)))])
    parked = store.dead_letter("main", "t1")
    assert parked is not None
    assert (parked.state, parked.next_attempt_at, parked.item.token) == (WorkState.PARKED, None, 3)


def test_a_dead_letter_without_a_transaction(store: PaymentStore) -> None:
    """A stored callback that cannot be applied is listed with its bytes."""
    work = OpenWork("callback-1", None, "gatewayA", Action.RESOLVE, "Callback", None, b"\xff raw")
    store.append([Write(StreamKey("main", "no-match-yet"), Head(), (Part((), (), None, (work,)),))])
    parked = move("callback-1", state=WorkState.PARKED, action=Action.RESOLVE)
    store.append([Write(StreamKey("main", "no-match-yet"), Head(), (Part((), (), None, (parked,)),))])
    letter = store.dead_letter("main", "callback-1")
    assert letter is not None
    assert (letter.transaction_id, letter.item.transaction, letter.item.payload) == (None, None, b"\xff raw")


def test_other_work_is_not_a_dead_letter(store: PaymentStore) -> None:
    """Leased and queued work, work of another merchant and unknown work are not found, on their own and in the list."""
    fill(store)
    for key in ("leased", "queued", "d9", "none"):
        assert store.dead_letter("main", key) is None
        assert listed(store, DeadLetterFilter(work_id=key)) == []
    assert listed(store, DeadLetterFilter(state=WorkState.QUEUED)) == []
    assert store.dead_letter("other", "d1") is None
    assert store.dead_letter("other", "d9") is not None


FILTERS = [
    (EVERY, ["p3", "p2", "p1", "p0", "d3", "d2", "d1", "d0"]),
    (DeadLetterFilter(gateway="gatewayB"), ["p3", "p1", "d3", "d1"]),
    (DeadLetterFilter(gateway="gatewayC"), []),
    (DeadLetterFilter(state=WorkState.DEAD), ["d3", "d2", "d1", "d0"]),
    (DeadLetterFilter(state=WorkState.PARKED), ["p3", "p2", "p1", "p0"]),
    (DeadLetterFilter(work_id="d2"), ["d2"]),
    (DeadLetterFilter(work_id="d9"), []),
    (DeadLetterFilter(gateway="gatewayA", state=WorkState.PARKED), ["p2", "p0"]),
    (DeadLetterFilter(gateway="gatewayA", state=WorkState.DEAD, work_id="d2"), ["d2"]),
    (DeadLetterFilter(gateway="gatewayB", work_id="d2"), []),
    (DeadLetterFilter(state=WorkState.PARKED, work_id="d2"), []),
]


@pytest.mark.parametrize(("where", "expected"), FILTERS)
def test_dead_letters_in_pages(store: PaymentStore, where: DeadLetterFilter, expected: list[str]) -> None:
    """All given filters hold together. Dead letters are listed newest first, in pages of any size."""
    fill(store)
    assert listed(store, where) == expected
    for limit in (1, 3):
        paged: list[str] = []
        while page := listed(store, where, before=paged[-1] if paged else None, limit=limit):
            assert len(page) <= limit
            assert not set(page) & set(paged)
            paged += page
        assert paged == expected


@pytest.mark.parametrize(("where", "expected"), FILTERS)
def test_dead_letters_are_retried(
    store: PaymentStore, pass_time: Callable[[float], None], where: DeadLetterFilter, expected: list[str]
) -> None:
    """Matching dead letters of the merchant are queued and due at once. The others stay dead letters."""
    fill(store)
    everything = listed(store)
    pass_time(1)
    assert store.retry_dead("main", where) == len(expected)
    assert listed(store) == [key for key in everything if key not in expected]
    assert store.dead_letter("other", "d9") is not None
    store.append([Customer("late").deposit("late")])
    claimed = [item.work_id for name in ("gatewayA", "gatewayB") for item in store.claim_work(OWNER, name, 100)]
    assert set(claimed) - {"queued", "late", "d9"} == set(expected)
    assert store.retry_dead("main", where) == 0


def test_a_retry_keeps_the_history(store: PaymentStore) -> None:
    """Attempts, errors and certainty stay; the token is new, so that a fence with the old one fails."""
    customer = fill(store)
    for key in ("d0", "p0"):
        before = store.dead_letter("main", key)
        assert before is not None
        assert store.retry_dead("main", DeadLetterFilter(work_id=key)) == 1
        stale = Step(fence=Fence(key, before.item.token), work=(move(key),))
        assert store.append([customer.write(stale)]) == [Fenced(0)]
    items = {item.work_id: item for item in store.claim_work(OWNER, "gatewayA", 100)}
    for key in ("d0", "p0"):
        item = items[key]
        assert (item.attempts, item.errors, item.certainty, item.token) == (5, ERRORS, DeliveryCertainty.LEASE_LOST, 4)


def test_a_merchant_retries_its_own_only(store: PaymentStore) -> None:
    """A command of another merchant changes nothing, even by id."""
    fill(store)
    everything = listed(store)
    assert store.retry_dead("other", DeadLetterFilter(work_id="d1")) == 0
    assert store.retry_dead("absent", EVERY) == 0
    assert store.retry_dead("other", EVERY) == 1
    assert listed(store) == everything


def test_lookups_are_hastened(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """The waiting lookups of a gateway that is available again are due now. All other work keeps its due time."""
    customer = Customer()
    plan: dict[str, tuple[str, Action, WorkState]] = {
        "lookup": ("gatewayA", Action.RESOLVE, WorkState.QUEUED),
        "far": ("gatewayA", Action.RESOLVE, WorkState.QUEUED),
        "send": ("gatewayA", Action.SUBMIT, WorkState.QUEUED),
        "dead": ("gatewayA", Action.RESOLVE, WorkState.DEAD),
        "parked": ("gatewayA", Action.RESOLVE, WorkState.PARKED),
        "leased": ("gatewayA", Action.RESOLVE, WorkState.LEASED),
        "other": ("gatewayB", Action.RESOLVE, WorkState.QUEUED),
    }
    for key, (gateway, action, state) in plan.items():
        store.append([customer.deposit(key, gateway=gateway, owner=OWNER)])
        moved = move(key, action=action, state=state, delay_s=600 if key == "far" else 60)
        assert store.append([customer.write(Step(work=(moved,)))]) == [COMMITTED]
    pass_time(1)
    assert store.hasten_lookups("gatewayA") == 3
    assert store.next_due_s("gatewayA") == 0
    claimed = store.claim_work(OWNER, "gatewayA", 100)
    assert {(item.work_id, item.token) for item in claimed} == {("lookup", 3), ("far", 3), ("dead", 3)}, "all keep them"
    assert store.next_due_s("gatewayA") == pytest.approx(59, abs=1)
    assert store.next_due_s("gatewayB") == pytest.approx(59, abs=1)
    assert store.hasten_lookups("gatewayA") == 0


def test_a_hastened_lookup_overtakes_no_work(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Work that was due before stays before the hastened lookups."""
    customer = Customer()
    for key, delay_s in (("a later", 60), ("b due", 1)):
        store.append([customer.deposit(key, owner=OWNER)])
        store.append([customer.write(Step(work=(move(key, action=Action.RESOLVE, delay_s=delay_s),)))])
    pass_time(5)
    store.hasten_lookups("gatewayA")
    assert [item.work_id for item in store.claim_work(OWNER, "gatewayA", 1)] == ["b due"]


def test_the_last_mode_of_a_breaker_is_kept(store: PaymentStore) -> None:
    """Each gateway has the mode that was set last. An unknown mode is refused and changes nothing."""
    assert store.gateway_modes() == {}
    orders = [GatewayMode("gatewayA", mode, f"because {mode}") for mode in ("open", "closed", "auto", "open")]
    for order in orders:
        store.set_gateway_mode(order)
        assert store.gateway_modes() == {"gatewayA": order}
    other = GatewayMode("gatewayB", "closed", "")
    store.set_gateway_mode(other)
    with pytest.raises(UnstorableError):
        store.set_gateway_mode(GatewayMode("gatewayA", "ajar", "no such mode"))
    assert store.gateway_modes() == {"gatewayA": orders[-1], "gatewayB": other}
