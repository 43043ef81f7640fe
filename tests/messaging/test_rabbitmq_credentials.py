"""The password of a broker's URL is in no error, traceback, log record or representation, whatever fails."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import pytest

from messaging.port import BrokerUnavailableError
from messaging.rabbitmq import work_queue
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.link import Link
from messaging.rabbitmq.publishing import RabbitmqPublisher
from tests.messaging.builders import message
from tests.messaging.rabbitmq_network import A1, RabbitmqNetwork
from tests.processes.process import free_port, wait_until

USER: Final = "Uriah"
PASSWORD: Final = "hunter2/@:%"
_WORDS: Final = (USER, "hunter2", quote(PASSWORD, safe=""))


def url_of(port: int, *, scheme: str = "amqp", virtual_host: str = "") -> str:
    """A URL with credentials."""
    return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{virtual_host}"


def refused_login(mq: RabbitmqNetwork) -> str:
    """The broker refuses the password."""
    return url_of(mq.proxy.port)


def refused_virtual_host(mq: RabbitmqNetwork) -> str:
    """The broker accepts the login and refuses the virtual host."""
    return mq.url.removesuffix("/") + "/absent"


def no_listener(_: RabbitmqNetwork) -> str:
    """Nothing listens."""
    return url_of(free_port())


def no_tls(mq: RabbitmqNetwork) -> str:
    """The broker has no TLS."""
    return url_of(mq.proxy.port, scheme="amqps")


def cut_off(mq: RabbitmqNetwork) -> str:
    """The connection is lost while the credentials are on their way."""

    def cut(data: bytes) -> None:
        if b"PLAIN" in data:
            mq.proxy.cut()

    mq.proxy.on_request = cut
    return url_of(mq.proxy.port)


def no_such_host(_: RabbitmqNetwork) -> str:
    """The name has no address."""
    return url_of(5672).replace("127.0.0.1", "absent.invalid")


@pytest.fixture(params=[refused_login, refused_virtual_host, no_listener, no_tls, cut_off, no_such_host])
def url(request: pytest.FixtureRequest, mq: RabbitmqNetwork) -> str:
    """A URL with which no connection is made."""
    make: Callable[[RabbitmqNetwork], str] = request.param
    return make(mq)


@pytest.fixture
def words(url: str) -> tuple[str, ...]:
    """What must not be shown."""
    address = Address.of(url)
    return _WORDS if address.user == USER else (f"{address.user}:{address.password}",)


def test_what_fails_shows_no_credentials(url: str, words: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    """Neither the publisher nor the queue, also at the level of debugging."""
    caplog.set_level(logging.DEBUG)
    publisher = RabbitmqPublisher(url)
    with pytest.raises(BrokerUnavailableError) as refusal:
        publisher.publish([message(1)])
    queue = work_queue(url)
    queue.subscribe(["gatewayA"], lambda _: None)
    queue.announce(A1)
    sides = (queue._announcing._thread, queue._consuming._thread)
    wait_until(lambda: all(side.problem for side in sides), "both fail")
    queue.close()
    shown = [str(refusal.value), repr(refusal.value), *traceback.format_exception(refusal.value)]
    shown += [repr(it) for it in (publisher, queue, Address.of(url), Link(Address.of(url), name="test"))]
    shown += [str(side.problem) for side in sides]
    for record in caplog.records:
        shown += [record.getMessage(), repr(record.__dict__), record.exc_text or ""]
    assert sum("no connection to RabbitMQ at " in text for text in shown) >= 2
    assert [text for text in shown if any(word in text for word in words)] == []
