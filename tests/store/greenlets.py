"""A store on PostgreSQL under gevent, for its test: ``python -m tests.store.greenlets <service> <owner>`` (conninfos).

It patches before any other import, as gunicorn's worker does. It prints "done" when all checks hold.
"""

# ruff: noqa: E402 - what is imported must find everything patched
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys

import gevent
import psycopg

from store.port import Committed
from store.postgresql.adapter import PostgresqlStore
from tests.store.builders import OWNER, Customer

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'payments'"


def main(service: str, owner: str) -> None:
    """A write that waits for a lock delays no other write or read, nor the process that holds the lock."""
    store = PostgresqlStore(service, writers=2)
    store.register_owner(OWNER)
    customer = Customer()
    assert store.append([customer.deposit("t1")]) == [Committed()]
    with psycopg.connect(owner, autocommit=True) as watch, psycopg.connect(owner) as holder:
        holder.execute("SELECT 1 FROM heads FOR UPDATE")
        waits = gevent.spawn(store.append, [customer.deposit("t2")])
        while watch.execute(WAITING).fetchone() == (0,):
            assert not waits.ready()
        reads = [gevent.spawn(store.load, customer.stream) for _ in range(50)]
        writes = [gevent.spawn(store.append, [Customer(f"c{n}").deposit(f"c{n}")]) for n in range(50)]
        assert [one.get().head.version for one in reads] == [1] * 50
        assert [one.get() for one in writes] == [[Committed()]] * 50
        assert not waits.ready()
        holder.rollback()
        assert waits.get() == [Committed()]
    store.close()
    print("done")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
