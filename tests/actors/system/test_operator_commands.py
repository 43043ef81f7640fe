"""Operator commands and poison messages in a whole system: they hold over restarts and block nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.messages import RetryDead, SetBreakerMode, StatusRequest
from actors.replies import GatewayStatus
from actors.runtime.actor import Future
from store.errors import StoreError
from store.port import DeadLetterFilter, GatewayMode, WorkState
from tests.actors.support import GATEWAY
from tests.actors.system.keyless_world import World


def order(world: World, mode: str) -> Future[GatewayStatus]:
    """Set a breaker's mode as the service facade does, without waiting."""
    reply: Future[GatewayStatus] = Future()
    world.system.actors.breaker_sync.tell(SetBreakerMode(GatewayMode(GATEWAY, mode, "maintenance"), reply))
    return reply


def status(world: World) -> GatewayStatus:
    """What operators see."""
    reply: Future[tuple[GatewayStatus, ...]] = Future()
    world.system.actors.supervisor.tell(StatusRequest(reply))
    world.run(0.0)
    [reported] = reply.get(timeout=0)
    return reported


def test_a_mode_survives_a_restart_and_holds_before_anything_is_sent(tmp_path: Path) -> None:
    """A breaker that is forced open stays open in the next process, with work that waits. In auto, all work is sent."""
    world = World(tmp_path, 1, fates=("answered",))
    world.run(1.0)
    reply = order(world, "open")
    world.run(1.0)
    assert (reply.get(timeout=0).breaker.mode, reply.get(timeout=0).breaker.state) == ("open", "open")
    world.send(5)
    for _ in range(3):
        world.run(30.0)
        world.crash()
        assert world.system.actors.bulkheads[GATEWAY].breaker.mode == "open"
    world.run(60.0)
    assert world.provider.sendings.total() == 0
    assert status(world).breaker.mode == "open"
    order(world, "auto")
    world.run(60.0)
    world.finish()
    world.judge()
    world.crash()
    assert world.system.actors.bulkheads[GATEWAY].breaker.mode == "auto"


def test_forced_closed_everything_goes_out_whatever_happens(tmp_path: Path) -> None:
    """The operator's mode has precedence over the statistics."""
    world = World(tmp_path, 1, fates=("refused",))
    order(world, "closed")
    world.run(1.0)
    world.send(30)
    world.run(30.0)
    assert status(world).breaker.state == "closed"
    world.provider.fate = lambda _: "answered"
    world.finish()
    world.judge()


def test_a_process_does_not_start_without_the_breaker_modes(tmp_path: Path) -> None:
    """Without the operator's modes the process would send work that must wait."""
    world = World(tmp_path, 1)
    world.send(1)
    world.run(1.0)
    world.real.close()
    with pytest.raises(StoreError):
        world.system.start()


def test_an_outage_that_ends_is_followed_by_lookups_at_once(tmp_path: Path) -> None:
    """What became unknown during the outage is looked up when the gateway is back, and not hours later."""
    world = World(tmp_path, 3, fates=("silent",))
    world.run(1.0)
    world.provider.unanswered_share = 1.0
    ids = world.send(8)
    world.run(3 * 3600.0)  # the next lookup is hours away
    assert {view.value for view in world.statuses().values()} <= {"unknown", "pending"}
    world.provider.unanswered_share = 0.0
    world.provider.fate = lambda _: "answered"
    world.send(12)  # the next sending shows that the gateway answers again
    world.run(300.0)
    assert [world.statuses()[key].value for key in ids] == ["completed"] * 8
    world.finish()
    world.judge()


@pytest.mark.parametrize("kind", ["event type", "transaction", "row"])
def test_poison_is_parked_with_its_error_and_blocks_nothing(tmp_path: Path, kind: str) -> None:
    """Three kinds of poison: retried, each is parked again, and the deposits around it are completed."""
    world = World(tmp_path, 1, fates=("answered",))
    order(world, "open")
    world.run(1.0)
    before, poison, after = world.send(3), world.send(1), world.send(3)
    world.run(1.0)
    statement = {
        "event type": "UPDATE work SET event_type = 'DepositEaten' WHERE work_id = ?",
        "transaction": "UPDATE work SET transaction_id = NULL WHERE work_id = ?",
        "row": "UPDATE transactions SET details = 'no JSON' WHERE transaction_id = ?",
    }[kind]
    world.real._writer.run(lambda cursor: cursor.execute(statement, (poison[0],)))
    world.crash()
    order(world, "auto")
    world.run(60.0)
    for _ in range(2):
        letter = world.real.dead_letter("main", poison[0])
        assert letter is not None
        assert letter.state is WorkState.PARKED
        assert letter.item.errors
        assert letter.item.attempts == 0
        reply: Future[int] = Future()
        world.system.actors.dead_letters.tell(RetryDead("main", DeadLetterFilter(), reply))
        world.run(10.0)
        assert reply.get(timeout=0) == 1
    if kind != "row":
        done = world.statuses()
        assert {done[key].value for key in before + after} == {"completed"}
    assert set(world.provider.sendings) == set(before + after)
    assert world.real.work_counts() == {(GATEWAY, "parked"): 1}
    assert status(world).bulkhead.in_flight == 0
