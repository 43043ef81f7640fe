"""docs/events.md is correct: its example validates, its names exist, and its consumers book each event once."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from decimal import Decimal

import orjson
import pytest

from domain.events import EVENT_TYPES
from domain.money import Money
from messaging.asyncapi import ATTRIBUTES
from messaging.cloud_events import CloudEvents
from messaging.message import Message
from store.backend import PaymentStore
from tests.messaging.consuming import PAGE, Consumer, balances
from tests.messaging.recorded import recorded
from tests.messaging.validation import closed_validator

(EXAMPLE,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    """A consumer that has seen nothing."""
    made = Consumer()
    yield made
    made.db.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaymentStore]:
    """A store with events of every kind."""
    with recorded(tmp_path_factory.mktemp("recorded")) as store:
        yield store


@pytest.fixture(scope="module")
def messages(store: PaymentStore) -> Sequence[Message]:
    """Their messages."""
    return CloudEvents(store, "").messages(store.all_events(None, after=0, limit=1000), 0)


def test_the_bookings_are_the_balances(store: PaymentStore, messages: Sequence[Message], consumer: Consumer) -> None:
    """Deposits, captures in part, voids, refunds, failures and adjustments add up to what the service holds."""
    for message in messages:
        consumer.receive(message)
    expected = balances(store)
    assert consumer.totals() == expected
    assert expected["main/customer-1", "USD"] == Decimal(Money(10_000 - 4_000 + 7_000 - 5, "USD").text)


def test_repeated_deliveries_book_once(store: PaymentStore, messages: Sequence[Message], consumer: Consumer) -> None:
    """A sender that starts again at any earlier event changes nothing."""
    for end in range(1, len(messages) + 1):
        for message in messages[max(0, end - 7) : end]:
            consumer.receive(message)
    for message in messages:
        consumer.receive(message)
    assert consumer.totals() == balances(store)


def test_a_failed_booking_is_repeated(messages: Sequence[Message], consumer: Consumer) -> None:
    """The mark and the booking are one transaction: a failure between them leaves neither."""
    first = next(it for it in messages if it.type == "payments.DepositCompleted.v1")
    consumer.db.execute("ALTER TABLE marks RENAME TO away")
    consumer.db.execute("CREATE TABLE marks (customer TEXT, generation INTEGER, sequence INTEGER CHECK (sequence < 0))")
    with pytest.raises(sqlite3.IntegrityError):
        consumer.receive(first)
    assert consumer.totals() == {}
    consumer.db.execute("DROP TABLE marks")
    consumer.db.execute("ALTER TABLE away RENAME TO marks")
    consumer.receive(first)
    assert [*consumer.totals().values()] == [Decimal("100.00")]


def test_a_restored_database_stops_the_consumer(
    store: PaymentStore, messages: Sequence[Message], consumer: Consumer
) -> None:
    """A higher generation is never taken for the next event, and a late one of a lower generation is dropped."""
    events = store.all_events(None, after=0, limit=3)
    later = CloudEvents(store, "").messages(events, 1)
    consumer.receive(messages[0])
    with pytest.raises(RuntimeError, match="restored: reconcile main/customer-1"):
        consumer.receive(later[1])
    fresh = Consumer()
    fresh.receive(later[2])  # a deposit of 100.00 is completed
    fresh.receive(messages[3])
    assert fresh.db.execute("SELECT generation, sequence FROM marks").fetchall() == [(1, 3)]
    fresh.db.close()


def test_the_example_is_valid() -> None:
    """The example on the page is data that the schema of its type accepts, without other members."""
    assert [error.message for error in closed_validator("DepositCompleted").iter_errors(orjson.loads(EXAMPLE))] == []


def test_the_page_names_what_exists() -> None:
    """Every event type on the page exists, and its table of attributes is complete."""
    named = set(re.findall(r"`((?:Deposit|Withdrawal|Refund|Capture|Void|Balance|Review)[A-Z]\w+)`", PAGE))
    assert named
    assert named <= EVENT_TYPES.keys()
    table = PAGE.split("| attribute | value |")[1].split("\n\n")[0]
    listed = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition("| ")[2].split(" | ")[0])
    }
    assert listed == (ATTRIBUTES.keys() | {"datacontenttype"}) - {"specversion"}
