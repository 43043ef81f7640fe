"""Sessions on which nothing can be written are not kept. The store is available again as soon as it can write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from store.errors import CommitUncertainError, StoreError, StoreUnavailableError
from store.port import Committed, Head, StreamKey
from store.postgresql.adapter import PostgresqlStore
from store.postgresql.sessions import Session, connection_settings
from tests.postgresql.embedded import EmbeddedServer, embedded_server
from tests.store.builders import Customer
from tests.store.replicas import Replicated, until

COMMITTED = Committed()
SERVES_AGAIN_S = 5.0


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    """A server whose settings the test may change."""
    with embedded_server(durable=False) as server:
        yield server


@pytest.fixture
def url(server: EmbeddedServer) -> str:
    """A migrated database."""
    return Replicated(server, "read_only").new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresqlStore]:
    """A store with open connections."""
    store = PostgresqlStore(url, writers=2, readers=2)
    store.ping()
    yield store
    store.close()


def _on(url: str, statement: str) -> None:
    name = sql.Identifier(url.rpartition("/")[2])
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as admin:
        admin.execute(sql.SQL(statement).format(name))


def _works(store: PostgresqlStore, customer: Customer) -> bool:
    """Whether the store accepts a write and reads it."""
    write = customer.twin().deposit("again")
    with suppress(StoreError):
        return store.append([write]) == [COMMITTED] and store.load(customer.stream).head != Head()
    return False


BEGIN_AND_END: dict[str, tuple[str, str]] = {
    "database": (
        "ALTER DATABASE {0} SET default_transaction_read_only = on",
        "ALTER DATABASE {0} RESET default_transaction_read_only",
    ),
    "role": (
        "ALTER ROLE postgres IN DATABASE {0} SET default_transaction_read_only = on",
        "ALTER ROLE postgres IN DATABASE {0} RESET default_transaction_read_only",
    ),
}


@pytest.mark.parametrize("which", BEGIN_AND_END)
def test_sessions_with_a_read_only_default_are_not_kept(store: PostgresqlStore, url: str, which: str) -> None:
    """While the default applies, new sessions serve nothing.

    Afterwards the same store continues, for reads and writes.
    """
    begin, end = BEGIN_AND_END[which]
    _on(url, begin)
    _on(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'payments' AND datname = current_database()",
    )
    # the connection was cut before the call or during it
    with pytest.raises((StoreUnavailableError, CommitUncertainError)):
        store.append([Customer().deposit("t1")])
    for attempt in (lambda: store.append([Customer().deposit("t1")]), lambda: store.load(Customer().stream)):
        with pytest.raises(StoreUnavailableError):
            attempt()
    _on(url, end)
    until(lambda: _works(store, Customer("b")), SERVES_AGAIN_S)


CALLS: dict[str, Callable[[PostgresqlStore], object]] = {
    "append": lambda store: store.append([Customer().deposit("t1")]),
    "load": lambda store: store.load(StreamKey("main", "x")),
    "ping": lambda store: store.ping(),
    "register_owner": lambda store: store.register_owner("o"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_turns_read_only_loses_its_sessions(
    store: PostgresqlStore, server: EmbeddedServer, call: str
) -> None:
    """Readers lose them as well: their data may be outdated, and no refusal may rest on them.

    The server reports the change.
    """
    server.set("default_transaction_read_only", "on")
    try:
        until(lambda: _fails(store, call), SERVES_AGAIN_S)
    finally:
        with psycopg.connect(server.url(), autocommit=True, options="-c default_transaction_read_only=off") as admin:
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")
    until(lambda: _works(store, Customer("b")), SERVES_AGAIN_S)


def _fails(store: PostgresqlStore, call: str) -> bool:
    try:
        CALLS[call](store)
    except (StoreUnavailableError, CommitUncertainError):  # uncertain: an append whose repetition finds no session
        return True
    return False


def test_a_refused_write_leads_to_a_check_of_all_idle_sessions(store: PostgresqlStore) -> None:
    """SQLSTATE 25006 shows that the server does not write any more. Readers that cannot write are replaced as well."""
    reader = store._reading.pool._pool[0]
    reader.pgconn.exec_(b"SET default_transaction_read_only = on")  # bypasses the check of answers

    def refused(session: Session) -> None:
        session.execute("BEGIN READ ONLY; DELETE FROM owners")

    with pytest.raises(StoreUnavailableError):
        store._writer.change(refused, repeatable=False)
    until(lambda: all(one is not reader for one in store._reading.pool._pool))
    assert reader.closed
    until(lambda: _works(store, Customer("b")), SERVES_AGAIN_S)


@pytest.fixture(scope="module")
def standby(server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A standby that follows the server."""
    with embedded_server(durable=False, primary=server) as standby:
        yield standby


def _both(server: EmbeddedServer, standby: EmbeddedServer, url: str, more: str = "") -> str:
    """Both hosts, the standby first."""
    return f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{server.port}/{url.rpartition('/')[2]}{more}"


def _is_open(url: str) -> bool:
    """Whether a database accepts connections; on a standby that takes until its creation is replicated."""
    with suppress(psycopg.OperationalError), psycopg.connect(url):
        return True
    return False


def test_the_host_that_writes_is_used(server: EmbeddedServer, url: str, standby: EmbeddedServer) -> None:
    """Reads use it as well: a standby could return 404 for a transaction that was just acknowledged."""
    until(lambda: _is_open(standby.url(url.rpartition("/")[2])))
    store = PostgresqlStore(_both(server, standby, url), writers=1, readers=1)
    try:
        customer = Customer()
        assert store.append([customer.deposit("t1")]) == [COMMITTED]
        assert store.load(customer.stream).head == customer.head
    finally:
        store.close()


@pytest.mark.parametrize("more", ["", "?target_session_attrs=any", "?target_session_attrs=standby"])
def test_a_standby_is_refused(server: EmbeddedServer, url: str, standby: EmbeddedServer, more: str) -> None:
    """A standby is refused even where the URL lets libpq connect to one."""
    with pytest.raises(StoreUnavailableError):
        PostgresqlStore(standby.url(url.rpartition("/")[2]) + more)


def test_the_url_may_name_other_attributes() -> None:
    """An operator's own attributes are kept. The default is a session that can write."""
    assert connection_settings("postgresql://h/d")["target_session_attrs"] == "read-write"
    assert connection_settings("postgresql://h/d?target_session_attrs=primary")["target_session_attrs"] == "primary"
