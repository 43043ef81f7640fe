"""What only the queue over Kafka has: the message, old and odd messages, the bounded buffer, and its end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import orjson
import pytest
from confluent_kafka import Producer

from messaging.hints import HINT_MAX, encode
from messaging.kafka.queue import TOPIC, KafkaQueue
from messaging.port import WorkHint
from tests.messaging.kafka_network import KafkaNetwork, OneKafkaProcess
from tests.messaging.kafka_server import Reader, partitions_of
from tests.processes.process import wait_until

HINT: Final = WorkHint("w-1", None, "gatewayA")
UNDER_GEVENT: Final = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from messaging.kafka.queue import KafkaQueue
from messaging.port import WorkHint
ticks, got = 0, []
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)
gevent.spawn(tick)
queue = KafkaQueue(sys.argv[1])
queue.subscribe(["gatewayA"], got.append)
while not got:
    queue.announce(WorkHint("w-1", None, "gatewayA"))
    gevent.sleep(0.01)
queue.close()
print({*got} == {WorkHint("w-1", None, "gatewayA")}, ticks > 100)
"""
UNTIL_KILLED: Final = """
import sys, time
from messaging.kafka.queue import KafkaQueue
queue = KafkaQueue(sys.argv[1])
def hold(hint):
    print(hint.work_id, flush=True)
    time.sleep(3600)
queue.subscribe(["gatewayA"], hold)
time.sleep(3600)
"""
CHECKOUT: Final = Path(__file__).parents[2]


@pytest.fixture
def process() -> Iterator[OneKafkaProcess]:
    """A process on a broker of its own."""
    process = OneKafkaProcess()
    yield process
    process.close()


@pytest.fixture
def network() -> Iterator[KafkaNetwork]:
    """Processes that share a broker."""
    network = KafkaNetwork()
    yield network
    network.close()


def produce(process: OneKafkaProcess, *values: bytes) -> None:
    """Put messages of another program into the topic."""
    producer = Producer({"bootstrap.servers": process.server.servers})
    for value in values:
        producer.produce(TOPIC, value)
    assert producer.flush(10) == 0


def threads_of(queue: KafkaQueue) -> list[threading.Thread]:
    """The threads that a queue has started."""
    sides = (queue._announcing, queue._consuming)
    return [side._thread._thread for side in sides if side._started]


def received_by(network: KafkaNetwork, condition: Callable[[], bool]) -> None:
    """Announce until a hint has arrived where it should."""
    queue = network.queue()

    def holds() -> bool:
        queue.announce(HINT)
        return condition()

    wait_until(holds, "hints arrive")


def test_a_hint_as_other_programs_see_it(network: KafkaNetwork) -> None:
    """JSON without a key, in a topic that the queue creates."""
    queue = network.queue()
    queue.announce(HINT)
    wait_until(lambda: queue.announced == 1, "it is confirmed")
    (got,) = Reader(network.server.servers, TOPIC).read()
    assert (got.key(), orjson.loads(got.value() or b"")) == (None, HINT._asdict())
    assert partitions_of(network.server.servers, TOPIC) == 12
    assert queue.lost == 0


def test_old_hints_are_ignored(process: OneKafkaProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts after an outage does not ask for work that polling has found long ago."""
    hints: list[WorkHint] = []
    queue = process.queue()
    queue.subscribe(["gatewayA"], hints.append)
    for age_s, old in ((30.0, 0), (62.0, 1)):
        monkeypatch.setattr(queue._consuming, "_now", lambda age_s=age_s: time.time() + age_s)
        queue.announce(HINT)
        wait_until(lambda old=old: bool(hints) and queue.old == old, "it arrives")  # type: ignore[misc]
        assert hints == [HINT]


def test_odd_messages_are_dropped_and_counted(process: OneKafkaProcess) -> None:
    """They stop nothing."""
    hints: list[WorkHint] = []
    queue = process.queue()
    queue.subscribe(["gatewayA"], hints.append)
    produce(process, b"", b"\xff", b"[]", b"{}", b'{"work_id": 1, "transaction_id": null, "gateway": "gatewayA"}')
    queue.announce(HINT)
    wait_until(lambda: bool(hints), "a hint arrives")
    assert (hints, queue.malformed) == ([HINT], 5)


def test_large_messages_are_dropped_without_being_decoded(process: OneKafkaProcess) -> None:
    """Also ones that are larger than a fetch."""
    hints: list[WorkHint] = []
    queue = process.queue()
    queue.subscribe(["gatewayA"], hints.append)
    body = encode(HINT)
    produce(process, body + b" " * HINT_MAX, *[body + b" " * 900_000] * 5)
    queue.announce(HINT)
    wait_until(lambda: queue.malformed == 6 and bool(hints), "a hint arrives")
    assert hints == [HINT]


def test_hints_of_other_gateways_are_left_alone(process: OneKafkaProcess) -> None:
    """They are for processes that serve them, or for their polling."""
    hints: list[WorkHint] = []
    queue = process.queue()
    queue.subscribe(["gatewayA"], hints.append)
    queue.announce(HINT._replace(gateway="gatewayB"))
    queue.announce(HINT)
    wait_until(lambda: bool(hints), "the other hint arrives")
    assert (hints, queue.malformed) == ([HINT], 0)


def test_the_buffer_is_bounded(network: KafkaNetwork) -> None:
    """Without a broker hints are lost, and counted."""
    network.go_away()
    queue = KafkaQueue(network.url, buffer_max=10)
    for _ in range(100):
        queue.announce(HINT)
    wait_until(lambda: queue.lost == 100, "all are given up")
    queue.close()
    queue.announce(HINT)
    assert (queue.lost, queue.announced) == (101, 0)


@pytest.mark.parametrize("broker", ["never there", "gone", "there"])
def test_a_closed_queue_has_ended(network: KafkaNetwork, broker: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its threads have ended when it returns, also without a broker."""
    hints: list[WorkHint] = []
    if broker == "never there":
        network.go_away()
    queue = network.queue()
    queue.subscribe(["gatewayA"], hints.append)
    queue.announce(HINT)
    if broker != "never there":
        received_by(network, lambda: bool(hints))
    if broker == "gone":
        network.go_away()
        wait_until(lambda: "no connection to Kafka" in caplog.text, "the lost connection is noticed")
    threads = threads_of(queue)
    assert len(threads) == 2
    queue.close()
    assert [one.is_alive() for one in threads] == [False, False]


@pytest.mark.slow
def test_the_partitions_of_a_killed_process_go_to_others(network: KafkaNetwork) -> None:
    """Once its session is over. Until then its hints wait, and polling finds their work."""
    killed = subprocess.Popen(
        [sys.executable, "-c", UNTIL_KILLED, network.url], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    with killed:
        assert killed.stdout is not None
        lines: list[str] = []
        reading = threading.Thread(target=lambda: lines.append(killed.stdout.readline()))  # type: ignore[union-attr]
        reading.start()
        received_by(network, lambda: bool(lines))
        reading.join()
        killed.kill()
    hints: list[WorkHint] = []
    queue = network.queue()
    queue.subscribe(["gatewayA"], hints.append)
    received_by(network, lambda: bool(hints))
    assert set(hints) == {HINT}


def test_it_cooperates_under_gevent(network: KafkaNetwork) -> None:
    """Other greenlets run while it connects, joins its group and waits for hints."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, network.url], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("True True\n", 0), done.stderr
    assert done.stderr == ""
