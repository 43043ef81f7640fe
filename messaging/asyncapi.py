"""The AsyncAPI 3.0 document: where events and hints about work are published, and what each message holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from domain.events import EVENT_TYPES
from messaging import asyncapi_work as work
from messaging.cloud_events import (
    CONTENT_TYPE,
    KAFKA_PREFIX,
    RABBITMQ_PREFIX,
    SEQUENCE_DIGITS,
    SPEC_VERSION,
    STRUCTURED_CONTENT_TYPE,
    event_type,
    schema_path,
)
from messaging.schemas import data_schema

EXCHANGE: Final = "payments.events"
"""The topic exchange of events on RabbitMQ."""
TOPIC: Final = "payments.events.v1"
"""The topic of events on Kafka."""
PARTITIONS: Final = 12
"""The partitions of the topic when the service creates it."""

_DESCRIPTION: Final = """Every event of every customer, as a CloudEvent (version 1.0). Delivery is at least once. First
deliveries are in order within a customer: a consumer that drops what is not above the last `sequence` it saw, within a
`generation`, processes each event once."""

ATTRIBUTES: Final[Mapping[str, dict[str, Any]]] = MappingProxyType(
    {
        "specversion": {"type": "string", "const": SPEC_VERSION},
        "id": {"type": "string", "description": "The id of the event, the same for each delivery."},
        "source": {"type": "string", "description": "`/merchants/<name>`, or `/gateways/<name>` without a customer."},
        "type": {"type": "string", "description": "The event type with its version."},
        "subject": {"type": "string", "description": "The id of the transaction, else of the customer."},
        "time": {"type": "string", "format": "date-time", "description": "When the event occurred."},
        "dataschema": {"type": "string", "format": "uri", "description": "The JSON Schema of the data."},
        "partitionkey": {"type": "string", "description": "The same for all events of a customer."},
        "sequence": {
            "type": "string",
            "pattern": f"^[0-9]{{{SEQUENCE_DIGITS}}}$",
            "description": "The version of the event in its stream. It compares as text.",
        },
        "position": {"type": "string", "pattern": "^[0-9]+$", "description": "The position among all events."},
        "generation": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "How often the database was restored to an earlier state.",
        },
        "correlationid": {"type": "string", "description": "The same for all events that follow from one request."},
        "traceparent": {"type": "string", "description": "The W3C trace context of the request."},
    }
)
"""The attributes of a message, apart from ``datacontenttype``."""
OPTIONAL: Final = frozenset({"correlationid", "traceparent"})


class Channel(NamedTuple):
    """How events are put on one kind of broker."""

    name: str
    broker: str
    protocol: str
    prefix: str
    """Of the headers in binary mode."""
    content_type_header: str | None
    """The header with the content type; None where the protocol has a property for it."""
    address: str
    description: str
    parameters: Mapping[str, dict[str, Any]]
    bindings: dict[str, Any]
    operation_bindings: dict[str, Any]
    message_bindings: dict[str, Any]


CHANNELS: Final[Sequence[Channel]] = (
    Channel(
        name="rabbitmq",
        broker="RabbitMQ",
        protocol="amqp",
        prefix=RABBITMQ_PREFIX,
        content_type_header=None,
        address="{streamName}.{eventType}",
        description=f"The durable topic exchange `{EXCHANGE}`. Messages are persistent. `message_id` is the id.",
        parameters={
            "streamName": {"description": "The merchant, or `gateways`. Dots of the name are written as `_`."},
            "eventType": {"description": "The event type, without its version.", "enum": [*EVENT_TYPES]},
        },
        bindings={
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": "0.3.0",
            }
        },
        operation_bindings={"amqp": {"deliveryMode": 2, "mandatory": False, "bindingVersion": "0.3.0"}},
        message_bindings={},
    ),
    Channel(
        name="kafka",
        broker="Kafka",
        protocol="kafka",
        prefix=KAFKA_PREFIX,
        content_type_header="content-type",
        address=TOPIC,
        description="The key of a message is its `partitionkey`, so all events of a customer are in one partition.",
        parameters={},
        bindings={"kafka": {"topic": TOPIC, "partitions": PARTITIONS, "bindingVersion": "0.5.0"}},
        operation_bindings={},
        message_bindings={"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    ),
)


def channels(schemes: Collection[str]) -> Sequence[Channel]:
    """The channels of brokers with these URL schemes."""
    return [channel for channel in CHANNELS if channel.protocol in schemes]


def document(public_url: str, channels: Sequence[Channel] = CHANNELS) -> bytes:
    """The document as JSON; the schemas that it names are below ``public_url``."""
    of_work = work.work_channels([it.name for it in channels])
    return orjson.dumps(
        {
            "asyncapi": "3.0.0",
            "info": {"title": "Payment gateway service", "version": "1", "description": _DESCRIPTION},
            "defaultContentType": CONTENT_TYPE,
            "servers": {it.name: _server(it) for it in channels},
            "channels": {
                **{it.name: _channel(it) for it in channels},
                **{one.name: work.channel_object(one) for one in of_work},
            },
            "operations": {
                **{f"publish.{it.name}": _operation(it) for it in channels},
                **{name: operation for one in of_work for name, operation in work.operations(one).items()},
            },
            "components": {
                "schemas": {
                    **{name: data_schema(name) for name in EVENT_TYPES},
                    **{f"{it.name}.headers": headers_schema(it) for it in channels},
                    "CloudEvent": _envelope(),
                    work.MESSAGE: work.HINT,
                },
                "messages": {
                    work.MESSAGE: work.message_object(),
                    **{f"{it.name}.{key}": message for it in channels for key, message in _messages(it, public_url)},
                },
            },
        }
    )


def headers_schema(channel: Channel) -> dict[str, Any]:
    """The headers of a message in binary mode."""
    properties = {channel.prefix + name: schema for name, schema in ATTRIBUTES.items()}
    required = [channel.prefix + name for name in ATTRIBUTES if name not in OPTIONAL]
    if channel.content_type_header is not None:
        properties[channel.content_type_header] = {"type": "string", "const": CONTENT_TYPE}
        required.append(channel.content_type_header)
    return {"type": "object", "properties": properties, "required": required}


def _server(it: Channel) -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": it.protocol,
        "description": it.broker,
        "variables": {"host": {"description": "The address of your broker."}},
    }


def _channel(it: Channel) -> dict[str, Any]:
    return {
        "address": it.address,
        "title": it.broker,
        "description": it.description,
        "servers": [{"$ref": f"#/servers/{it.name}"}],
        "messages": {key: {"$ref": f"#/components/messages/{it.name}.{key}"} for key, _ in _messages(it, "")},
        **({"parameters": it.parameters} if it.parameters else {}),
        "bindings": it.bindings,
    }


def _operation(it: Channel) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{it.name}"},
        "title": f"Publish events on {it.broker}",
        "description": "Publishes each event, in order within a customer.",
        **({"bindings": it.operation_bindings} if it.operation_bindings else {}),
    }


def _messages(it: Channel, public_url: str) -> list[tuple[str, dict[str, Any]]]:
    """Each event type in binary and in structured mode."""
    headers = {"$ref": f"#/components/schemas/{it.name}.headers"}
    made: list[tuple[str, dict[str, Any]]] = []
    for name in EVENT_TYPES:
        about = {
            "name": event_type(name),
            "externalDocs": {"description": "The JSON Schema of the data.", "url": public_url + schema_path(name)},
            **({"bindings": it.message_bindings} if it.message_bindings else {}),
        }
        data = {"$ref": f"#/components/schemas/{name}"}
        only = {"properties": {"type": {"const": event_type(name)}, "data": data}}
        envelope = {"allOf": [{"$ref": "#/components/schemas/CloudEvent"}, only]}
        binary = {"title": name, "contentType": CONTENT_TYPE, "headers": headers, "payload": data}
        structured = {
            "title": f"{name} in structured mode",
            "contentType": STRUCTURED_CONTENT_TYPE,
            "payload": envelope,
        }
        made += [(name, {**about, **binary}), (f"{name}.structured", {**about, **structured})]
    return made


def _envelope() -> dict[str, Any]:
    """The body of a message in structured mode, whatever its data is."""
    required = [name for name in ATTRIBUTES if name not in OPTIONAL]
    return {
        "type": "object",
        "description": "An event in structured mode.",
        "properties": {**ATTRIBUTES, "datacontenttype": {"const": CONTENT_TYPE}, "data": {"type": "object"}},
        "required": [*required, "datacontenttype", "data"],
    }
