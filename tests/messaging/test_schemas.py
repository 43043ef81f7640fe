"""The schemas of events: generated, valid, complete, and accepting what the service records."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from jsonschema_rs import Draft202012Validator, meta

from domain.events import EVENT_TYPES, TYPE_NAMES, Event, Recorded
from messaging.cloud_events import CloudEvents
from messaging.schemas import documents, schema_of
from store.codec import Metadata, encode
from store.event_types import DATA_TYPES
from store.port import Head, StoredEvent, StreamKey
from tests.messaging.recorded import recorded
from tests.messaging.validation import assert_publishable, invalid_events, invalid_messages
from tests.store.test_codec import AT, events, metadata

URL = "https://payments.example.com"


def test_every_event_has_a_schema() -> None:
    """Each event of the domain declares the members of its data."""
    assert DATA_TYPES.keys() == set(TYPE_NAMES)
    assert documents(URL).keys() == {f"{name}.v1.json" for name in EVENT_TYPES}


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_a_schema_is_valid(name: str) -> None:
    """Each is a schema of draft 2020-12 under the address that messages name."""
    schema = orjson.loads(documents(URL)[f"{name}.v1.json"])
    assert schema == schema_of(name, URL)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"{URL}/schemas/{name}.v1.json"
    assert schema["description"].endswith(".")
    assert meta.is_valid(schema)
    assert "$ref" not in orjson.dumps(schema).decode()


@given(events, metadata)
def test_every_event_is_valid(event: Event, about: Metadata) -> None:
    """Every event that the service can record has exactly the members of its schema."""
    stream = StreamKey("main", "customer-1")
    encoded = encode(stream, Head(), Recorded(1, AT, event, about.correlation_id), "event-1", about)
    assert [*invalid_events([StoredEvent(1, stream, *encoded)])] == []


def test_every_message_is_valid(tmp_path: Path) -> None:
    """Messages of all kinds of transactions, with and without a transaction."""
    with recorded(tmp_path) as store:
        assert_publishable(store)


def test_what_a_schema_refuses(tmp_path: Path) -> None:
    """A wrong type, amount, kind, or a missing transaction is refused by the schema as it is published."""
    with recorded(tmp_path) as store:
        (message,) = CloudEvents(store, URL).messages(store.all_events(None, after=0, limit=1), 0)
    data = orjson.loads(message.data)
    validator = Draft202012Validator(schema_of("DepositReceived", URL))
    assert validator.is_valid(data)
    assert validator.is_valid({**data, "later": 1}), "consumers accept members of later versions"
    event, transaction = data["event"], data["transaction"]
    for wrong in (
        {**data, "transaction": None},
        {**data, "transaction": {**transaction, "amount": "1e3"}},
        {**data, "transaction": {**transaction, "type": "refund"}},
        {**data, "event": {**event, "type": "DepositFailed"}},
        {**data, "event": {**event, "data": {**event["data"], "capture": "later"}}},
        {**data, "event": {**event, "position": "1"}},
        {"event": event},
    ):
        assert not validator.is_valid(wrong), wrong


def test_the_check_of_every_event_detects_an_unnamed_member(tmp_path: Path) -> None:
    """The check behind the tests here is stricter than the schemas: it refuses members that they do not name."""
    with recorded(tmp_path) as store:
        (message,) = CloudEvents(store, URL).messages(store.all_events(None, after=0, limit=1), 0)
    assert [*invalid_messages([message])] == []
    data = orjson.loads(message.data)
    data["event"]["data"]["later"] = 1
    message.data = orjson.dumps(data)  # type: ignore[misc]  # nothing prevents it at run time
    assert [*invalid_messages([message])] != []
