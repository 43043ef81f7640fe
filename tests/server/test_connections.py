"""Client connections on real sockets: deadlines are total, and above the limit the slowest is evicted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from server import connections
from server.connections import EVICTED_AFTER_S, ClientConnection, ConnectionPool

SOON_S = 0.05
LONG_S = 10.0
"""Longer than anything takes in a correct run."""


class Pair:
    """A connection and its client's end, in a pool of its own unless one is given."""

    def __init__(
        self,
        stack: ExitStack,
        pool: ConnectionPool | None = None,
        *,
        idle_s: float = LONG_S,
        request_s: float = LONG_S,
    ) -> None:
        ours, self.client = map(stack.enter_context, map(closing, socket.socketpair()))
        self.client.settimeout(LONG_S)
        made = ClientConnection(ours, ConnectionPool(10) if pool is None else pool, idle_s=idle_s, request_s=request_s)
        self.connection = stack.enter_context(made)
        self.not_kept = 0

    def expect_body(self) -> None:
        """Do what the worker does when a head is complete."""
        self.connection.expect_body(self._keep_not)

    def _keep_not(self) -> None:
        self.not_kept += 1


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The pool's clock."""
    return Clock()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes everything after the test."""
    with ExitStack() as stack:
        yield stack


def trickle(client: socket.socket, ended: threading.Event) -> None:
    """Send a byte every few milliseconds until the test ends, so that no single wait is long."""
    with suppress(OSError):
        while not ended.wait(SOON_S / 10):
            client.send(b"x")


def read_on(connection: ClientConnection) -> int:
    """Return the number of bytes until the end."""
    count = 0
    while data := connection.recv(1):
        count += len(data)
        assert count < 1_000, "it has no end"
    return count


def assert_evicted(pair: Pair) -> None:
    """What is sent now will not be read, which shows long before any deadline."""
    with pytest.raises(BrokenPipeError):
        pair.client.send(b"more")


def test_an_idle_connection_ends(stack: ExitStack, clock: Clock) -> None:
    """It ends as if its client had left, also while the worker reads from it, and not before its time."""
    pool, found = ConnectionPool(10, monotonic=clock), []
    idle = Pair(stack, pool)
    reader = threading.Thread(target=lambda: found.append(idle.connection.recv(100)), daemon=True)
    reader.start()
    clock.now += LONG_S - 1
    pool.end_idle()
    assert idle.client.send(b"x") == 1  # it is still open
    reader.join(LONG_S)
    idle.connection.await_head()
    clock.now += LONG_S
    pool.end_idle()
    assert_evicted(idle)
    assert found == [b"x"]
    assert idle.connection.recv(100) == b""


def test_a_read_ends_with_an_idle_connection(stack: ExitStack, clock: Clock) -> None:
    """The worker waits for the next head when the connection ends."""
    pool, found = ConnectionPool(10, monotonic=clock), []
    idle = Pair(stack, pool)
    reader = threading.Thread(target=lambda: found.append(idle.connection.recv(100)), daemon=True)
    reader.start()
    clock.now += LONG_S
    pool.end_idle()
    reader.join(LONG_S)
    assert found == [b""]


def test_only_idle_connections_end(stack: ExitStack, clock: Clock) -> None:
    """A connection whose head has begun, or whose body is awaited, has a deadline of its own."""
    pool = ConnectionPool(10, monotonic=clock)
    begun, served, body = Pair(stack, pool), Pair(stack, pool), Pair(stack, pool)
    begun.client.send(b"GET / HT")
    assert begun.connection.recv(100) == b"GET / HT"
    served.expect_body()
    body.expect_body()
    body.client.send(b"some")
    assert body.connection.recv(100) == b"some"
    clock.now += 2 * LONG_S
    pool.end_idle()
    for pair in (begun, served, body):
        assert pair.client.send(b"more") == 4
        assert pair.connection.recv(100) == b"more"


def test_a_head_that_is_never_completed_is_late(stack: ExitStack) -> None:
    """Its connection ends as if its client had left."""
    begun = Pair(stack, request_s=SOON_S)
    begun.client.send(b"GET / HT")
    assert begun.connection.recv(100) == b"GET / HT"
    assert begun.connection.recv(100) == b""


def test_a_head_that_trickles_in_is_late(stack: ExitStack) -> None:
    """The deadline is for the whole head, and starts again for each request of a connection."""
    pair, ended = Pair(stack, request_s=SOON_S), threading.Event()
    sender = threading.Thread(target=trickle, args=(pair.client, ended), daemon=True)
    sender.start()
    assert read_on(pair.connection) > 0
    pair.expect_body()
    pair.connection.await_head()
    assert read_on(pair.connection) > 0
    ended.set()
    sender.join(LONG_S)
    assert pair.not_kept == 0


def test_a_body_that_trickles_in_is_late(stack: ExitStack) -> None:
    """Its reader gets an error, and the connection is not kept."""
    pair, ended = Pair(stack, request_s=SOON_S), threading.Event()
    sender = threading.Thread(target=trickle, args=(pair.client, ended), daemon=True)
    sender.start()
    pair.expect_body()
    with pytest.raises(TimeoutError):
        read_on(pair.connection)
    ended.set()
    sender.join(LONG_S)
    assert pair.not_kept == 1


def test_a_client_that_leaves_is_not_late(stack: ExitStack) -> None:
    """The end of a truncated body is an end, not an error."""
    pair = Pair(stack)
    pair.expect_body()
    pair.client.close()
    assert pair.connection.recv(100) == b""
    assert pair.not_kept == 0


def test_a_response_that_is_not_taken_ends_the_connection(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is that of a client that has left, which gunicorn does not log."""
    monkeypatch.setattr(connections, "TAKE_WITHIN_S", SOON_S)
    pair = Pair(stack)
    assert pair.connection.send(b"small") == 5
    assert pair.client.recv(100) == b"small"
    with pytest.raises(ConnectionResetError):
        pair.connection.sendall(bytes(64 * 1024 * 1024))


def test_the_longest_wait_is_evicted(stack: ExitStack, clock: Clock) -> None:
    """Above the limit each new connection evicts another one, never one that is being served and never itself."""
    pool = ConnectionPool(4, monotonic=clock)
    served = Pair(stack, pool)
    served.expect_body()
    head = Pair(stack, pool)
    head.client.send(b"G")
    assert head.connection.recv(100) == b"G"
    idle, late_again = Pair(stack, pool), Pair(stack, pool)
    assert len(pool) == 4
    clock.now += EVICTED_AFTER_S
    first = Pair(stack, pool)
    assert len(pool) == 5
    assert_evicted(head)
    assert head.connection.recv(100) == b"", "a slow head counts as a wait since the connection began"
    Pair(stack, pool)
    assert_evicted(idle)
    assert idle.connection.recv(100) == b""
    late_again.expect_body()
    late_again.connection.await_head()  # it was served, so its wait begins now
    clock.now += EVICTED_AFTER_S
    Pair(stack, pool)
    assert_evicted(first)
    assert first.connection.recv(100) == b""
    for pair in (served, late_again):
        pair.client.send(b"more")
        assert pair.connection.recv(100) == b"more"


def test_a_short_wait_is_not_evicted(stack: ExitStack, clock: Clock) -> None:
    """New connections do not evict each other, because an honest client needs a moment. Slow ones are evicted later.

    A full worker accepts no new connection, so a regular call evicts down to the limit.
    """
    pool = ConnectionPool(2, monotonic=clock)
    pairs = [Pair(stack, pool) for _ in range(5)]
    clock.now += EVICTED_AFTER_S - 0.01
    Pair(stack, pool)
    pool.evict()
    assert pool.evicted == 0
    for pair in pairs:
        pair.client.send(b"more")
        assert pair.connection.recv(100) == b"more"
    pairs[0].expect_body()
    clock.now += 0.01
    pool.evict()
    assert pool.evicted == 4, "down to the limit, without the one that is being served"
    for pair in pairs[1:]:
        assert_evicted(pair)
    pairs[0].client.send(b"on")
    assert pairs[0].connection.recv(100) == b"on"


def test_a_response_that_is_not_taken_is_evicted(stack: ExitStack, clock: Clock) -> None:
    """It counts as a wait; the response is aborted."""
    pool = ConnectionPool(1, monotonic=clock)
    slow = Pair(stack, pool)
    slow.expect_body()
    sending = threading.Event()
    failures: list[OSError] = []

    def answer() -> None:
        sending.set()
        try:
            slow.connection.sendall(bytes(64 * 1024 * 1024))
        except OSError as error:
            failures.append(error)

    sender = threading.Thread(target=answer, daemon=True)
    sender.start()
    assert sending.wait(LONG_S)
    slow.client.recv(1)  # the kernel has taken what it has room for
    while not pool._awaited:
        assert sender.is_alive()
    clock.now += EVICTED_AFTER_S
    Pair(stack, pool)
    sender.join(LONG_S)
    assert not sender.is_alive()
    assert [type(failure) for failure in failures] == [BrokenPipeError]


def test_a_long_response_may_take_its_time(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is for each piece, so a client on a slow line gets all of it."""
    monkeypatch.setattr(connections, "TAKE_WITHIN_S", LONG_S / 2)
    pair = Pair(stack)
    answer = bytes(range(256)) * 16 * 1024
    got = bytearray()

    def take() -> None:
        while len(got) < len(answer):
            got.extend(pair.client.recv(100_000))

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    pair.connection.sendall(answer)
    taker.join(LONG_S)
    assert bytes(got) == answer
    assert not pair.connection._pool._awaited.get(pair.connection)


def test_an_evicted_body_is_late(stack: ExitStack, clock: Clock) -> None:
    """What has arrived is still read; the rest is not waited for."""
    pool = ConnectionPool(1, monotonic=clock)
    slow = Pair(stack, pool)
    slow.expect_body()
    slow.client.send(b"some")
    assert slow.connection.recv(2) == b"so"
    clock.now += EVICTED_AFTER_S
    Pair(stack, pool)
    assert_evicted(slow)
    assert slow.connection.recv(100) == b"me"
    with pytest.raises(TimeoutError):
        slow.connection.recv(100)
    assert slow.not_kept == 1


def test_a_pool_forgets_closed_connections() -> None:
    """Both those that were waited for and those that were served."""
    pool = ConnectionPool(10)
    with ExitStack() as stack:
        Pair(stack, pool)
        Pair(stack, pool).expect_body()
        assert len(pool) == 2
    assert len(pool) == 0
    assert not pool._awaited


def test_after_reading_is_stopped_nothing_is_waited_for(stack: ExitStack) -> None:
    """An idle connection ends at once, and one that is being served ends after its response."""
    pool = ConnectionPool(10)
    idle, served = Pair(stack, pool), Pair(stack, pool)
    served.expect_body()
    pool.stop_reading()
    assert_evicted(idle)
    assert idle.connection.recv(100) == b""
    served.connection.sendall(b"an answer")
    assert served.client.recv(100) == b"an answer"
    served.connection.await_head()
    assert served.connection.recv(100) == b""
