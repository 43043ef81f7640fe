"""The URL of a RabbitMQ broker: what it means, what is not accepted, and what is never shown."""

from __future__ import annotations

from typing import Final

import pytest

from messaging.rabbitmq import work_queue
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import RabbitmqPublisher

SECRET: Final = "hunter2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://mq", ("mq", 5672, "guest", "guest", "/", False)),
        ("amqp://me:p%40ss@mq:1234/", ("mq", 1234, "me", "p@ss", "/", False)),
        ("amqps://me:x@mq/pay", ("mq", 5671, "me", "x", "pay", True)),
        ("amqp://me:x@[::1]:5672/%2Fpay", ("::1", 5672, "me", "x", "/pay", False)),
        ("amqp://me:a:b@127.0.0.1", ("127.0.0.1", 5672, "me", "a:b", "/", False)),
        ("amqp://me:%25%23%3F%2F@mq_1.example.com.:65535", ("mq_1.example.com.", 65_535, "me", "%#?/", "/", False)),
        (f"amqp://{'h' * 63}/{'v' * 255}", ("h" * 63, 5672, "guest", "guest", "v" * 255, False)),
    ],
)
def test_addresses(url: str, expected: tuple[object, ...]) -> None:
    """Parts are decoded; defaults are those of RabbitMQ."""
    assert tuple(Address.of(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "amqp:mq",
        "http://me:x@mq",
        "amqp://",
        "amqp:///pay",
        "amqp://me:x@",
        "amqp://:5672",
        "amqp://mq:",
        "amqp://mq:0",
        "amqp://mq:65536",
        "amqp://mq:port",
        "amqp://mq:\u0661",
        "amqp://a,b",
        "amqp://a:1,b:2",
        "amqp://a b",
        "amqp://mq\n",
        "amqp://m\u00f6q",
        "amqp://%6dq",
        "amqp://a..b",
        "amqp://.",
        "amqp://-a",
        "amqp://a-",
        f"amqp://{'h' * 64}",
        f"amqp://{'.'.join(['h' * 60] * 5)}",
        "amqp://[mq",
        "amqp://[mq]",
        "amqp://[1:2]",
        "amqp://::1:5672",
        "amqp://mq?",
        "amqp://mq/pay?heartbeat=5",
        "amqp://mq#",
        "amqp://me:hun#ter2@mq",
        "amqp://me:1/x@mq",
        "amqp://me@mq",
        "amqp://me:@mq",
        "amqp://:x@mq",
        "amqp://@mq",
        "amqp://me:%zz@mq",
        "amqp://me:x%@mq",
        "amqp://me:%ff@mq",
        "amqp://me:a%00b@mq",
        "amqp://mq/%0a",
        "amqp://mq/%f",
        f"amqp://mq/{'v' * 256}",
        f"amqp://mq/{'%C3%A4' * 128}",
    ],
)
def test_an_address_that_is_not_accepted(url: str) -> None:
    """By either side. The text names the rule."""
    for make in (Address.of, RabbitmqPublisher, work_queue):
        with pytest.raises(ValueError, match=r"^must "):
            make(url)


@pytest.mark.parametrize(
    "url",
    [
        f"{SECRET}://mq",
        f"amqp:{SECRET}:{SECRET}@mq",
        f"amqp://{SECRET}@mq",
        f"amqp://{SECRET}:1/{SECRET}@mq",
        f"amqp://{SECRET}:{SECRET}#{SECRET}@mq",
        f"amqp://{SECRET}:{SECRET}@mq?{SECRET}={SECRET}",
        f"amqp://{SECRET}:{SECRET}%00@mq",
        f"amqp://{SECRET}:{SECRET}%ff@mq",
        f"amqp://{SECRET}:{SECRET}%zz@mq",
        f"amqp://{SECRET}:{SECRET}@mq:{SECRET}",
        f"amqp://{SECRET}:{SECRET}@mq:99999",
        f"amqp://{SECRET}:{SECRET}@{SECRET}..{SECRET}",
        f"amqp://{SECRET}:{SECRET}@[{SECRET}]",
        f"amqp://{SECRET}:{SECRET}@[::::]/{SECRET}",
        f"amqp://{SECRET}:{SECRET}@mq/{SECRET * 50}",
    ],
)
def test_a_refused_address_is_not_shown(url: str) -> None:
    """Neither in the error nor in what is printed with it."""
    with pytest.raises(ValueError, match=r"^must ") as refusal:
        Address.of(url)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert SECRET not in repr(refusal.value)


def test_a_problem_names_the_broker_and_hides_the_login() -> None:
    """Names that only begin with the user's stay readable."""
    address = Address.of("amqp://payments:s%2Bx@[::1]:1234/pay")
    text = "access to exchange 'payments.events' refused for user 'payments' with s+x"
    assert address.problem(text) == (
        "RabbitMQ at [::1]:1234: access to exchange 'payments.events' refused for user '***' with ***"
    )
    assert not {"payments", "s+x"} & {*repr(address).split(":")}
