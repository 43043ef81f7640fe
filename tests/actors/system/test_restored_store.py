"""A store that is put back to an earlier state under a running process, or while none runs.

The last commits are lost: a promoted replica had not received them, or they came after the backup. The providers keep
what they did. So nothing may be sent a second time to a provider without keys, and no answer may be lost.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from actors.generations import STRAGGLERS_S, Generations
from actors.heartbeat import BEAT_MAX_S
from domain.account import Status
from domain.outcomes import NotReceived, Outcome, OutcomeUnknownError
from gateways.port import Order
from store.sqlite.adapter import SqliteStore
from tests.actors.system.keyless_world import KeylessProvider, World
from tests.store.builders import Customer


class Changing(World):
    """A world whose file can be copied and restored."""

    honours_keys = False

    def boot(self) -> None:
        """A process begins."""
        self.provider.honours_keys = self.honours_keys
        self.provider.watch = lambda _: None  # the record of a sending may be gone when it goes out
        super().boot()

    def keep(self, name: str = "kept") -> Path:
        """A copy of the database as it is now."""
        copy = self.path.with_name(f"{name}.db")
        copy.unlink(missing_ok=True)
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.execute("VACUUM INTO ?", (str(copy),))
        connection.close()
        return copy

    def put_back(self, copy: Path) -> None:
        """Restore the database under the running process."""
        self.real.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(copy, self.path)
        self.real = SqliteStore(self.path, clock=self.runtime.now, synchronous="OFF")
        self.store._store = self.real

    def until(self, condition: Callable[[], bool]) -> None:
        """Run step by step until ``condition`` holds."""
        for _ in range(100_000):
            if condition():
                return
            assert self.runtime.step(self.runtime.monotonic() + 100.0), "nothing happens any more"
        raise AssertionError("the condition is never met")

    def is_leased(self) -> bool:
        """Whether there is one piece of work, and it is leased."""
        return self.real.work_counts() == {("gatewayA", "leased"): 1}


class Keyed(Changing):
    """The same with a provider that honours keys: an order under one key is done once, with one answer."""

    honours_keys = True

    def boot(self) -> None:
        """See Changing."""
        provider = self.provider

        def submit(order: Order) -> Outcome:
            if all(key != order.transaction_id for _, key, _ in provider.arrivals):
                return KeylessProvider.submit(provider, order)
            found = provider.lookup(order)
            if isinstance(found, NotReceived):
                raise OutcomeUnknownError("it is in the queue")
            return found

        provider.submit = submit  # type: ignore[method-assign]
        super().boot()


def silent(_order: Order) -> str:
    """Have an effect, and no answer."""
    return "silent"


def answered(_order: Order) -> str:
    """Have an effect, and answer with success."""
    return "answered"


@pytest.fixture(params=[Changing, Keyed])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Changing:
    """A world whose provider answers and never fails, for each kind of provider."""
    it: Changing = request.param(tmp_path, 1, ("answered",))
    it.provider.unanswered_share = 0.0
    return it


def test_an_answer_finds_the_store_before_the_sending(world: Changing) -> None:
    """The row is leased to this same process under an earlier token: the answer is recorded, nothing is sent again."""
    copies: list[Path] = []

    def cut(_order: Order) -> str:
        if copies and not world.provider.sendings.total():
            world.put_back(copies[0])
        return "answered"

    world.provider.fate = cut
    (key,) = world.send(customers=1)
    world.until(world.is_leased)
    copies.append(world.keep())
    world.run(1.0)  # before a beat or a lookup can take part
    assert world.statuses() == {key: Status.COMPLETED}
    world.run(2 * BEAT_MAX_S)
    assert world.statuses() == {key: Status.COMPLETED}
    assert world.real.work_counts() == {}
    assert world.provider.sendings[key] == 1
    world.crash()
    world.finish()
    assert world.provider.effects() == {key: 1}


def test_work_without_a_worker_is_looked_up(world: Changing) -> None:
    """A lease of this process that came back with the earlier state is soon given back as sent."""
    (key,) = world.send(customers=1)
    world.until(world.is_leased)
    copy = world.keep()
    world.run(1.0)
    assert world.statuses() == {key: Status.COMPLETED}
    world.put_back(copy)
    assert world.is_leased()
    world.run(2 * BEAT_MAX_S)
    assert not world.is_leased()
    world.finish()
    assert world.statuses() == {key: Status.COMPLETED}
    assert world.provider.effects() == {key: 1}
    assert world.real.feed().generation == 1


def test_what_is_queued_in_the_earlier_state_was_sent_since(world: Changing) -> None:
    """A transaction that was not taken up yet is not sent again without a lookup, by this process or the next."""
    world.system.drain()
    world.run(0.1)
    (key,) = world.send(customers=1)
    world.run(0.1)
    copy = world.keep()
    world.crash()
    world.run(2 * BEAT_MAX_S)
    assert world.statuses() == {key: Status.COMPLETED}
    world.put_back(copy)
    world.run(2 * BEAT_MAX_S)
    world.crash()
    world.finish()
    assert world.statuses() == {key: Status.COMPLETED}
    assert world.provider.effects() == {key: 1}


def test_an_answer_about_what_is_not_on_record_any_more(world: Changing) -> None:
    """It is reviewed once, with all that the provider reported, and no work is left."""
    copy = world.keep()

    def cut(_order: Order) -> str:
        world.put_back(copy)
        return "answered"

    world.provider.fate = cut
    (key,) = world.send(customers=1)
    world.run(2 * BEAT_MAX_S)
    assert world.statuses() == {}
    (review,) = world.reviews()
    assert review.transaction_id == key
    assert "not on record" in review.reason
    assert "1.00 USD" in review.reason
    assert "B-0" in review.reason
    assert review.said is not None
    assert (review.said.gateway, review.said.reference, review.said.status) == ("gatewayA", key, "completed")
    assert review.said.gateway_reference == "B-0"
    assert world.real.work_counts() == {}
    assert world.provider.sendings[key] == 1
    world.provider.fate = answered
    (other,) = world.send(customers=1)  # the same customer sends again
    world.finish()
    assert world.statuses() == {other: Status.COMPLETED}
    assert not world.facade.problems()


def test_what_waits_for_a_slot_and_is_not_on_record_any_more(world: Changing) -> None:
    """No provider is sent what is not on record, once the process has found that the store is earlier."""
    copy = world.keep()
    world.system.actors.bulkheads["gatewayA"].breaker.force("open")
    world.send(3, customers=1)
    world.run(0.5)
    world.put_back(copy)
    world.run(2 * BEAT_MAX_S)
    world.system.actors.bulkheads["gatewayA"].breaker.force("auto")
    (key,) = world.send(customers=1)  # the load for it covers all that waits
    world.run(20.0)
    assert set(world.provider.sendings) == {key}
    assert world.real.work_counts() == {}
    assert not world.facade.problems()


def test_a_client_finds_the_earlier_state(world: Changing) -> None:
    """The customer's actor continues from the record, and not from its state in memory."""
    copy = world.keep()
    world.send(2, customers=1)
    world.run(1.0)
    world.put_back(copy)
    (key,) = world.send(customers=1)
    world.finish()
    assert world.statuses() == {key: Status.COMPLETED}
    assert [recorded.version for recorded in world.events()] == [*range(1, len(world.events()) + 1)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", [Changing, Keyed])
def test_at_any_moment(tmp_path: Path, seed: int, kind: type[Changing]) -> None:
    """Restored at any moment, under a running process or before the next one: no transaction on record pays twice.

    Only the provider has a record of later sendings. Nothing stays unfinished, and each transaction on record
    ends as the provider has it.
    """
    world = kind(tmp_path, seed)
    chance = world.chance
    for _ in range(3):
        world.run(BEAT_MAX_S)
        world.runtime.advance(STRAGGLERS_S + 1.0)  # no later event belongs to an earlier generation
        world.send(chance.randint(1, 3))
        world.steps(chance.randint(0, 60))
        copy = world.keep()
        world.steps(chance.randint(0, 80))
        if chance.random() < 0.5:
            world.send(chance.randint(1, 2))
            world.steps(chance.randint(0, 80))
        if chance.random() < 0.3:
            world.put_back(copy)
            known = max(world.real.feed().generation, world.system.actors.generations.generation)
            world.real.begin_generation(known)  # as a new connection to a promoted server does
        elif chance.random() < 0.5:
            world.put_back(copy)
            world.run(BEAT_MAX_S)
        else:
            world.put_back(copy)
            world.real.begin_generation(world.real.feed().generation)  # manage.py restored
            world.crash(chance.choice([1.0, 100.0]))
    world.finish()
    statuses, moved = world.statuses(), world.provider.effects()
    twice = {key: count for key, count in moved.items() if count > 1 and key in statuses}
    assert twice == {}
    assert world.real.work_counts() == {}
    assert set(statuses.values()) <= {Status.COMPLETED, Status.FAILED}
    completed = {key for key, status in statuses.items() if status is Status.COMPLETED}
    assert completed == {key for key in moved if key in statuses}


def test_a_breaker_that_is_not_on_record_any_more(world: Changing) -> None:
    """Its record was lost with the last commits: the next generation begins only once."""
    copy = world.keep()
    world.provider.fate = lambda _order: "refused"
    world.send(8)
    world.until(lambda: "gatewayA" in world.real.breakers())
    world.run(2 * BEAT_MAX_S)
    world.put_back(copy)
    world.provider.fate = answered
    world.run(10 * STRAGGLERS_S)
    assert world.real.feed().generation == 1


def test_a_breaker_that_is_open_stays_open(world: Changing) -> None:
    """In a new generation no call goes to a gateway whose breaker is open, on record and in the process."""
    world.provider.fate = lambda _order: "refused"
    world.send(8)
    world.until(lambda: "gatewayA" in world.real.breakers())
    world.run(1.0)
    called: list[str] = []
    world.provider.watch = lambda order: called.append(order.transaction_id)
    world.real.begin_generation(0)
    while world.real.breakers()["gatewayA"].age_s < 9.0:
        world.send()
        world.run(0.1)
        assert world.real.breakers()["gatewayA"].state == "open"
        assert called == []
    assert world.system.actors.generations.generation == 1


def test_what_is_stored_while_a_generation_begins() -> None:
    """A write of the previous generation may be lost with it, so it is no mark in the new generation."""

    class Old(int):
        def __ne__(self, other: object) -> bool:
            differs = int(self) != other
            generations.adopt(1)
            return differs

        __hash__ = int.__hash__

    generations = Generations(lambda: 0.0)
    generations.committed(Customer().deposit("t1"), Old(0))
    assert generations.generation == 1
    assert generations._newest == {}
