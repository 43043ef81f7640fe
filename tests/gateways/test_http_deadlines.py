"""Deadlines and slots: one sweep ends overdue calls at once, and never touches a connection of another call."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from domain.outcomes import NotSentError, OutcomeUnknownError
from gateways.http.connection import Connection
from gateways.http.deadlines import Deadline, Deadlines
from gateways.http.pool import Slots
from gateways.http.response import Response
from tests.gateways.peer import Behave, Exchange, Peer, answers, first, sends_nothing
from tests.gateways.transport import PATIENCE_S, SHORT_DEADLINE_S, Client, post

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def sweeps(name: str) -> list[threading.Thread]:
    """The running sweeps of the client ``name``."""
    return [each for each in threading.enumerate() if each.name == f"deadlines-{name}"]


# --- the sweep ---


def test_a_read_ends_when_its_time_is_over(pair: Pair) -> None:
    """A read without a timeout of its own ends soon after the deadline."""
    deadlines = Deadlines("read", SHORT_DEADLINE_S, time.monotonic)
    deadline = deadlines.begin()
    deadline.guard(pair[0])
    assert pair[0].recv(1) == b""  # waits for 300 ms; without the sweep, for ever
    assert deadline.expired
    assert not deadlines.end(deadline)


def test_a_call_in_time_is_left_alone(pair: Pair) -> None:
    """After its end the sweep does not touch the connection of a call."""
    deadlines = Deadlines("ended", 0.05, time.monotonic)
    deadline = deadlines.begin()
    deadline.guard(pair[0])
    assert deadlines.end(deadline)
    for sweep in sweeps("ended"):
        sweep.join(PATIENCE_S)
    assert not deadline.expired
    pair[1].send(b"x")
    assert pair[0].recv(1) == b"x"


def test_each_call_has_its_own_time(pair: Pair) -> None:
    """A call that begins later is due later, although one sweep serves all."""
    now = [0.0]
    deadlines = Deadlines("several", 0.2, lambda: now[0])
    early, late = deadlines.begin(), None
    now[0] = 0.15
    late = deadlines.begin()
    late.guard(pair[0])
    now[0] = 0.25  # the sweep looks again 0.2 s after the first call began, by its own waiting
    until = time.monotonic() + PATIENCE_S
    while not early.expired and time.monotonic() < until:
        time.sleep(0.01)
    assert (early.expired, late.expired) == (True, False)
    assert [deadlines.end(each) for each in (early, late)] == [False, True]


def test_a_connection_is_not_guarded_too_late(pair: Pair) -> None:
    """A connection that is made when the time is already over is not used."""
    now = [0.0]
    deadlines = Deadlines("late", 1.0, lambda: now[0])
    deadline = deadlines.begin()
    now[0] = 1.0
    with pytest.raises(TimeoutError):
        deadline.guard(pair[0])
    deadlines.end(deadline)
    swept = deadlines.begin()
    swept.expire()
    now[0] = 0.0  # a clock that goes back does not help
    with pytest.raises(TimeoutError):
        swept.guard(pair[0])
    deadlines.end(swept)


def test_one_sweep_serves_all_calls_and_ends_after_them() -> None:
    """However many calls there are, one thread serves them. It ends when there are none, and starts again."""
    deadlines = Deadlines("one-for-all", 0.1, time.monotonic)
    for _ in range(2):
        calls = [deadlines.begin() for _ in range(50)]
        running = sweeps("one-for-all")
        assert len(running) == 1
        for each in calls:
            deadlines.end(each)
        running[0].join(PATIENCE_S)
        assert not sweeps("one-for-all")


def test_a_call_that_begins_as_the_sweep_ends_is_ended(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that begins after the sweep has found none does not wait for ever."""
    deadlines = Deadlines("just-then", 0.05, time.monotonic)
    begun: list[Deadline] = []
    look = deadlines._expire_overdue

    def look_and_begin() -> float | None:
        wait_s = look()
        if wait_s is None and not begun:
            begun.append(deadlines.begin())
            begun[0].guard(pair[0])
        return wait_s

    monkeypatch.setattr(deadlines, "_expire_overdue", look_and_begin)
    deadlines.end(deadlines.begin())
    pair[0].settimeout(PATIENCE_S)
    assert pair[0].recv(1) == b""
    assert not deadlines.end(begun[0])


def test_the_end_of_a_call_waits_for_the_sweep_that_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the sweep could shut down a connection that has the same descriptor by then."""
    deadlines = Deadlines("at-once", 0.05, time.monotonic)
    expiring, ended = threading.Event(), threading.Event()
    expire = Deadline.expire

    def expire_slowly(deadline: Deadline) -> None:
        expiring.set()
        assert not ended.wait(0.05)
        expire(deadline)

    monkeypatch.setattr(Deadline, "expire", expire_slowly)
    deadline = deadlines.begin()
    assert expiring.wait(PATIENCE_S)
    in_time = deadlines.end(deadline)
    ended.set()
    assert not in_time
    assert deadline.expired


def test_calls_without_a_sweep_do_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can be started, the call does not begin. The next call tries again."""
    deadlines = Deadlines("no-thread", 0.1, time.monotonic)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            deadlines.begin()
    deadline = deadlines.begin()
    assert len(sweeps("no-thread")) == 1
    deadlines.end(deadline)


# --- calls ---


def test_a_call_that_ended_late_gives_up_its_connection(
    client: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that is complete counts, but a connection that the sweep has shut down is not reused."""
    transport = client(peer.url, SHORT_DEADLINE_S)
    exchange = Connection.exchange

    def exchange_and_pause(connection: Connection, request: bytes) -> Response:
        response = exchange(connection, request)
        time.sleep(2 * SHORT_DEADLINE_S)
        return response

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "exchange", exchange_and_pause)
        assert post(transport) == 200
    assert not transport._pool._idle
    assert post(transport) == 200
    assert peer.connections == 2


def test_a_call_that_is_killed_at_its_end_frees_its_slot(
    client: Client, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A greenlet may be killed while it waits for the lock of the deadlines. Its slot becomes free nevertheless."""
    transport = client(peer.url, max_concurrent=1)

    class KilledError(BaseException):
        pass

    def fail(*_args: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Deadlines, "end", fail)
        with pytest.raises(KilledError):
            post(transport)
    assert not transport._pool._idle
    assert post(transport) == 200
    assert peer.connections == 2


def test_calls_before_an_overdue_one_do_not_shorten_the_next(client: Client, peer: Peer) -> None:
    """On one connection each call has the whole time, and an overdue call ends only its own."""
    transport = client(peer.url, 1.0, max_concurrent=1)  # long enough for a call on a busy machine
    until = time.monotonic() + 2.5
    while time.monotonic() < until:
        assert post(transport) == 200
        time.sleep(0.05)
    assert peer.connections == 1
    peer.behave = first(answers(200, b"{}"), once=sends_nothing)
    with pytest.raises(OutcomeUnknownError, match="one: sent, then TimeoutError: timed out"):
        post(transport)
    assert post(transport) == 200


@pytest.mark.parametrize("behave", [sends_nothing], ids=["silence"])
def test_many_overdue_calls_end_together(client: Client, peer: Peer, behave: Behave) -> None:
    """Calls that began together end together, each as unknown, and their slots are free again."""
    transport = client(peer.url, SHORT_DEADLINE_S, max_concurrent=20)
    peer.behave = behave

    def call(_number: int) -> type[Exception] | None:
        try:
            post(transport)
        except OutcomeUnknownError as error:
            return type(error)
        return None

    started = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(call, range(20))) == {OutcomeUnknownError}
    assert time.monotonic() - started < PATIENCE_S
    peer.behave = answers(200, b"{}")
    assert post(transport) == 200


# --- bytes before the request ---


def greets(data: bytes) -> tuple[socket.socket, int]:
    """A server that sends ``data`` to each connection as soon as it accepts it, and never reads."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        kept = []
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(data)
            kept.append(connection)

    threading.Thread(target=accept, daemon=True).start()
    return listener, listener.getsockname()[1]


def test_a_response_before_the_request_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that arrives before its request is none. Nothing is sent to such a peer."""
    listener, port = greets(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    start = Connection.start

    def start_late(connection: Connection) -> None:
        time.sleep(0.1)  # the peer's bytes have arrived
        start(connection)

    monkeypatch.setattr(Connection, "start", start_late)
    with listener, pytest.raises(NotSentError, match="bytes before the request"):
        post(client(f"http://127.0.0.1:{port}"))


def test_late_bytes_end_a_kept_connection(client: Client, peer: Peer) -> None:
    """Bytes that arrive while a connection is idle belong to no request: the next call opens another connection."""
    more = threading.Event()
    sent = threading.Event()

    def behave(exchange: Exchange) -> None:
        answers(200, b"{}")(exchange)
        assert more.wait(5)
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
        sent.set()

    peer.behave = behave
    transport = client(peer.url)
    assert transport.request("GET", "/", {}).body == b"{}"
    more.set()
    assert sent.wait(5)
    peer.behave = answers(200, b"{}")
    assert transport.request("GET", "/", {}).body == b"{}"
    assert peer.connections == 2


# --- slots ---


def test_slots_are_bounded() -> None:
    """There are as many slots as stated. One that is freed can be taken again."""
    slots = Slots(2)
    assert [slots.acquire(0) for _ in range(3)] == [True, True, False]
    slots.release()
    assert [slots.acquire(0) for _ in range(2)] == [True, False]


def test_a_freed_slot_wakes_a_waiting_call() -> None:
    """Calls that wait get the slots that others free, each exactly one."""
    slots = Slots(2)
    inside, most = [0], [0]
    lock = threading.Lock()

    def use(_number: int) -> bool:
        if not slots.acquire(PATIENCE_S):
            return False
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.0005)
        with lock:
            inside[0] -= 1
        slots.release()
        return True

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(use, range(400)))
    assert most[0] == 2


def test_a_killed_wait_leaves_the_slot_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is killed while it waits takes no slot, and wakes another one in its place."""
    slots = Slots(1)
    assert slots.acquire(0)

    class KilledError(BaseException):
        pass

    def fail(*_args: object) -> bool:
        slots.release()
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(slots._freed, "wait", fail)
        with pytest.raises(KilledError):
            slots.acquire(1)
    assert slots._waiting == 0
    assert slots.acquire(0)
