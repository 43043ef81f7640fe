"""Stored events as CloudEvents 1.0, in binary and structured mode. Independent of any broker's client.

The data holds the event as the feed of the API shows it, and what never changes of its transaction. So a consumer needs
no second call for the amount.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Final, NamedTuple, TypedDict, TypeVar

import orjson
from msgspec import Meta

from domain.account import Transaction
from domain.events import EVENT_TYPES, Kind
from messaging.message import Message
from store.codec import Body, read_body, timestamp
from store.errors import CorruptStoreError
from store.event_json import feed_event
from store.event_types import Amount, Currency, FeedEvent, Time, TransactionId
from store.port import GATEWAYS, StoredEvent
from store.queries import Queries

T = TypeVar("T")

CONTENT_TYPE: Final = "application/json"
"""The media type of the data, and of a message in binary mode."""
STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json"
"""The media type of a message in structured mode."""
RABBITMQ_PREFIX: Final = "ce-"
KAFKA_PREFIX: Final = "ce_"
SPEC_VERSION: Final = "1.0"
SEQUENCE_DIGITS: Final = 20
_PAUSE_S: Final = 0.0001
"""More than zero: for 0 s gevent would not look at its timers."""
AT_ONE_GO: Final = 100
"""Events that are read or encoded without a pause, in about a millisecond."""


class TransactionFacts(TypedDict):
    """What never changes of a transaction."""

    transaction_id: TransactionId
    type: Kind
    parent_id: Annotated[str | None, Meta(description="The id of the transaction that it belongs to.")]
    amount: Amount
    currency: Currency
    gateway: Annotated[str, Meta(description="The name of the gateway.")]
    customer_id: Annotated[str, Meta(description="The customer's id.")]
    details: Annotated[dict[str, str], Meta(description="The details that the client sent.")]
    created_at: Time


class Data(TypedDict):
    """The data of a CloudEvent."""

    event: FeedEvent
    transaction: TransactionFacts | None


def event_type(type_: str) -> str:
    """The CloudEvents type of events that are stored as ``type_``."""
    return f"payments.{type_}.v1"


def schema_path(type_: str) -> str:
    """The path of the schema of events that are stored as ``type_``."""
    return f"/schemas/{type_}.v1.json"


class CloudEvents:
    """Makes messages of stored events. ``public_url`` is the address of the API, which serves the schemas.

    ``pause`` is called after every ``AT_ONE_GO`` events, so that other greenlets of the process run in between.
    """

    def __init__(
        self, queries: Queries, public_url: str, *, pause: Callable[[], None] = lambda: time.sleep(_PAUSE_S)
    ) -> None:
        self._queries = queries
        self._public_url, self._pause = public_url, pause

    def messages(self, events: Sequence[StoredEvent], generation: int) -> list[Message]:
        """The messages of ``events``, in their order. One query reads all of their transactions.

        Raises CorruptStoreError when an event cannot be read, or when its transaction is missing, and
        StoreUnavailableError.
        """
        read = []
        for stored in self._with_pauses(events):
            body = read_body(stored.body)
            read.append((stored, body, _transaction_id(body)))
        ids = {key for _, _, key in read if key is not None}
        transactions = self._queries.transactions_of(ids) if ids else {}
        # The events of a transaction share its JSON.
        encoded = {key: orjson.Fragment(orjson.dumps(facts(one))) for key, one in transactions.items()}
        return [self._message(stored, body, key, encoded, generation) for stored, body, key in self._with_pauses(read)]

    def _with_pauses(self, items: Sequence[T]) -> Iterator[T]:
        for number, item in enumerate(items, 1):
            yield item
            if number % AT_ONE_GO == 0:
                self._pause()

    def _message(
        self,
        stored: StoredEvent,
        body: Body,
        transaction_id: str | None,
        transactions: Mapping[str, orjson.Fragment],
        generation: int,
    ) -> Message:
        """The message of an event with the transaction that it names; ``body`` is that of ``stored``, read.

        Raises CorruptStoreError when an event of a transaction is given without it: a consumer would miss the amount.
        """
        kind = _kind_of(stored.type, self._public_url)
        transaction = None if transaction_id is None else transactions.get(transaction_id)
        if transaction is None and kind.has_transaction:
            raise CorruptStoreError(f"the transaction of the event at position {stored.position} is missing")
        stream, event = stored.stream, feed_event(stored, body, generation)
        partition_key = f"{stream.name}/{stream.id}"
        attributes = {
            "specversion": SPEC_VERSION,
            "id": stored.event_id,
            "source": f"/gateways/{stream.id}" if stream.name == GATEWAYS else f"/merchants/{stream.name}",
            "type": kind.type,
            "subject": transaction_id or stream.id,
            "time": event["occurred_at"],
            "dataschema": kind.schema,
            "partitionkey": partition_key,
            "sequence": str(stored.version).zfill(SEQUENCE_DIGITS),
            "position": str(event["position"]),
            "generation": str(generation),
        }
        for attribute, member in _TRACING:
            if value := body.metadata.get(member):
                attributes[attribute] = str(value)
        return Message(
            stored.event_id,
            stored.position,
            generation,
            stored.version,
            kind.type,
            stream,
            partition_key,
            attributes,
            orjson.dumps({"event": event, "transaction": transaction}),  # in the form of Data
        )


_TRACING: Final = (("correlationid", "correlation_id"), ("traceparent", "traceparent"))


class _Kind(NamedTuple):
    """What all events of one type have in common."""

    type: str
    schema: str
    has_transaction: bool


@lru_cache(maxsize=256)
def _kind_of(type_: str, public_url: str) -> _Kind:
    has_transaction = EVENT_TYPES.get(type_, (None, None))[1] is not None
    return _Kind(event_type(type_), public_url + schema_path(type_), has_transaction)


def facts(it: Transaction) -> TransactionFacts:
    """What never changes of a transaction."""
    return {
        "transaction_id": it.transaction_id,
        "type": it.kind,
        "parent_id": it.parent_id,
        "amount": it.money.text,
        "currency": it.money.currency,
        "gateway": it.gateway,
        "customer_id": it.customer_id,
        "details": dict(it.details),
        "created_at": timestamp(it.created_at),
    }


def headers(message: Message, prefix: str) -> dict[str, str]:
    """The headers of a message in binary mode, whose body is its data. The content type is not among them."""
    return {prefix + name: value for name, value in message.attributes.items()}


def structured(message: Message) -> bytes:
    """The body of a message in structured mode: one JSON object with the attributes and the data."""
    members = {"datacontenttype": CONTENT_TYPE, "data": orjson.Fragment(message.data)}
    return orjson.dumps({**message.attributes, **members})


def _transaction_id(body: Body) -> str | None:
    value = body.data.get("transaction_id")
    return value if isinstance(value, str) else None
