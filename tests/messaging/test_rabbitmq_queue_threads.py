"""The threads of RabbitMQ's queue: buffer, counters, heartbeats, and the end while a broker hangs."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from messaging import hints as work_hints
from messaging.port import WorkHint
from messaging.rabbitmq import link, thread
from messaging.rabbitmq.queue import RabbitmqQueue
from tests.messaging.rabbitmq_network import A1, A2, B1, RabbitmqNetwork, counted, subscribed
from tests.processes.process import wait_until

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


def test_a_defect_that_the_adapter_does_not_know(
    mq: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends the connection, and the thread continues. What was not acknowledged is delivered again."""
    _, hints = subscribed(mq, "gatewayA")
    real = work_hints.decode
    errors = [MemoryError("a defect")]

    def decode(body: bytes, gateway: str) -> WorkHint:
        if errors:
            raise errors.pop()
        return real(body, gateway)

    monkeypatch.setattr("messaging.hints.decode", decode)
    mq.queue().announce(A1)
    mq.settle(lambda: bool(hints))
    assert hints == [A1]
    assert "MemoryError: a defect" in caplog.text


def test_an_error_of_the_library_while_it_connects(
    mq: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a lost connection: one WARNING without a traceback, and the next attempt."""
    errors = [UnicodeError("odd"), struct.error("odd"), ValueError("odd")]

    def make(*values: Any, **named: Any) -> link.Link:
        if errors:
            raise errors.pop()
        return link.Link(*values, **named)

    monkeypatch.setattr(thread, "RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(thread, "Link", make)
    subscribed(mq, "gatewayA")
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.exc_info for record in warnings] == [None]
    assert f"no connection to RabbitMQ at 127.0.0.1:{mq.proxy.port}, which is tried again" in warnings[0].message


def test_unroutable_hints_are_counted(mq: RabbitmqNetwork) -> None:
    """The broker has confirmed them, and no queue has them."""
    announcer = mq.queue()
    announcer.announce(A1)
    counted(lambda: announcer.announced == 1)
    mq.channel.queue_delete(mq.names.queue("gatewayA"))
    announcer.announce(A1)
    announcer.announce(B1)
    counted(lambda: announcer.announced == 3)
    assert (announcer.unroutable, announcer.lost) == (1, 0)


def test_a_full_buffer_loses_the_oldest_hints(mq: RabbitmqNetwork) -> None:
    """So memory has a bound while the broker does not answer. After a failed connect nothing old is kept."""
    mq.proxy.go_away()
    queue = mq.queue(buffer_max=3)
    for _ in range(100):
        queue.announce(A1)
        assert len(queue._announcing._buffer) <= 3
    counted(lambda: queue.lost == 100)
    queue.close()
    queue.announce(A1)
    assert (queue.lost, queue.announced) == (101, 0)


def test_hints_that_are_not_confirmed_are_lost(mq: RabbitmqNetwork) -> None:
    """After a time limit the connection is replaced; later hints are confirmed."""
    queue = mq.queue(confirm_s=0.2)
    queue.announce(A1)
    counted(lambda: queue.announced == 1)
    mq.proxy.hold_answers()
    queue.announce(A1)
    counted(lambda: queue.lost == 1)
    queue.announce(A1)
    counted(lambda: queue.announced == 2)


def test_idle_connections_send_heartbeats(mq: RabbitmqNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """On both sides, so that the broker keeps them."""
    monkeypatch.setattr(link, "HEARTBEAT_S", 1)
    sent: set[int] = set()

    def look(data: bytes) -> None:
        if data == HEARTBEAT:
            sent.add(threading.get_ident())  # of one connection

    mq.proxy.on_request = look
    queue, hints = subscribed(mq, "gatewayA")
    queue.announce(A1)
    mq.settle(lambda: hints == [A1])
    wait_until(lambda: len(sent) == 2, "both send heartbeats")
    assert mq.proxy._accepted == 2


def test_a_frozen_broker_does_not_hold_a_close(mq: RabbitmqNetwork) -> None:
    """Both threads end: while one waits for a confirm, and when no answer comes to the close of the other."""
    queue, _ = subscribed(mq, "gatewayA")
    queue.announce(A1)
    counted(lambda: queue.announced == 1)
    mq.proxy.hold_answers()
    queue.announce(A2)
    wait_until(lambda: not queue._announcing._buffer, "the hint is on its way")
    queue.close()
    assert ended(queue)


def test_a_host_that_drops_packets_does_not_hold_a_close(silent_port: int) -> None:
    """Both threads end while they connect."""
    queue = RabbitmqQueue(f"amqp://guest:guest@127.0.0.1:{silent_port}/")
    queue.subscribe(["gatewayA"], lambda _: None)
    queue.announce(A1)
    wait_until(lambda: all(side._thread._link for side in (queue._announcing, queue._consuming)), "both connect")
    queue.close()
    assert ended(queue)
    assert queue.lost == 1


def test_a_handler_may_close_its_queue(mq: RabbitmqNetwork) -> None:
    """Nothing is delivered afterwards."""
    queue, hints = mq.queue(), list[WorkHint]()

    def handle(hint: WorkHint, /) -> None:
        hints.append(hint)
        queue.close()

    queue.subscribe(["gatewayA"], handle)
    mq.queue().announce(A1)
    mq.queue().announce(A2)
    mq.settle(lambda: bool(hints))
    wait_until(lambda: ended(queue), "its threads end")
    assert len(hints) == 1


def test_nothing_is_opened_before_it_is_used(mq: RabbitmqNetwork) -> None:
    """A queue may be made before a fork; an unused one costs nothing, also at its end."""
    mq.queue().close()
    assert mq.proxy._accepted == 0


def ended(queue: RabbitmqQueue) -> bool:
    """Whether no thread of the queue lives."""
    return not any(side._thread._thread.is_alive() for side in (queue._announcing, queue._consuming))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port whose packets are dropped: the queue of its listener is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port: int = listener.getsockname()[1]
        waiting = []
        for _ in range(2):
            one = socket.socket()
            one.settimeout(0)
            with suppress(BlockingIOError):
                one.connect(("127.0.0.1", port))
            waiting.append(one)
        yield port
        for one in waiting:
            one.close()
