"""Opens connections, and shares them between callers. It applies settings of the server and names no tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple, Self, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from store.errors import StoreError
from store.postgresql.failures import UnreplicatedError, is_lost, translated
from store.postgresql.session_settings import ENCODING, apply_settings, refuse_unsuitable

T = TypeVar("T")

WAIT_S: Final = 2.0
"""The time limit of a caller for a free connection, and of a connection attempt for the server."""
STATEMENT_TIMEOUT_MS: Final = 5_000
ANSWER_WITHIN_S: Final = 6.5
"""Longer than the server's own limit for a statement, so that the server reports it first."""
LOCK_TIMEOUT_MS: Final = 2_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 5_000
"""An abandoned transaction would stop the readers of all events. The service leaves none open."""

_AUDIT_TIMEOUT_MS: Final = 600_000
_BY_KEY: Final = dict.fromkeys(
    ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit"), "off"
) | dict.fromkeys(("enable_indexscan", "enable_indexonlyscan", "enable_nestloop"), "on")
"""Plan types that the server's planner must avoid or use. All queries find rows by key, in the order of the key. A plan
that is made while the tables are small would read and sort whole tables, and stay in use until they are analysed."""
_READ_ONLY: Final = "the server only reads: it is a standby, or default_transaction_read_only is on"


class Backend(NamedTuple):
    """The server's process behind a connection. Process ids are reused, but not with the same time of start."""

    pid: int
    started_at: datetime


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection with pinned settings that can write, and that reports commits that may not be replicated.

    It has the server's process at its other end, and a time limit of its own: the server's limits have no effect when
    the server accepts data and never answers.
    """

    backend: Backend
    limit_s: float | None = None
    _not_awaited: str | None = None
    """The server's message that it stopped waiting for a replica."""

    @classmethod
    def connect(cls, conninfo: str = "", *, autocommit: bool = False, **settings: Any) -> Self:  # noqa: ANN401  # libpq's
        """Connect. Raises SchemaError for a server or database that no setting can make suitable."""
        session = super().connect(conninfo, autocommit=True, **settings)
        try:
            session.introduce(str(settings.get("options") or ""))
            session.autocommit = autocommit
        except BaseException:
            session.close()
            raise
        return session

    def introduce(self, options: str) -> None:
        """Pin the settings, and read the server's process; ``options`` are those of the connection."""
        refuse_unsuitable(self.info.server_version, self.info.parameter_status("server_encoding") or "unknown")
        self.add_notice_handler(self._noticed)
        apply_settings(self, options)
        row = self.execute("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
        assert row is not None
        self.backend = Backend(*row)

    def _noticed(self, said: errors.Diagnostic) -> None:
        # By the name of the server's function, because the message is in the server's language.
        text = said.message_primary or ""
        if said.source_function == "SyncRepWaitForLSN" or "synchronous replication" in text:
            self._not_awaited = text

    @property
    def reads_only(self) -> bool:
        """Whether the server has reported that this session cannot write."""
        status = self.pgconn.parameter_status  # from what libpq has received, without a query
        return b"on" in (status(b"in_hot_standby"), status(b"default_transaction_read_only"))

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for the server. A connection that takes longer than ``limit_s`` is closed and counts as cut.

        A session that cannot write is closed as well, because a standby may return outdated data. Raises
        UnreplicatedError for a commit that did not wait for its replicas.
        """
        self._not_awaited = None
        try:
            answer = super().wait(gen, interval, self.limit_s if timeout is None else timeout)
        except errors._WaitTimeout as error:  # noqa: SLF001  # the only name that psycopg has for it
            if timeout is None:
                self.close()
                raise psycopg.OperationalError("the server does not answer") from error
            raise
        except errors.ReadOnlySqlTransaction:
            self.close()
            raise
        if self._not_awaited is not None:
            raise UnreplicatedError(self._not_awaited)
        if not self.closed and self.reads_only:
            self.close()
            raise psycopg.OperationalError(_READ_ONLY)
        return answer


def connection_settings(
    url: str,
    *,
    statement_ms: int = STATEMENT_TIMEOUT_MS,
    lock_ms: int = LOCK_TIMEOUT_MS,
    idle_ms: int = IDLE_IN_TRANSACTION_TIMEOUT_MS,
    by_key: bool = True,
) -> dict[str, Any]:
    """Return the parameters of a connection. Options in ``url`` come last and win. Raises StoreError for a bad URL."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:  # its text quotes the URL with the password
        raise StoreError("the database URL cannot be read as one of PostgreSQL's") from None
    server = {
        "statement_timeout": statement_ms,
        "lock_timeout": lock_ms,
        "idle_in_transaction_session_timeout": idle_ms,
        "idle_session_timeout": 0,
        "synchronous_commit": "on",  # an acknowledged write is durable, independent of the server's default
    } | (_BY_KEY if by_key else {})
    options = " ".join(f"-c {name}={value}" for name, value in server.items())
    mine = {
        "application_name": "payments",
        "connect_timeout": round(WAIT_S),
        "target_session_attrs": "read-write",
        # Detects within seconds a server that vanished without closing the connection.
        "tcp_user_timeout": STATEMENT_TIMEOUT_MS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    options = f"{options} {given.get('options') or ''}".strip()
    return mine | given | {"client_encoding": ENCODING, "options": options}


def audit_settings(url: str) -> dict[str, Any]:
    """Return the parameters for one long transaction that only reads."""
    return connection_settings(url, statement_ms=_AUDIT_TIMEOUT_MS, idle_ms=_AUDIT_TIMEOUT_MS, by_key=False)


class Sessions:
    """At most ``size`` connections, opened when first needed, each used by one caller at a time.

    Autocommit: every statement is a transaction and a snapshot of its own. ``on_connect`` runs first on each
    connection; a connection for which it raises is not used.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        *,
        name: str,
        size: int,
        on_connect: Callable[[Session], None] = lambda _: None,
    ) -> None:
        def configure(session: Session) -> None:
            session.limit_s = ANSWER_WITHIN_S
            on_connect(session)

        self.same_server: Sequence[Sessions] = ()
        """The other pools of connections to the same server."""
        self.pool: Final = _Pool(
            kwargs=settings | {"autocommit": True},
            connection_class=Session,
            configure=configure,
            min_size=1,
            max_size=size,
            timeout=WAIT_S,
            reconnect_timeout=WAIT_S,
            name=name,
            open=True,
        )

    def wait(self) -> None:
        """Wait for the first connection. Without one in time, closes the pool and raises StoreUnavailableError."""
        try:
            self.pool.wait(WAIT_S)
        except psycopg.Error as error:
            raise translated(error) from error

    def read(self, job: Callable[[Session], T]) -> T:
        """Run ``job``; run it again when its connection was cut, for example while it was idle.

        Raises StoreUnavailableError and the other errors of the store.
        """
        for again in (True, False):
            session: Session | None = None
            try:
                with self.pool.connection() as session:
                    return job(session)
            except psycopg.Error as error:
                if not (again and session is not None and is_lost(session, error)):
                    raise translated(error) from error
                self.replace_lost()
        raise AssertionError("the second run returns or raises")

    def replace_lost(self) -> None:
        """Check the idle connections now, because others may be cut as well."""
        with suppress(psycopg.Error):  # the pool is closed: the next call reports it
            self.pool.check()

    def replace_read_only(self) -> None:
        """Check all idle connections, those of ``same_server`` included, after one turned out to be unable to write."""
        for sessions in (self, *self.same_server):
            sessions.replace_lost()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are returned."""
        self.pool.close()


class _Pool(ConnectionPool[Session]):
    """A pool whose check also requires that the session can write."""

    @staticmethod
    def check_connection(conn: Session) -> None:
        """Raises, and closes the connection, when nothing can be written on it."""
        row = conn.execute("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean").fetchone()
        if row != (False,):
            conn.close()
            raise psycopg.OperationalError(_READ_ONLY)
