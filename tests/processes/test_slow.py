"""Slow, idle, fast and many clients: deadlines end their connections, and other clients are not delayed."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Final

import pytest

from tests.processes.installation import HOST, Installation, installed
from tests.processes.process import PATIENCE_S, Process, wait_until
from tests.processes.slow_clients import connect, descriptors, permit_many_descriptors, step, trickle_until_ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's descriptors")

IDLE: Final = 500
SLOW: Final = 60
SETTINGS: Final = {"PAYMENTS_REQUEST_DEADLINE_S": "2"}
HEAD: Final = b"GET /healthz HTTP/1.1\r\nHost: test\r\nX-Padding: "
_FLOOD: Final = b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n" * 500


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Process]]:
    """A service with short deadlines, for all tests of this module."""
    permit_many_descriptors()
    with installed(tmp_path_factory.mktemp("slow")) as installation:
        installation.simulator()
        yield installation, installation.service(**SETTINGS)


def post(customer: str, body_bytes: int, path: str = "/v1/deposit") -> tuple[bytes, bytes]:
    """The head and the body of a valid deposit with a body of ``body_bytes`` bytes."""
    body = json.dumps({"amount": 1, "gateway": "gatewayA", "customer_id": customer}).encode().ljust(body_bytes)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


def assert_serves(installation: Installation) -> None:
    """Assert that a command, a read and both probes are answered as usual."""
    answer = installation.deposit(customer_id="quick")
    assert answer.status == 202
    assert installation.get(answer.headers["Location"]).status == 200
    assert installation.get("/healthz").status == 200
    assert installation.get("/readyz").status == 200


def test_slow_and_idle_clients_delay_no_others(started: tuple[Installation, Process]) -> None:
    """With 500 idle and many slow clients, others are served; the slow ones are closed and store nothing."""
    installation, service = started
    assert_serves(installation)
    (worker,) = service.children()
    before = descriptors(worker)
    with ExitStack() as stack:
        port = installation.port
        idle = connect(stack, port, IDLE)
        heads = connect(stack, port, SLOW, HEAD, b"x" * 1000)
        served_once = connect(stack, port, SLOW, HEAD + b"x\r\n\r\n" + HEAD, b"x" * 1000)
        head, body = post("slow", 1000)
        bodies = connect(stack, port, SLOW, head + body[:900], body[900:])
        refused = connect(stack, port, SLOW, *post("slow", 1000, "/nowhere"))
        all_clients = [*idle, *heads, *served_once, *bodies, *refused]
        for _ in range(3):
            step(all_clients)
            assert_serves(installation)
        trickle_until_ended(all_clients)
    assert {client.answer for client in (*idle, *heads)} == {b""}
    assert {client.status for client in served_once} == {200}
    assert {(client.status, client.closes) for client in bodies} == {(408, True)}
    assert all(b'"type":"/problems/request-timeout"' in client.answer for client in bodies)
    assert {(client.status, client.closes) for client in refused} == {(404, True)}
    assert installation.get("/v1/customers/slow").status == 404
    wait_until(lambda: descriptors(worker) <= before, "the worker has closed its extra descriptors")
    assert_serves(installation)
    assert "Traceback" not in service.out + service.err


def test_more_idle_clients_than_a_worker_has_room_for(started: tuple[Installation, Process]) -> None:
    """A client that connects after 1,100 silent ones is served: the oldest idle connections are evicted."""
    installation, _ = started
    with ExitStack() as stack:
        idle = connect(stack, installation.port, 1100)
        step(idle)
        assert_serves(installation)
        step(idle)
        ended = [client.ended for client in idle]
    assert all(ended[:100])
    assert not all(ended[300:900]), "no more than the excess connections are evicted"


def test_a_client_with_endless_requests_does_not_block_others(started: tuple[Installation, Process]) -> None:
    """While a client sends requests faster than they are answered, other clients get answers."""
    installation, _ = started
    answered = threading.Event()
    with closing(socket.create_connection((HOST, installation.port), PATIENCE_S)) as endpoint:

        def flood() -> None:
            with suppress(OSError):
                while True:
                    endpoint.sendall(_FLOOD)

        def take() -> None:
            with suppress(OSError):
                while endpoint.recv(65536):
                    answered.set()

        threads = [threading.Thread(target=job, daemon=True) for job in (flood, take)]
        for thread in threads:
            thread.start()
        assert answered.wait(PATIENCE_S)
        assert_serves(installation)
        assert all(thread.is_alive() for thread in threads), "the client still sends requests"
        endpoint.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE_S)


@pytest.mark.slow
def test_slow_clients_do_not_delay_the_stop(installation: Installation) -> None:
    """With production deadlines, slow clients are closed seconds after SIGTERM, and the service ends in order."""
    service = installation.service()
    with ExitStack() as stack:
        head, body = post("slow", 1000)
        idle = connect(stack, installation.port, 5)
        heads = connect(stack, installation.port, 5, HEAD, b"x" * 1000)
        bodies = connect(stack, installation.port, 5, head + body[:500], body[500:])
        all_clients = [*idle, *heads, *bodies]
        step(all_clients)
        service.send(signal.SIGTERM)
        trickle_until_ended(all_clients)
    assert service.wait() == 0
    assert {(client.status, client.closes) for client in bodies} == {(408, True)}
    # At most ten bytes a second: these clients were closed before they had sent everything.
    assert all(len(client.unsent) > 500 - 80 for client in bodies)
    assert service.said("stopped") == 1
    assert "graceful timeout" not in service.out + service.err
