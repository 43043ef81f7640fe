"""The channels of work in the AsyncAPI document: hints that work is due, from the relay to the processors."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from messaging.cloud_events import CONTENT_TYPE

EXCHANGE: Final = "payments.work"
"""The direct exchange of hints on RabbitMQ, and the beginning of the queues' names."""
TOPIC: Final = "payments.work.v1"
"""The topic of hints on Kafka."""
GROUP: Final = "payments-processor"
"""The consumer group of the processors on Kafka."""
EXPIRY_MS: Final = 60_000
"""A hint expires after this time."""
MESSAGE: Final = "WorkHint"
HINT: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "Work of a gateway is queued and due. It is no claim: the processor claims it in the database.",
    "properties": {
        "work_id": {"type": "string"},
        "transaction_id": {"type": ["string", "null"], "description": "Null for work without a transaction."},
        "gateway": {"type": "string", "description": "The name of the gateway."},
    },
    "required": ["work_id", "transaction_id", "gateway"],
}
"""The schema of a hint."""

_DESCRIPTION: Final = f"""Internal to the service: its relay announces due work to its processors. A hint may be lost or
repeated, because every processor also looks for due work by itself. It expires after {EXPIRY_MS // 1000} s."""
_GATEWAY: Final = {"gateway": {"description": "The name of the gateway."}}


class WorkChannel(NamedTuple):
    """A place of hints on one kind of broker, and what the service does with it: ``send``, ``receive`` or both."""

    name: str
    server: str
    address: str
    actions: Sequence[str]
    description: str
    bindings: Mapping[str, Any]
    operation_bindings: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Those of the address."""
        return _GATEWAY if "{gateway}" in self.address else {}


WORK_CHANNELS: Final[Sequence[WorkChannel]] = (
    WorkChannel(
        name="rabbitmq.work",
        server="rabbitmq",
        address="{gateway}",
        actions=["send"],
        description=f"The durable direct exchange `{EXCHANGE}`. The routing key is the name of the gateway.",
        bindings={
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": EXCHANGE, "type": "direct", "durable": True, "autoDelete": False},
                "bindingVersion": "0.3.0",
            }
        },
        operation_bindings={
            "amqp": {"deliveryMode": 2, "mandatory": True, "expiration": EXPIRY_MS, "bindingVersion": "0.3.0"}
        },
    ),
    WorkChannel(
        name="rabbitmq.work.queue",
        server="rabbitmq",
        address=f"{EXCHANGE}.{{gateway}}",
        actions=["receive"],
        description="A quorum queue for each gateway, bound to the exchange. All processors of the gateway share it.",
        bindings={
            "amqp": {
                "is": "queue",
                "queue": {
                    "name": f"{EXCHANGE}.{{gateway}}",
                    "durable": True,
                    "exclusive": False,
                    "autoDelete": False,
                },
                "bindingVersion": "0.3.0",
            }
        },
        operation_bindings={"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
    ),
    WorkChannel(
        name="kafka.work",
        server="kafka",
        address=TOPIC,
        actions=["send", "receive"],
        description=f"Processors share the consumer group `{GROUP}`.",
        bindings={
            "kafka": {
                "topic": TOPIC,
                "topicConfiguration": {"retention.ms": EXPIRY_MS},
                "bindingVersion": "0.5.0",
            }
        },
        operation_bindings={"kafka": {"groupId": {"type": "string", "const": GROUP}, "bindingVersion": "0.5.0"}},
    ),
)


def work_channels(servers: Collection[str]) -> Sequence[WorkChannel]:
    """The channels of work on brokers of these names."""
    return [channel for channel in WORK_CHANNELS if channel.server in servers]


def channel_object(it: WorkChannel) -> dict[str, Any]:
    """The channel in the document."""
    return {
        "address": it.address,
        "title": f"Work: {it.name}",
        "description": f"{_DESCRIPTION} {it.description}",
        "servers": [{"$ref": f"#/servers/{it.server}"}],
        "messages": {MESSAGE: {"$ref": f"#/components/messages/{MESSAGE}"}},
        **({"parameters": it.parameters} if it.parameters else {}),
        "bindings": it.bindings,
    }


def operations(it: WorkChannel) -> dict[str, Any]:
    """The operations of the channel in the document, by name."""
    names = {"send": "announce", "receive": "serve"}
    return {
        f"{names[action]}.{it.name}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{it.name}"},
            "title": "Announce due work" if action == "send" else "Receive hints about due work",
            **({"bindings": it.operation_bindings} if "amqp" in it.bindings or action == "receive" else {}),
        }
        for action in it.actions
    }


def message_object() -> dict[str, Any]:
    """The message in the document."""
    return {
        "name": MESSAGE,
        "title": "Work is due",
        "contentType": CONTENT_TYPE,
        "payload": {"$ref": f"#/components/schemas/{MESSAGE}"},
    }
