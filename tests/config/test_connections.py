"""A worker's connections on real sockets: deadlines are for the whole, and in a crowd the slowest makes room."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from server import connections
from server.connections import DISPLACED_AFTER_S, Connection, ConnectionPool

SOON_S = 0.05
LONG_S = 10.0
"""What nothing takes unless it is broken."""


class Pair:
    """A connection and its client's end, in a crowd of its own unless it is given one."""

    def __init__(
        self,
        stack: ExitStack,
        crowd: ConnectionPool | None = None,
        *,
        idle_s: float = LONG_S,
        request_s: float = LONG_S,
    ) -> None:
        ours, self.client = map(stack.enter_context, map(closing, socket.socketpair()))
        self.client.settimeout(LONG_S)
        made = Connection(ours, ConnectionPool(10) if crowd is None else crowd, idle_s=idle_s, request_s=request_s)
        self.connection = stack.enter_context(made)
        self.not_kept = 0

    def expect_body(self) -> None:
        """As the worker does when the head is complete."""
        self.connection.expect_body(self._keep_not)

    def _keep_not(self) -> None:
        self.not_kept += 1


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The crowd's clock."""
    return Clock()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes everything after the test."""
    with ExitStack() as stack:
        yield stack


def trickle(client: socket.socket, ended: threading.Event) -> None:
    """A byte every few milliseconds, until the test has ended: no single wait is ever long."""
    with suppress(OSError):
        while not ended.wait(SOON_S / 10):
            client.send(b"x")


def read_on(connection: Connection) -> int:
    """How many bytes come until the end."""
    count = 0
    while data := connection.recv(1):
        count += len(data)
        assert count < 1_000, "it has no end"
    return count


def assert_displaced(pair: Pair) -> None:
    """Nothing that is sent now will be read; that shows at once, long before any deadline."""
    with pytest.raises(BrokenPipeError):
        pair.client.send(b"more")


def test_an_idle_connection_ends(stack: ExitStack) -> None:
    """As if its client had left; so does one whose head began and does not go on."""
    assert Pair(stack, idle_s=SOON_S).connection.recv(100) == b""
    begun = Pair(stack, request_s=SOON_S)
    begun.client.send(b"GET / HT")
    assert begun.connection.recv(100) == b"GET / HT"
    assert begun.connection.recv(100) == b""


def test_a_head_that_trickles_in_ends_all_the_same(stack: ExitStack) -> None:
    """Its deadline is for the whole of it, and for each request of a connection anew."""
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
    """That is an error for whoever reads it, and the connection is not kept."""
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
    """The end of a body that is cut off is the end, and no error."""
    pair = Pair(stack)
    pair.expect_body()
    pair.client.close()
    assert pair.connection.recv(100) == b""
    assert pair.not_kept == 0


def test_an_answer_that_nobody_takes_ends_the_connection(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the way of a client that has left, about which a server makes no noise."""
    monkeypatch.setattr(connections, "TAKE_WITHIN_S", SOON_S)
    pair = Pair(stack)
    assert pair.connection.send(b"small") == 5
    assert pair.client.recv(100) == b"small"
    with pytest.raises(ConnectionResetError):
        pair.connection.sendall(bytes(64 * 1024 * 1024))


def test_who_was_waited_for_the_longest_makes_room(stack: ExitStack, clock: Clock) -> None:
    """In a crowd each newcomer displaces one: not whoever is being served, and not himself."""
    crowd = ConnectionPool(4, monotonic=clock)
    served = Pair(stack, crowd)
    served.expect_body()
    head = Pair(stack, crowd)
    head.client.send(b"G")
    assert head.connection.recv(100) == b"G"
    idle, late_again = Pair(stack, crowd), Pair(stack, crowd)
    assert len(crowd) == 4
    clock.now += DISPLACED_AFTER_S
    first = Pair(stack, crowd)
    assert len(crowd) == 5
    assert_displaced(head)
    assert head.connection.recv(100) == b"", "who is slow with a head has been waited for since he came"
    Pair(stack, crowd)
    assert_displaced(idle)
    assert idle.connection.recv(100) == b""
    late_again.expect_body()
    late_again.connection.await_head()  # he was served, and so he is waited for since just now
    clock.now += DISPLACED_AFTER_S
    Pair(stack, crowd)
    assert_displaced(first)
    assert first.connection.recv(100) == b""
    for pair in (served, late_again):
        pair.client.send(b"more")
        assert pair.connection.recv(100) == b"more"


def test_who_has_only_just_come_is_left_alone(stack: ExitStack, clock: Clock) -> None:
    """An honest client needs a moment: newcomers do not displace each other, but whoever takes his time does not stay.

    When the worker is full nobody enters any more; then those who are too many make room by and by.
    """
    crowd = ConnectionPool(2, monotonic=clock)
    pairs = [Pair(stack, crowd) for _ in range(5)]
    clock.now += DISPLACED_AFTER_S - 0.01
    Pair(stack, crowd)
    crowd.evict()
    assert crowd.displaced == 0
    for pair in pairs:
        pair.client.send(b"more")
        assert pair.connection.recv(100) == b"more"
    pairs[0].expect_body()
    clock.now += 0.01
    crowd.evict()
    assert crowd.displaced == 4, "as many as are too many, and not who is being served"
    for pair in pairs[1:]:
        assert_displaced(pair)
    pairs[0].client.send(b"on")
    assert pairs[0].connection.recv(100) == b"on"


def test_who_does_not_take_his_answer_makes_room(stack: ExitStack, clock: Clock) -> None:
    """He holds a place as others do who are waited for; his answer ends where it is."""
    crowd = ConnectionPool(1, monotonic=clock)
    slow = Pair(stack, crowd)
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
    while not crowd._awaited:
        assert sender.is_alive()
    clock.now += DISPLACED_AFTER_S
    Pair(stack, crowd)
    sender.join(LONG_S)
    assert not sender.is_alive()
    assert [type(failure) for failure in failures] == [BrokenPipeError]


def test_a_long_answer_may_take_its_time(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deadline is for each piece: a client on a slow line gets all of it."""
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
    assert not pair.connection._crowd._awaited.get(pair.connection)


def test_a_displaced_body_is_late(stack: ExitStack, clock: Clock) -> None:
    """What is there already is still read; what is not is not waited for."""
    crowd = ConnectionPool(1, monotonic=clock)
    slow = Pair(stack, crowd)
    slow.expect_body()
    slow.client.send(b"some")
    assert slow.connection.recv(2) == b"so"
    clock.now += DISPLACED_AFTER_S
    Pair(stack, crowd)
    assert_displaced(slow)
    assert slow.connection.recv(100) == b"me"
    with pytest.raises(TimeoutError):
        slow.connection.recv(100)
    assert slow.not_kept == 1


def test_a_crowd_keeps_nobody_who_has_left() -> None:
    """Neither those who were waited for nor those who were served."""
    crowd = ConnectionPool(10)
    with ExitStack() as stack:
        Pair(stack, crowd)
        Pair(stack, crowd).expect_body()
        assert len(crowd) == 2
    assert len(crowd) == 0
    assert not crowd._awaited


def test_when_all_are_cut_nobody_waits(stack: ExitStack) -> None:
    """Whoever is waited for has the end at once, and whoever is served, when he is waited for again."""
    crowd = ConnectionPool(10)
    idle, served = Pair(stack, crowd), Pair(stack, crowd)
    served.expect_body()
    crowd.cut()
    assert_displaced(idle)
    assert idle.connection.recv(100) == b""
    served.connection.sendall(b"an answer")
    assert served.client.recv(100) == b"an answer"
    served.connection.await_head()
    assert served.connection.recv(100) == b""
