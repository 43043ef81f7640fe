"""The relay waits for a position that may still be committed, and then publishes in order."""

from __future__ import annotations

from store.postgresql.adapter import PostgresqlStore
from tests.messaging.relaying import Scenario
from tests.store.builders import Customer
from tests.store.postgresql_server import Schema
from tests.store.test_postgresql_order import append, slow


def test_a_late_commit_is_not_skipped(schema: Schema, shared_store: PostgresqlStore) -> None:
    """Events after the open transaction are published after it, also when the checkpoint was right before it."""
    scenario = Scenario(shared_store, schema.pass_time)
    scenario.fill(1)
    relay = scenario.relay()
    scenario.drain(relay)
    with slow(schema) as late:
        append(late, Customer("late").deposit("t-late"))
        scenario.fill(2)
        for _ in range(5):
            scenario.wait(relay.step())
        assert len(scenario.broker.delivered) == 3
        assert relay.state.backlog > 0
        late.commit()
    scenario.drain(relay)
    scenario.check()
    assert [message.stream.id for message in scenario.broker.delivered[3:4]] == ["late"]


def test_a_transaction_that_rolls_back_is_not_awaited(schema: Schema, shared_store: PostgresqlStore) -> None:
    """Its position stays unused."""
    scenario = Scenario(shared_store, schema.pass_time)
    relay = scenario.relay()
    with slow(schema) as given_up:
        append(given_up, Customer("given up").deposit("t-0"))
        scenario.fill(2)
        relay.step()
        assert scenario.broker.delivered == []
        given_up.rollback()
    scenario.drain(relay)
    scenario.check()
    assert len(scenario.broker.delivered) == 6
