"""The URL of a Kafka cluster: what it means, what is not accepted, and what is never shown."""

from __future__ import annotations

from typing import Final

import pytest

from messaging.kafka.address import Address

SECRET: Final = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("kafka://mq", (("mq:9092",), False, "", "", "PLAIN")),
        ("kafka://a:1,b:2/", (("a:1", "b:2"), False, "", "", "PLAIN")),
        ("kafka://mq" + ",mq" * 99, (("mq:9092",) * 100, False, "", "", "PLAIN")),
        ("kafka://[::1],[fe80::2]:9093", (("[::1]:9092", "[fe80::2]:9093"), False, "", "", "PLAIN")),
        ("kafkas://me:p%40ss%3A@mq-1.example.com", (("mq-1.example.com:9092",), True, "me", "p@ss:", "PLAIN")),
        ("kafkas://me:x@mq:1/?mechanism=SCRAM-SHA-512", (("mq:1",), True, "me", "x", "SCRAM-SHA-512")),
        ("kafka://me:a:b@mq", (("mq:9092",), False, "me", "a:b", "PLAIN")),
    ],
)
def test_addresses(url: str, expected: tuple[object, ...]) -> None:
    """Parts are decoded; the port is Kafka's."""
    assert tuple(Address.of(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "kafka:mq",
        "http://mq",
        "kafka://",
        "kafka:///",
        "kafka://mq,",
        "kafka://mq:0",
        "kafka://mq:65536",
        "kafka://mq:port",
        "kafka://mq/topic",
        "kafka://mq//",
        "kafka://mq#x",
        "kafka://::1:9092",
        "kafka://[mq]:9092",
        "kafka://a b",
        "kafka://mq" + ",mq" * 100,
        "kafka://mq:1\n",
        "kafka://mq:\u0661",
        "kafka://me@mq",
        "kafka://me:@mq",
        "kafka://:x@mq",
        "kafka://@mq",
        "kafka://me:%00x@mq",
        "kafka://me:%ff@mq",
        "kafka://mq?",
        "kafka://mq?mechanism=PLAIN",
        "kafka://me:x@mq?mechanism=GSSAPI",
        "kafka://me:x@mq?mechanism=PLAIN&mechanism=PLAIN",
        "kafka://me:x@mq?acks=0",
    ],
)
def test_an_address_that_is_not_accepted(url: str) -> None:
    """The text names the rule."""
    with pytest.raises(ValueError, match=r"^(must|may) "):
        Address.of(url)


@pytest.mark.parametrize(
    "url",
    [
        f"{SECRET}://mq",
        f"kafka:{SECRET}:{SECRET}@mq",
        f"kafka://{SECRET}@mq",
        f"kafka://{SECRET}:{SECRET}%00@mq",
        f"kafka://{SECRET}:{SECRET}%ff@mq",
        f"kafka://{SECRET}:{SECRET}@{SECRET} ",
        f"kafka://{SECRET}:{SECRET}@mq/{SECRET}",
        f"kafka://{SECRET}:{SECRET}@mq:{SECRET}",
        f"kafka://{SECRET}:{SECRET}@mq?{SECRET}={SECRET}",
        f"kafka://{SECRET}:{SECRET}@mq?mechanism={SECRET}",
    ],
)
def test_a_refused_address_is_not_shown(url: str) -> None:
    """Neither in the error nor in what is printed with it."""
    with pytest.raises(ValueError, match=r"^(must|may) ") as refusal:
        Address.of(url)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert SECRET not in repr(refusal.value)


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("kafka://mq", "PLAINTEXT"),
        ("kafkas://mq", "SSL"),
        ("kafka://me:x@mq", "SASL_PLAINTEXT"),
        ("kafkas://me:x@mq", "SASL_SSL"),
    ],
)
def test_protocols(url: str, protocol: str) -> None:
    """TLS and login are chosen by the URL alone."""
    assert Address.of(url).settings["security.protocol"] == protocol
