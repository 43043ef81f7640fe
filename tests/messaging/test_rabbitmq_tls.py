"""Connections to RabbitMQ over TLS: the broker's certificate and name are verified before anything is sent."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from messaging.port import BrokerUnavailableError, Published, WorkHint
from messaging.rabbitmq.address import Address
from messaging.rabbitmq.publishing import RabbitmqPublisher
from messaging.rabbitmq.queue import RabbitmqQueue
from tests.gateways.transport import TLS
from tests.messaging.brokers import BROKERS, RABBITMQ_URL, RabbitMQ
from tests.messaging.builders import message
from tests.messaging.cutting_proxy import CuttingProxy
from tests.messaging.rabbitmq_network import A1, A2, RabbitmqNetwork
from tests.processes.process import wait_until


class Encrypting:
    """The server behind TLS, with a certificate for 127.0.0.1 and localhost that only the tests trust."""

    def __init__(self) -> None:
        address = Address.of(RABBITMQ_URL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        self.proxy = CuttingProxy((address.host, address.port), context)
        self.url = f"amqps://{address.user}:{address.password}@127.0.0.1:{self.proxy.port}{address.virtual_host}"
        self.sent: list[bytes] = []
        self.proxy.on_request = self.sent.append


@pytest.fixture
def broker() -> Iterator[RabbitMQ]:
    """A server with an exchange and a queue of this test."""
    with closing(BROKERS["rabbitmq"]()) as broker:
        assert isinstance(broker, RabbitMQ)
        yield broker


@pytest.fixture
def encrypting(mq: RabbitmqNetwork) -> Iterator[Encrypting]:
    """The server behind TLS."""
    encrypting = Encrypting()
    yield encrypting
    encrypting.proxy.close()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate is trusted, as SSL_CERT_FILE does it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))


@pytest.fixture
def untrusted(request: pytest.FixtureRequest, encrypting: Encrypting, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL whose certificate must not be accepted."""
    if request.param == "unknown":
        return encrypting.url
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *more: real("127.0.0.1", *more))
    return encrypting.url.replace("@127.0.0.1", "@mq.example.com")


REFUSALS = [("unknown", "certificate verify failed"), ("another host", "Hostname mismatch")]


def test_events_over_tls(broker: RabbitMQ, encrypting: Encrypting, trusted: None) -> None:
    """Many of them, and large ones."""
    publisher = RabbitmqPublisher(encrypting.url, exchange=broker.exchange)
    assert publisher.publish([message(at, f"c{at % 20}") for at in range(100)]) == Published(100)
    assert publisher.publish(()) == Published(0)
    assert publisher.publish([replace(message(100), data=b'"%b"' % (b"x" * 1_000_000))]) == Published(1)
    publisher.close()
    assert len(broker.received()) == 101


def test_hints_over_tls(mq: RabbitmqNetwork, encrypting: Encrypting, trusted: None) -> None:
    """In both directions, also after the connection was cut."""
    mq.queue()  # one that is not closed, for settle
    queue = RabbitmqQueue(encrypting.url, names=mq.names)
    hints: list[WorkHint] = []
    queue.subscribe(["gatewayA"], hints.append)
    for hint in (A1, A2):

        def arrived() -> bool:
            queue.announce(hint)  # noqa: B023  # called in this round only
            return hint in hints  # noqa: B023

        mq.settle(arrived)
        assert hint in hints
        encrypting.proxy.cut()
    queue.close()
    mq.channel.queue_delete(mq.names.queue("gatewayA"))


@pytest.mark.parametrize(("untrusted", "reason"), REFUSALS, indirect=["untrusted"])
def test_a_certificate_that_is_not_trusted_gets_nothing(encrypting: Encrypting, untrusted: str, reason: str) -> None:
    """Neither credentials nor messages are sent, and the reason is kept."""
    with pytest.raises(BrokerUnavailableError, match=reason):
        RabbitmqPublisher(untrusted).publish([message(1)])
    queue = RabbitmqQueue(untrusted)
    queue.subscribe(["gatewayA"], lambda _: None)
    queue.announce(A1)
    for side in (queue._announcing, queue._consuming):
        wait_until(lambda side=side: reason in (side._thread.problem or ""), "the reason is kept")  # type: ignore[misc]
    wait_until(lambda: queue.lost == 1, "the hint is lost")
    queue.close()
    assert encrypting.sent == []


def test_a_server_without_tls_gets_no_credentials(mq: RabbitmqNetwork) -> None:
    """The connection fails; no connection without TLS replaces it."""
    sent: list[bytes] = []
    mq.proxy.on_request = sent.append
    with pytest.raises(BrokerUnavailableError):
        RabbitmqPublisher(mq.url.replace("amqp://", "amqps://")).publish([message(1)])
    assert sent
    assert not any(b"PLAIN" in data or b"guest" in data for data in sent)
