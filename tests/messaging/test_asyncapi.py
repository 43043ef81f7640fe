"""The AsyncAPI document: valid by the parser of the AsyncAPI project, and true of what is published."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from jsonschema_rs import Draft202012Validator

from domain.events import EVENT_TYPES
from messaging.asyncapi import ATTRIBUTES, CHANNELS, OPTIONAL, Channel, document, headers_schema
from messaging.asyncapi_work import EXCHANGE, EXPIRY_MS, HINT, WORK_CHANNELS, operations
from messaging.cloud_events import CONTENT_TYPE, CloudEvents, headers, structured
from messaging.port import Message, WorkHint
from messaging.rabbitmq.topology import HINT_TTL_MS, Names
from messaging.schemas import data_schema
from tests.messaging.recorded import recorded
from tests.tooling.checkout import CHECKOUT, PATIENCE_S

URL: Final = "https://payments.example.com"
TOOLS: Final = CHECKOUT / "var/asyncapi-tools"
_ERROR, _WARNING = 0, 1


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The document."""
    read: dict[str, Any] = orjson.loads(document(URL))
    return read


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> list[Message]:
    """Messages of events of every kind."""
    with recorded(tmp_path_factory.mktemp("recorded")) as store:
        return CloudEvents(store, URL).messages(store.all_events(None, after=0, limit=1000), 0)


def parsed(text: bytes) -> dict[str, Any]:
    """What ``@asyncapi/parser`` says of a document. Skips the test where node or the parser is missing."""
    node = shutil.which("node")
    if node is None or not (TOOLS / "node_modules/@asyncapi/parser").is_dir():
        missing = "node" if node is None else "@asyncapi/parser"
        pytest.skip(f"{missing} is missing: make asyncapi-tools installs the parser (needs node and npm)")
    command = [node, str(Path(__file__).with_name("asyncapi.cjs")), str(TOOLS)]
    done = subprocess.run(
        command, input=text, capture_output=True, check=False, timeout=PATIENCE_S, env={"PATH": os.environ["PATH"]}
    )
    assert done.returncode == 0, done.stderr.decode()
    said: dict[str, Any] = orjson.loads(done.stdout)
    return said


def serious(said: dict[str, Any]) -> list[Any]:
    """The errors and warnings."""
    return [it for it in said["diagnostics"] if it["severity"] in {_ERROR, _WARNING}]


def test_the_parser_accepts_the_document() -> None:
    """``@asyncapi/parser`` finds neither errors nor warnings, and all channels."""
    said = parsed(document(URL))
    assert serious(said) == []
    assert said["channels"] == [*(it.name for it in CHANNELS), *(it.name for it in WORK_CHANNELS)]


def test_the_parser_refuses_another_document(made: dict[str, Any]) -> None:
    """The check behind the test above detects a wrong document."""
    wrong = {**made, "operations": {"publish": {"action": "shout", "channel": {"$ref": "#/channels/none"}}}}
    assert serious(parsed(orjson.dumps(wrong))) != []


def test_the_channels(made: dict[str, Any]) -> None:
    """The names and properties of the exchange and of the topic."""
    rabbitmq, kafka = made["channels"]["rabbitmq"], made["channels"]["kafka"]
    exchange = {"name": "payments.events", "type": "topic", "durable": True, "autoDelete": False}
    assert rabbitmq["bindings"]["amqp"]["exchange"] == exchange
    assert rabbitmq["address"] == "{streamName}.{eventType}"
    assert rabbitmq["parameters"].keys() == {"streamName", "eventType"}
    assert kafka["address"] == kafka["bindings"]["kafka"]["topic"] == "payments.events.v1"
    assert kafka["bindings"]["kafka"]["partitions"] == 12


def test_the_channels_of_work(made: dict[str, Any]) -> None:
    """The names and properties of the exchange, the queues and the topic, and who sends and receives."""
    exchange, queue = made["channels"]["rabbitmq.work"], made["channels"]["rabbitmq.work.queue"]
    durable = {"name": "payments.work", "type": "direct", "durable": True, "autoDelete": False}
    assert exchange["bindings"]["amqp"]["exchange"] == durable
    assert exchange["address"] == "{gateway}"
    assert queue["address"] == queue["bindings"]["amqp"]["queue"]["name"] == "payments.work.{gateway}"
    kafka = made["channels"]["kafka.work"]
    assert kafka["address"] == kafka["bindings"]["kafka"]["topic"] == "payments.work.v1"
    assert made["operations"]["serve.kafka.work"]["bindings"]["kafka"]["groupId"]["const"] == "payments-processor"
    assert made["operations"]["announce.rabbitmq.work"]["bindings"]["amqp"]["expiration"] == 60_000
    names = Names()
    assert (EXCHANGE, f"{EXCHANGE}.", EXPIRY_MS) == (names.exchange, names.queue_prefix, HINT_TTL_MS)
    actions = {name: made["operations"][name]["action"] for channel in WORK_CHANNELS for name in operations(channel)}
    assert actions == {
        "announce.rabbitmq.work": "send",
        "serve.rabbitmq.work.queue": "receive",
        "announce.kafka.work": "send",
        "serve.kafka.work": "receive",
    }


@pytest.mark.parametrize("transaction_id", ["t-1", None])
def test_a_hint_is_the_message_of_work(made: dict[str, Any], transaction_id: str | None) -> None:
    """The schema has exactly the members of a hint."""
    hint = WorkHint("w-1", transaction_id, "gatewayA")._asdict()
    closed = Draft202012Validator({**HINT, "additionalProperties": False})
    assert [error.message for error in closed.iter_errors(hint)] == []
    assert not closed.is_valid({**hint, "gateway": None})
    assert HINT["required"] == [*WorkHint._fields]
    for channel in WORK_CHANNELS:
        assert made["channels"][channel.name]["messages"] == {
            "WorkHint": {"$ref": "#/components/messages/WorkHint"},
        }
    assert made["components"]["messages"]["WorkHint"]["payload"] == {"$ref": "#/components/schemas/WorkHint"}


def test_every_event_type_is_in_every_channel(made: dict[str, Any]) -> None:
    """In binary and in structured mode, with the schema that the API serves."""
    expected = {*EVENT_TYPES, *(f"{name}.structured" for name in EVENT_TYPES)}
    for channel in CHANNELS:
        assert made["channels"][channel.name]["messages"].keys() == expected
        for name in EVENT_TYPES:
            message = made["components"]["messages"][f"{channel.name}.{name}"]
            assert message["name"] == f"payments.{name}.v1"
            assert message["externalDocs"]["url"] == f"{URL}/schemas/{name}.v1.json"
            assert message["payload"] == {"$ref": f"#/components/schemas/{name}"}
            assert made["components"]["schemas"][name] == data_schema(name)


def test_a_channel_may_be_left_out() -> None:
    """The document describes exactly the channels that it is made of."""
    only = orjson.loads(document(URL, CHANNELS[:1]))
    assert only["servers"].keys() == {"rabbitmq"}
    assert only["channels"].keys() == {"rabbitmq", "rabbitmq.work", "rabbitmq.work.queue"}
    assert b"kafka" not in document(URL, CHANNELS[:1])


@pytest.mark.parametrize("channel", CHANNELS, ids=[channel.name for channel in CHANNELS])
def test_messages_have_the_headers_of_the_document(channel: Channel, messages: list[Message]) -> None:
    """The headers in binary mode are those that the document describes, and no others."""
    validator = Draft202012Validator({**headers_schema(channel), "additionalProperties": False}, validate_formats=True)
    for message in messages:
        own = headers(message, channel.prefix)
        if channel.content_type_header is not None:
            own[channel.content_type_header] = CONTENT_TYPE
        assert [error.message for error in validator.iter_errors(own)] == []
    assert {name for message in messages for name in message.attributes} >= ATTRIBUTES.keys() - OPTIONAL


def test_messages_have_the_body_of_the_document(made: dict[str, Any], messages: list[Message]) -> None:
    """The body in structured mode is the one that the document describes."""
    for message in messages:
        name = message.type.split(".")[1]
        payload = made["components"]["messages"][f"kafka.{name}.structured"]["payload"]
        validator = Draft202012Validator({**payload, "components": made["components"]}, validate_formats=True)
        assert [error.message for error in validator.iter_errors(orjson.loads(structured(message)))] == []
