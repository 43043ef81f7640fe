"""Stored events of every kind of transaction, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from domain.events import BalanceAdjusted, Failed, Kind, OutcomeUnknown, ReviewClosed, ReviewOpened, Submitted
from domain.gateway_report import Expected, GatewayReport, Source
from domain.money import Money
from domain.outcomes import Category
from store.backend import PaymentStore
from store.backends import backend_of
from store.port import GATEWAYS
from tests.store.builders import OWNER, START, Clock, Customer, Step, complete, deposit, open_work, received, story
from tests.store.templates import new_sqlite

REPORT = GatewayReport(Source.CALLBACK, "gatewayA", START, "evt-1", "t1", "A-1", amount="5", body="{}", body_bytes=2)


@contextmanager
def recorded(folder: Path) -> Iterator[PaymentStore]:
    """A store with deposits, withdrawals, refunds, captures, voids, adjustments and reviews of two merchants."""
    path = folder / "payments.db"
    new_sqlite(path)
    with closing(backend_of(f"sqlite:///{path}", root=Path("/")).open(clock=Clock())) as store:
        store.register_owner(OWNER)
        customer, other, gateway = Customer(), Customer("b:2", "shop"), Customer("gatewayB", GATEWAYS)
        store.append([customer.write(*story(), *_others())])
        store.append([other.write(deposit("x1"), complete("x1"))])
        store.append([gateway.write(Step((ReviewOpened("r3", None, "unknown reference", REPORT),)))])
        yield store


def _others() -> Iterator[Step]:
    withdrawal = Kind.WITHDRAWAL
    yield Step((received("w1", 500, kind=withdrawal, reserved=True),), work=(open_work("w1"),))
    yield Step((Submitted(withdrawal, "w1", 1), OutcomeUnknown(withdrawal, "w1", "timeout")))
    yield Step((Failed(withdrawal, "w1", "insufficient_funds", Category.SOFT, "néin", "A-9"),))
    yield Step((BalanceAdjusted("a1", Money(-5, "USD"), "correction", "ticket 7"),))
    yield Step((ReviewOpened("r1", "w1", "contradiction", REPORT, Expected("gatewayA", "failed", "5.00", "USD")),))
    yield Step((ReviewClosed("r1", "looked at"), ReviewOpened("r2", "removed", "not on record")))
