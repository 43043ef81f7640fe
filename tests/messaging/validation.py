"""Validation of events by their published schemas, without any member that a schema does not name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import orjson
from jsonschema_rs import Draft202012Validator

from messaging.cloud_events import CloudEvents
from messaging.port import Message
from messaging.schemas import data_schema
from store.backend import PaymentStore
from store.codec import read_body
from store.event_json import feed_event
from store.port import StoredEvent


def closed(schema: Any) -> Any:
    """``schema`` without permission for members that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(it) for key, it in schema.items()}
    return {**inner, "additionalProperties": False} if "properties" in schema else inner


@cache
def closed_validator(name: str, member: str | None = None) -> Draft202012Validator:
    """The validator of the data of events stored as ``name``, or of one member of it."""
    schema = data_schema(name)
    return Draft202012Validator(
        closed(schema if member is None else schema["properties"][member]), validate_formats=True
    )


def invalid_messages(messages: Iterable[Message]) -> Iterator[str]:
    """What is wrong with the data of ``messages``."""
    for message in messages:
        name = message.type.removeprefix("payments.").removesuffix(".v1")
        for error in closed_validator(name).iter_errors(orjson.loads(message.data)):
            yield f"{name} at {error.instance_path}: {error.message}"


def invalid_events(events: Iterable[StoredEvent]) -> Iterator[str]:
    """What is wrong with ``events`` as the feed shows them."""
    for stored in events:
        shown = orjson.loads(orjson.dumps(feed_event(stored, read_body(stored.body), 0)))
        for error in closed_validator(stored.type, "event").iter_errors(shown):
            yield f"{stored.type} at {error.instance_path}: {error.message}"


def assert_publishable(store: PaymentStore) -> None:
    """Every event of the store makes a message that its schema accepts."""
    after = 0
    while events := store.all_events(None, after=after, limit=500):
        after = events[-1].position
        assert [*invalid_messages(CloudEvents(store, "").messages(events, 0))] == []
