"""Processes of an earlier version on PostgreSQL: they cannot register once there is something that they cannot read."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from domain.events import Kind
from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from tests.store.builders import Customer, Step, child, complete, deposit, hold
from tests.store.postgresql_server import new_schema

REGISTER = "INSERT INTO owners (owner, heartbeat_at) VALUES ('owner-of-an-earlier-version', now())"
"""What a process of an earlier version does at its start, and after it lost its registration."""


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([deposit("d"), complete("d")], False),
        ([deposit("d"), complete("d"), child(Kind.REFUND, "r", "d", 100)], True),
        ([hold("d")], True),
    ],
)
def test_a_process_of_an_earlier_version_registers_only_where_it_can_read_everything(
    postgresql_url: str, steps: Sequence[Step], *, refused: bool
) -> None:
    """It may have been frozen until others took over its work, and would then claim refunds, captures and voids."""
    with new_schema(postgresql_url) as schema:
        schema.make_tables()
        store = PostgresqlStore(schema.conninfo())
        customer = Customer()
        for step in steps:
            assert store.append([customer.write(step)]) == [Committed()]
        if refused:
            with pytest.raises(psycopg.errors.RaiseException, match="cannot read"):
                schema.execute(REGISTER)
        else:
            schema.execute(REGISTER)
            assert store.vocabulary_floor() == 1
        store.register_owner("owner-of-this-version")
        assert store.heartbeat("owner-of-this-version")
        store.close()
