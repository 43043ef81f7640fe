"""Contract of the reads: each is one snapshot, with the effect of its filters and its order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from actors.runtime.runtime import uuid7
from domain.account import Balance, Status
from domain.events import Failed, Kind, OutcomeUnknown, ReviewClosed, ReviewOpened
from domain.outcomes import Category
from store.backend import PaymentStore
from store.port import CloseWork, Committed, Head, StreamKey, WorkState
from store.queries import CustomerView, StoreStats, TransactionFilter
from tests.store.builders import OWNER, START, Customer, Step, complete, move, open_work, received

COMMITTED = Committed()


def listed(store: PaymentStore, where: TransactionFilter | None = None, **more: object) -> list[str]:
    """Ids of the merchant's transactions in the order of the list."""
    before, limit = more.get("before"), more.get("limit", 100)
    assert before is None or isinstance(before, str)
    assert isinstance(limit, int)
    views = store.transactions("main", where or TransactionFilter(), before=before, limit=limit)
    return [view.transaction.transaction_id for view in views]


def test_an_unknown_customer(store: PaymentStore) -> None:
    """Without events there is an empty account for decisions, and no customer to show."""
    stream = StreamKey("main", "absent")
    snapshot = store.load(stream, ["t1"])
    assert (snapshot.head, snapshot.account) == (Head(), Customer("absent").account)
    assert store.customer(stream) is None
    assert list(store.stream_events(stream, after=0, limit=5)) == []


def test_load_returns_the_named_transactions(store: PaymentStore) -> None:
    """The account holds exactly those of the named transactions that belong to this customer."""
    customer, other = Customer(), Customer("other")
    store.append([customer.deposit("t1"), customer.deposit("t2"), customer.complete("t2"), other.deposit("t3")])
    assert dict(store.load(customer.stream).account.transactions) == {}
    account = store.load(customer.stream, ["t2", "t3", "none"]).account
    assert dict(account.transactions) == {"t2": customer.account.transactions["t2"]}
    assert dict(account.balances) == {"USD": Balance(10_000, 0)}
    assert account.version == customer.account.version


def test_every_field_of_a_transaction_is_stored(store: PaymentStore) -> None:
    """Kind, money, details, reserve, submissions, reference, failure and times are stored unchanged."""
    customer = Customer()
    store.append([customer.write(Step((received("d", 5, "JPY"),)), complete("d"))])
    customer.now += timedelta(microseconds=1)
    steps = [
        Step((received("w", 3, "JPY", kind=Kind.WITHDRAWAL, reserved=True),)),
        Step((Failed(Kind.WITHDRAWAL, "w", "insufficient_funds", Category.SOFT, "näh \u2028"),)),
    ]
    store.append([customer.write(*steps)])
    for transaction in customer.account.transactions.values():
        view = store.transaction("main", transaction.transaction_id)
        assert view is not None
        assert view.transaction == transaction
    loaded = store.load(customer.stream, ["d", "w"])
    assert loaded.account == customer.account


def test_transactions_by_their_ids(store: PaymentStore) -> None:
    """The named transactions of all merchants in one read, with all fields; ids that none can have hide no other."""
    customer, other = Customer(), Customer("other", merchant="shop")
    store.append([customer.deposit("t1"), customer.deposit("t2"), other.deposit("t3"), customer.complete("t2")])
    expected = {"t2": customer.account.transactions["t2"], "t3": other.account.transactions["t3"]}
    assert dict(store.transactions_of(["t2", "t3", "none", "a\0b", "\ud800", "t2"])) == expected
    assert dict(store.transactions_of([])) == {}


def test_load_is_one_snapshot(store: PaymentStore) -> None:
    """While a writer continues, each load shows head, balance and transaction of the same instant."""
    customer = Customer()
    writes = []
    for number in range(60):
        writes += [customer.deposit(f"t{number}", 1), customer.complete(f"t{number}")]
    done = threading.Event()
    torn: list[object] = []

    def watch() -> None:
        while not done.is_set():
            snapshot = store.load(customer.stream, ["t59"])
            completed = snapshot.account.version // 3
            last = snapshot.account.transactions.get("t59")
            balance = snapshot.account.balances.get("USD", Balance())
            if snapshot.head.version != snapshot.account.version or balance.available != completed:
                torn.append(snapshot)
            if (last is not None) != (snapshot.account.version > 59 * 3):
                torn.append(snapshot)

    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    for write in writes:
        assert store.append([write]) == [COMMITTED]
    done.set()
    for watcher in watchers:
        watcher.join()
    assert torn == []


def test_a_customers_view(store: PaymentStore) -> None:
    """A customer is shown with the stream's version and its balances, currencies ascending."""
    customer = Customer()
    for currency in ("USD", "EUR", "KWD"):
        store.append([customer.write(Step((received(currency, 7, currency),)), complete(currency))])
    expected = [("EUR", Balance(7, 0)), ("KWD", Balance(7, 0)), ("USD", Balance(7, 0))]
    assert store.customer(customer.stream) == CustomerView(9, expected)


def test_a_merchant_sees_its_own(store: PaymentStore) -> None:
    """Another merchant's transaction is absent, as a single answer and in the list."""
    store.append([Customer("c", "main").deposit("t1"), Customer("c", "other").deposit("t2")])
    assert store.transaction("other", "t1") is None
    assert store.transaction("main", "none") is None
    assert listed(store) == ["t1"]


Steps = tuple[Step, ...]
_OPENED = Step((ReviewOpened("r1", "t1", "odd"),))
_DEAD = Step(work=(move("t1", state=WorkState.DEAD, delay_s=60),))
_PARKED = Step(work=(move("t1", state=WorkState.PARKED),))


@pytest.mark.parametrize(
    ("steps", "attention"),
    [
        ((), None),
        ((_DEAD,), "dead_letter"),
        ((_PARKED,), "parked"),
        ((_DEAD, Step(work=(move("t1"),))), None),
        ((_OPENED,), "review"),
        ((_DEAD, _OPENED), "review"),
        ((_PARKED, _OPENED), "review"),
        ((_OPENED, Step((ReviewClosed("r1", "looked"),))), None),
        ((_PARKED, _OPENED, Step((ReviewClosed("r1", "looked"),))), "parked"),
    ],
)
def test_attention(store: PaymentStore, steps: Steps, attention: str | None) -> None:
    """A transaction shows what needs attention: an open review before parked work, and that before a dead letter."""
    customer = Customer()
    store.append([customer.deposit("t1", owner=OWNER), customer.deposit("t2", owner=OWNER)])
    if steps:
        assert store.append([customer.write(*steps)]) == [COMMITTED]
    view, neighbour = store.transaction("main", "t1"), store.transaction("main", "t2")
    assert view is not None
    assert neighbour is not None
    assert (view.attention, neighbour.attention) == (attention, None)
    views = store.transactions("main", TransactionFilter(), before=None, limit=10)
    assert [view.attention for view in views] == [None, attention]
    views = store.transactions("main", TransactionFilter(customer_id="customer-1"), before=None, limit=10)
    assert [view.attention for view in views] == [None, attention]


def key_of(number: int) -> str:
    """The id of the transaction of that number, made half a second before the decision."""
    return uuid7(START + timedelta(seconds=number - 0.5), number)


def _fill(store: PaymentStore) -> None:
    """Numbers 0 to 9: customers a and b in turn; 3 6 9 on gatewayB; even ones completed; a second apart."""
    customers = [Customer("a"), Customer("b")]
    for number in range(10):
        customer, key = customers[number % 2], key_of(number)
        customer.now = START + timedelta(seconds=number)
        gateway = "gatewayB" if number % 3 == 0 and number else "gatewayA"
        kind = Kind.WITHDRAWAL if number == 5 else Kind.DEPOSIT
        steps = [Step((received(key, kind=kind, gateway=gateway),), work=(open_work(key, gateway=gateway),))]
        if number % 2 == 0:
            steps.append(complete(key))
        assert store.append([customer.write(*steps)]) == [COMMITTED]


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        (TransactionFilter(), "9876543210"),
        (TransactionFilter(customer_id="a"), "86420"),
        (TransactionFilter(customer_id="absent"), ""),
        (TransactionFilter(status=Status.COMPLETED), "86420"),
        (TransactionFilter(status=Status.PENDING), "97531"),
        (TransactionFilter(status=Status.FAILED), ""),
        (TransactionFilter(gateway="gatewayB"), "963"),
        (TransactionFilter(kind=Kind.WITHDRAWAL), "5"),
        (TransactionFilter(created_from=START + timedelta(seconds=7)), "987"),
        (TransactionFilter(created_to=START + timedelta(seconds=2)), "10"),
        (TransactionFilter(customer_id="b", gateway="gatewayB", status=Status.PENDING), "93"),
        (
            TransactionFilter(
                customer_id="b",
                kind=Kind.DEPOSIT,
                created_from=START + timedelta(seconds=1),
                created_to=START + timedelta(seconds=9),
            ),
            "731",
        ),
    ],
)
def test_filters(store: PaymentStore, where: TransactionFilter, numbers: str) -> None:
    """All given filters hold together. Transactions are listed newest first, in pages of any size."""
    _fill(store)
    expected = [key_of(int(number)) for number in numbers]
    assert listed(store, where) == expected
    paged: list[str] = []
    while page := listed(store, where, before=paged[-1] if paged else None, limit=2):
        assert len(page) <= 2
        paged += page
    assert paged == expected


def test_a_cursor_stays_valid_while_rows_are_added(store: PaymentStore) -> None:
    """Transactions that arrive between two pages neither shift nor repeat the remaining ones."""
    _fill(store)
    first = listed(store, limit=4)
    store.append([Customer("c").deposit(key_of(99))])
    assert first + listed(store, before=first[-1]) == [key_of(number) for number in range(9, -1, -1)]


@pytest.mark.parametrize("late_s", [-59, 0, 0.001, 119, 179])
def test_a_time_is_that_of_the_decision(store: PaymentStore, late_s: float) -> None:
    """A transaction is listed by its time of creation, also when its id is older, or from a clock that was set back."""
    customer = Customer()
    key = uuid7(customer.now - timedelta(seconds=late_s), 7)
    store.append([customer.deposit(key)])
    instant, after = START, START + timedelta(microseconds=1)
    for customer_id in (None, customer.stream.id):
        only, none = TransactionFilter(customer_id, created_from=instant), TransactionFilter(created_from=after)
        assert (listed(store, only), listed(store, none)) == ([key], [])
        only, none = TransactionFilter(customer_id, created_to=after), TransactionFilter(created_to=instant)
        assert (listed(store, only), listed(store, none)) == ([key], [])


def test_transactions_of_past_gateways_are_listed(store: PaymentStore) -> None:
    """The list holds the merchant's transactions of all gateways, past and present, in one order."""
    a, b = Customer("a"), Customer("b")
    others = Customer("a", "other").deposit("t9", gateway="gatewayX")
    names = ["gatewayB", "Z", "a", "gatewayA", "ä", "gatewayB"]
    for number, name in enumerate(names):
        store.append([(a if number % 2 else b).deposit(f"t{number}", gateway=name), others])
    assert listed(store) == ["t5", "t4", "t3", "t2", "t1", "t0"]
    assert listed(store, limit=3) == ["t5", "t4", "t3"]
    assert listed(store, TransactionFilter(gateway="gatewayB")) == ["t5", "t0"]
    assert listed(store, TransactionFilter(gateway="gatewayX")) == []


def test_a_stream_in_pages(store: PaymentStore) -> None:
    """A stream is read by ascending version after any version, up to the given number."""
    customer = Customer()
    store.append([customer.deposit(f"t{number}") for number in range(7)])
    pages = [store.stream_events(customer.stream, after=after, limit=3) for after in (0, 3, 6, 7)]
    assert [[event.version for event in page] for page in pages] == [[1, 2, 3], [4, 5, 6], [7], []]


def test_work_counts(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Unfinished work is counted by gateway and state."""
    customer = Customer()
    store.append([customer.deposit("t1"), customer.deposit("t2"), customer.deposit("t3", gateway="gatewayB")])
    store.append([customer.write(Step(work=(move("t1", state=WorkState.DEAD), CloseWork("t3"))))])
    assert store.work_counts() == {("gatewayA", "dead"): 1, ("gatewayA", "queued"): 1}


def test_the_counts_of_waiting_work(store: PaymentStore, pass_time: Callable[[float], None]) -> None:
    """Waiting work is counted over all merchants, with the age of the oldest work of each gateway and state."""
    assert store.stats() == StoreStats({}, {}, 0)
    customer, other = Customer(), Customer("customer-2", merchant="other")
    store.append([customer.deposit("t1"), customer.deposit("t2"), customer.deposit("t3", gateway="gatewayB")])
    pass_time(60.0)
    store.append([other.deposit("t4"), other.deposit("t5")])
    store.append(
        [
            customer.write(
                Step((OutcomeUnknown(Kind.DEPOSIT, "t1", "no answer"),), work=(move("t1", state=WorkState.PARKED),)),
                Step((ReviewOpened("r1", "t1", "odd"), ReviewOpened("r2", None, "odd"), ReviewClosed("r2", "seen"))),
            ),
            other.write(
                Step((OutcomeUnknown(Kind.DEPOSIT, "t4", "no answer"),)), Step((ReviewOpened("r3", "t4", "odd"),))
            ),
            customer.complete("t3"),
        ]
    )
    pass_time(5.0)
    stats = store.stats()
    counts = {key: work.pieces for key, work in stats.unfinished.items()}
    assert counts == {("gatewayA", "parked"): 1, ("gatewayA", "queued"): 3}
    assert all(work.oldest_s >= 65.0 for work in stats.unfinished.values()), "the oldest counts, not the newest"
    assert stats.unknown == {"gatewayA": 2, "gatewayB": 0}
    assert stats.open_reviews == 2


def test_a_working_store_answers(store: PaymentStore) -> None:
    """A ping returns when the store works."""
    store.ping()


def test_an_audit_sees_one_instant(store: PaymentStore) -> None:
    """Commits after the beginning of an audit are not in it. Streams are returned in order, with all their rows."""
    b, a = Customer("b"), Customer("a")
    store.append([b.deposit("t1"), a.deposit("t2"), a.complete("t2"), a.deposit("t3")])
    with store.audit() as audit:
        store.append([a.deposit("t4"), Customer("c").deposit("t5")])
        assert list(audit.streams()) == [a.stream, b.stream]
        assert [event.version for event in audit.events(a.stream)] == [1, 2, 3, 4]
        assert audit.head(a.stream).version == 4
        assert [row.transaction_id for row in audit.transactions(a.stream)] == ["t2", "t3"]
        assert list(audit.balances(a.stream)) == [("USD", Balance(10_000, 0))]
        assert list(audit.unfinished(a.stream)) == ["t3"]
        assert list(audit.reviews(a.stream)) == []
    with store.audit() as audit:
        assert len(list(audit.streams())) == 3
