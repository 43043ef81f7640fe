"""CloudEvents of stored events, with the SDK of the CloudEvents project as the second opinion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson
import pytest
from cloudevents.core.bindings import kafka, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from messaging.cloud_events import (
    AT_ONE_GO,
    CONTENT_TYPE,
    KAFKA_PREFIX,
    RABBITMQ_PREFIX,
    STRUCTURED_CONTENT_TYPE,
    CloudEvents,
    headers,
    structured,
)
from messaging.port import Message
from store.backend import PaymentStore
from store.errors import CorruptStoreError
from store.port import StoredEvent, StreamKey
from tests.api.support import Api
from tests.api.world import World
from tests.messaging.recorded import recorded

URL = "https://payments.example.com"
REQUIRED = {"specversion", "id", "source", "type"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaymentStore]:
    """A store with events of every kind."""
    with recorded(tmp_path_factory.mktemp("recorded")) as store:
        yield store


@pytest.fixture(scope="module")
def events(store: PaymentStore) -> Sequence[StoredEvent]:
    """All of its events."""
    return store.all_events(None, after=0, limit=1000)


@pytest.fixture(scope="module")
def messages(store: PaymentStore, events: Sequence[StoredEvent]) -> Sequence[Message]:
    """Their messages."""
    return CloudEvents(store, URL).messages(events, generation=2)


def one(messages: Sequence[Message], type_: str, subject: str) -> Message:
    """The message of this type about this subject."""
    (found,) = [it for it in messages if it.type == f"payments.{type_}.v1" and it.attributes["subject"] == subject]
    return found


def test_pauses(store: PaymentStore, events: Sequence[StoredEvent], messages: Sequence[Message]) -> None:
    """Many events are read and encoded in parts, with pauses for the other greenlets of the process."""
    pauses: list[None] = []
    maker = CloudEvents(store, URL, pause=lambda: pauses.append(None))
    many = [event for _ in range(2 * AT_ONE_GO) for event in events]
    assert maker.messages(many, generation=2) == [message for _ in range(2 * AT_ONE_GO) for message in messages]
    assert len(pauses) == 2 * (len(many) // AT_ONE_GO)
    pauses.clear()
    maker.messages(many[: AT_ONE_GO - 1], generation=2)
    assert pauses == []


def test_the_attributes_of_a_deposit(messages: Sequence[Message], events: Sequence[StoredEvent]) -> None:
    """Exactly the documented attributes with the documented values."""
    message = one(messages, "DepositCompleted", "x1")
    stored = next(it for it in events if it.event_id == message.event_id)
    assert message.attributes == {
        "specversion": "1.0",
        "id": stored.event_id,
        "source": "/merchants/shop",
        "type": "payments.DepositCompleted.v1",
        "subject": "x1",
        "time": "2026-11-01T12:00:00.123456Z",
        "dataschema": f"{URL}/schemas/DepositCompleted.v1.json",
        "partitionkey": "shop/b:2",
        "sequence": "00000000000000000003",
        "position": str(2 * 2**40 + stored.position),
        "generation": "2",
        "correlationid": "correlation-1",
    }
    assert (message.position, message.generation, message.version) == (stored.position, 2, 3)
    assert (message.stream, message.partition_key) == (StreamKey("shop", "b:2"), "shop/b:2")


def test_sources_and_subjects(messages: Sequence[Message]) -> None:
    """A gateway's stream is its own source. An event without a transaction is about the customer, or the gateway."""
    about = {(it.attributes["source"], it.attributes["subject"]) for it in messages if "Review" in it.type}
    main = "/merchants/main"
    assert about == {(main, "w1"), (main, "customer-1"), (main, "removed"), ("/gateways/gatewayB", "gatewayB")}


def test_the_data_of_a_refund(messages: Sequence[Message]) -> None:
    """The event, and what never changes of its transaction."""
    data = orjson.loads(one(messages, "RefundCompleted", "d0-r").data)
    assert data.keys() == {"event", "transaction"}
    assert data["event"]["data"] == {"transaction_id": "d0-r"}
    assert data["transaction"] == {
        "transaction_id": "d0-r",
        "type": "refund",
        "parent_id": "d0",
        "amount": "40.00",
        "currency": "USD",
        "gateway": "gatewayA",
        "customer_id": "customer-1",
        "details": {},
        "created_at": "2026-11-01T12:00:00.123456Z",
    }


def test_the_transaction_never_changes(messages: Sequence[Message]) -> None:
    """All events of a transaction carry the same members, the first one included."""
    by_id: dict[str, set[bytes]] = {}
    for message in messages:
        transaction = orjson.loads(message.data)["transaction"]
        if transaction is not None:
            assert transaction["transaction_id"] == message.attributes["subject"]
            by_id.setdefault(transaction["transaction_id"], set()).add(orjson.dumps(transaction))
    assert len(by_id) == 11
    assert {len(each) for each in by_id.values()} == {1}


def test_the_captured_amount_is_the_amount_to_book(messages: Sequence[Message]) -> None:
    """A captured authorization carries the captured amount, another completed deposit does not."""
    captured, whole = (orjson.loads(one(messages, "DepositCompleted", key).data) for key in ("d1", "d0"))
    assert captured["event"]["data"]["captured_amount"] == "70.00"
    assert captured["transaction"]["amount"] == "100.00"
    assert "captured_amount" not in whole["event"]["data"]


def test_events_without_a_transaction(messages: Sequence[Message]) -> None:
    """The transaction of an adjustment, a closed review, or a review of an unknown transaction is null."""
    without = [it.type for it in messages if orjson.loads(it.data)["transaction"] is None]
    reviews = ["payments.ReviewClosed.v1", *["payments.ReviewOpened.v1"] * 2]
    assert sorted(without) == ["payments.BalanceAdjusted.v1", *reviews]


def test_the_event_is_that_of_the_feed() -> None:
    """The event has exactly the members that ``GET /v1/events`` shows, in the same form."""
    world = World()
    api = Api(world)
    api.deposit(currency="JPY", details={"order": "é"})
    world.give("c-2", 500)
    world.generation = 3
    stored = world.all_events(None, after=0, limit=100)
    made = CloudEvents(world, URL).messages(stored, world.generation)
    assert [orjson.loads(it.data)["event"] for it in made] == api.get("/v1/events").json["items"]
    assert [it.attributes["position"] for it in made] == [
        str(it["position"]) for it in api.get("/v1/events").json["items"]
    ]


def test_a_trace_context_is_an_attribute() -> None:
    """The trace context of the request is passed on, and is absent without one."""
    world = World()
    api = Api(world)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    api.deposit()
    api.post(orjson.dumps({"amount": 1, "gateway": "gatewayA", "customer_id": "2"}), headers={"traceparent": trace})
    first, second = CloudEvents(world, URL).messages(world.all_events(None, after=0, limit=2), 0)
    assert "traceparent" not in first.attributes
    assert second.attributes["traceparent"] == trace


def test_a_transaction_that_is_missing_is_an_error(store: PaymentStore, events: Sequence[StoredEvent]) -> None:
    """An event whose transaction cannot be read is never published without the amount."""
    stored = next(it for it in events if it.type == "DepositCompleted")
    body = orjson.dumps({**orjson.loads(stored.body), "data": {"transaction_id": "gone"}})
    with pytest.raises(CorruptStoreError, match="missing"):
        CloudEvents(store, URL).messages([stored._replace(body=body)], 0)


def test_an_unknown_type_is_published(store: PaymentStore, events: Sequence[StoredEvent]) -> None:
    """An event of a later version keeps its type, and its transaction where it names one."""
    stored = next(it for it in events if it.type == "DepositCompleted")
    (message,) = CloudEvents(store, URL).messages([stored._replace(type="DepositBlessed")], 0)
    assert message.type == "payments.DepositBlessed.v1"
    assert orjson.loads(message.data)["transaction"] is not None


def test_the_order_is_kept(store: PaymentStore, events: Sequence[StoredEvent]) -> None:
    """Messages are in the order of the events, and there is one for each."""
    shuffled = [*events[5:], *events[:5]]
    made = CloudEvents(store, URL).messages(shuffled, 0)
    assert [it.event_id for it in made] == [it.event_id for it in shuffled]
    assert CloudEvents(store, URL).messages([], 0) == []


def test_rabbitmq_in_binary_mode(messages: Sequence[Message]) -> None:
    """The SDK reads each message, and writes the same headers."""
    for message in messages:
        sent = rabbitmq.RabbitMQMessage(headers(message, RABBITMQ_PREFIX), CONTENT_TYPE, message.data)
        read = rabbitmq.from_rabbitmq(sent, JSONFormat())
        agrees(message, read)
        assert rabbitmq.to_binary(read, JSONFormat()).headers == sent.headers


def test_kafka_in_binary_mode(messages: Sequence[Message]) -> None:
    """The SDK reads each message, and writes the same headers and key."""
    for message in messages:
        own = {name: value.encode() for name, value in headers(message, KAFKA_PREFIX).items()}
        sent = kafka.KafkaMessage({**own, "content-type": CONTENT_TYPE.encode()}, message.partition_key, message.data)
        read = kafka.from_kafka(sent, JSONFormat())
        agrees(message, read)
        again = kafka.to_binary(read, JSONFormat())
        assert (again.key, again.headers) == (sent.key, sent.headers)


def test_structured_mode(messages: Sequence[Message]) -> None:
    """The SDK reads each message from both brokers."""
    for message in messages:
        sent = rabbitmq.RabbitMQMessage({}, STRUCTURED_CONTENT_TYPE, structured(message))
        agrees(message, rabbitmq.from_rabbitmq(sent, JSONFormat()))
        content_type = {"content-type": STRUCTURED_CONTENT_TYPE.encode()}
        of_kafka = kafka.KafkaMessage(content_type, message.partition_key, structured(message))
        agrees(message, kafka.from_kafka(of_kafka, JSONFormat()))


def agrees(message: Message, read: object) -> None:
    """The SDK found exactly our attributes and data."""
    assert isinstance(read, CloudEvent)
    attributes = dict(read.get_attributes())
    assert attributes.keys() >= REQUIRED
    assert attributes.pop("datacontenttype") == CONTENT_TYPE
    time = attributes.pop("time")
    assert time.isoformat().replace("+00:00", "Z") == message.attributes["time"]
    assert attributes == {name: value for name, value in message.attributes.items() if name != "time"}
    assert read.get_data() == orjson.loads(message.data)
