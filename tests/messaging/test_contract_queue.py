"""What every adapter of the queue port must do. Hints may be lost and repeated, so no test here requires more."""

from __future__ import annotations

import logging
import threading

import pytest

from messaging.port import WorkHint
from tests.messaging.conftest import Network

A1 = WorkHint("w-1", "t-1", "gatewayA")
A2 = WorkHint("w-2", None, "gatewayA")
B1 = WorkHint("w-3", "t-3", "gatewayB")


def test_a_hint_reaches_the_subscriber_of_its_gateway(network: Network) -> None:
    """With all its fields, and no subscriber of another gateway."""
    a: list[WorkHint] = []
    b: list[WorkHint] = []
    network.queue().subscribe(["gatewayA"], a.append)
    network.queue().subscribe(["gatewayB"], b.append)
    for hint in (A1, B1, A2):
        network.queue().announce(hint)
    network.settle(lambda: len(a) + len(b) == 3)
    assert (sorted(a), b) == ([A1, A2], [B1])


def test_one_subscription_may_name_several_gateways(network: Network) -> None:
    """A process subscribes once for all that it serves."""
    hints: list[WorkHint] = []
    network.queue().subscribe(["gatewayA", "gatewayB"], hints.append)
    network.queue().announce(A1)
    network.queue().announce(B1)
    network.settle(lambda: len(hints) == 2)
    assert sorted(hints) == [A1, B1]


def test_a_later_handler_replaces_an_earlier_one(network: Network) -> None:
    """A queue that is subscribed again delivers to the new handler only."""
    queue = network.queue()
    old: list[WorkHint] = []
    new: list[WorkHint] = []
    queue.subscribe(["gatewayA"], old.append)
    queue.subscribe(["gatewayA"], new.append)
    queue.announce(A1)
    network.settle(lambda: bool(new))
    assert (old, new) == ([], [A1])


def test_a_hint_without_a_subscriber_is_no_error(network: Network) -> None:
    """The database has the work: a process that polls claims it."""
    network.queue().announce(A1)


def test_repeated_hints_are_accepted(network: Network) -> None:
    """An announcer that restarts may announce the same work again."""
    hints: list[WorkHint] = []
    network.queue().subscribe(["gatewayA"], hints.append)
    for _ in range(3):
        network.queue().announce(A1)
    network.settle(lambda: len(hints) == 3)
    assert set(hints) == {A1}


def test_a_failing_handler_harms_neither_the_announcer_nor_later_hints(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged with the work's id; the next hint is delivered."""
    hints: list[WorkHint] = []

    def handle(hint: WorkHint, /) -> None:
        hints.append(hint)
        if hint == A1:
            raise RuntimeError("a defect")

    network.queue().subscribe(["gatewayA"], handle)
    with caplog.at_level(logging.ERROR):
        network.queue().announce(A1)
        network.queue().announce(A2)
        network.settle(lambda: {A1, A2} <= set(hints) and bool(caplog.records))
    assert {A1, A2} <= set(hints)
    assert {record.fields["work_id"] for record in caplog.records} == {A1.work_id}  # type: ignore[attr-defined]


def test_a_closed_queue_loses_hints_without_an_error(network: Network) -> None:
    """A process that stops may still commit: the work waits in the database."""
    queue = network.queue()
    hints: list[WorkHint] = []
    queue.subscribe(["gatewayA"], hints.append)
    queue.close()
    queue.close()
    queue.announce(A1)
    network.settle(lambda: False)
    assert hints == []


def test_threads_may_announce_and_subscribe_at_once(network: Network) -> None:
    """No announcement fails while subscriptions change."""
    queue = network.queue()
    hints: list[WorkHint] = []
    errors: list[BaseException] = []

    def announce() -> None:
        try:
            for _ in range(200):
                queue.announce(A1)
        except BaseException as error:  # noqa: BLE001  # shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=announce) for _ in range(4)]
    queue.subscribe(["gatewayA"], hints.append)
    for thread in threads:
        thread.start()
    for number in range(200):
        queue.subscribe([f"gateway{number}"], hints.append)
    for thread in threads:
        thread.join()
    network.settle(lambda: len(hints) == 800)
    assert errors == []
    assert len(hints) == 800
