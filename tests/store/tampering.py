"""A small sound database, and changes to it that bypass the service."""

from __future__ import annotations

from pathlib import Path

import apsw

from domain.events import Kind, Processed, ReviewClosed, ReviewOpened
from store.port import Committed, Store, StreamKey
from store.sqlite.adapter import SqliteStore
from store.verify import Problem, Tally, export_heads, verify
from tests.store.builders import OWNER, Clock, Customer, Step, complete, deposit, received
from tests.store.templates import new_sqlite

A, B = StreamKey("main", "a"), StreamKey("main", "b")


def fill(path: Path) -> None:
    """Make a database with two customers that have rows of every kind."""
    new_sqlite(path)
    store = SqliteStore(path, clock=Clock())
    append(store)
    store.close()


def append(store: Store) -> None:
    """Store these two customers. No owner has work afterwards."""
    store.register_owner(OWNER)
    a, b = Customer("a"), Customer("b")
    writes = [
        a.write(deposit("a1")),
        a.write(complete("a1")),
        a.write(deposit("a2"), Step((Processed(Kind.DEPOSIT, "a2", "A-7"),))),
        b.write(deposit("b1", owner=OWNER)),
        b.fail("b1"),
        b.write(deposit("b2"), Step((ReviewOpened("b-r1", "b2", "odd"), ReviewOpened("b-r2", None, "odder")))),
        b.write(Step((ReviewClosed("b-r1", "looked"),))),
        b.write(Step((received("b3", 5, "EUR"),)), complete("b3")),
        b.write(Step((received("b4", 4, "EUR", kind=Kind.WITHDRAWAL, reserved=True),))),
        b.write(complete("b4", Kind.WITHDRAWAL)),
    ]
    assert store.append(writes) == [Committed()] * len(writes)
    store.retire_owner(OWNER, unsent=True)


def problems(path: Path, heads: list[str] | None = None, tally: Tally | None = None) -> list[Problem]:
    """All problems that verify finds."""
    store = SqliteStore(path, clock=Clock())
    try:
        with store.audit() as audit:
            return list(verify(audit, heads or [], tally))
    finally:
        store.close()


def heads_of(path: Path) -> list[str]:
    """The exported heads."""
    store = SqliteStore(path, clock=Clock())
    try:
        with store.audit() as audit:
            return list(export_heads(audit))
    finally:
        store.close()


_EDITABLE_BALANCES = """
CREATE TEMP TRIGGER update_balances INSTEAD OF UPDATE ON balances
BEGIN
    UPDATE heads
    SET balances = json_remove(balances, '$.' || OLD.currency)
    WHERE stream_name = OLD.stream_name AND stream_id = OLD.stream_id;
    INSERT INTO heads (stream_name, stream_id, version, hash, balances)
    VALUES (
        NEW.stream_name, NEW.stream_id, 0, zeroblob(32),
        json_object(NEW.currency, json_array(NEW.available_minor, NEW.reserved_minor))
    )
    ON CONFLICT (stream_name, stream_id) DO UPDATE SET balances = json_patch(balances, excluded.balances);
END;
CREATE TEMP TRIGGER delete_balances INSTEAD OF DELETE ON balances
BEGIN
    UPDATE heads
    SET balances = json_remove(balances, '$.' || OLD.currency)
    WHERE stream_name = OLD.stream_name AND stream_id = OLD.stream_id;
END;
"""
"""Balances are a view on SQLite. So the edits of the tests are the same on both stores."""


def tamper(path: Path, *statements: str) -> None:
    """Change rows as a shell on the file could: without triggers and checks."""
    connection = apsw.Connection(str(path))
    connection.pragma("ignore_check_constraints", 1)
    connection.execute(_EDITABLE_BALANCES)
    kept = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in kept:
        connection.execute(f"DROP TRIGGER {name}")
    before = connection.total_changes()
    for statement in statements:
        connection.execute(statement)
    assert connection.total_changes() > before, "the edit must have changed a row"
    for _, sql in kept:
        connection.execute(str(sql))
    connection.close()
