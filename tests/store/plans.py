"""Run a read of an adapter and report how the database did it: the plan, the amount read, and the duration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import psycopg

from store.postgresql.sessions import Session, connection_settings
from store.sqlite.connection import open_reader

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """The result of one read.

    ``read`` is rows of tables and indexes on PostgreSQL, and steps of its machine on SQLite.
    """

    result: Sequence[Any]
    plan: Sequence[str]
    """The lines of the plan that state how each table is read."""
    read: int
    pages: int
    """The pages that PostgreSQL reads, repeated reads and those of functions included; 0 on SQLite."""
    median_ms: float


def timed(job: Callable[[], T], rounds: int) -> tuple[T, float]:
    """The answer of ``job``, and the median of its durations in milliseconds."""
    results, took = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        results.append(job())
        took.append(time.perf_counter() - began)
    return results[-1], sorted(took)[rounds // 2] * 1000


class SqliteReader:
    """A reading connection whose statements are recorded."""

    def __init__(self, path: Path) -> None:
        self.connection: Final = open_reader(path)

    def read(self, job: Callable[[apsw.Cursor], Sequence[Any]], rounds: int = 1) -> Reading:
        """Run ``job`` on a cursor."""
        statements: dict[str, int] = {}

        def note(event: dict[str, Any]) -> None:
            steps = event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]
            statements[event["sql"]] = statements.get(event["sql"], 0) + steps

        result, median_ms = timed(lambda: job(self.connection.cursor()), rounds)
        self.connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
        job(self.connection.cursor())
        self.connection.trace_v2(0, None)
        plan = [line for sql in statements for line in self._plan(sql)]
        return Reading(result, plan, sum(statements.values()), 0, median_ms)

    def _plan(self, sql: str) -> list[str]:
        nothing = (None,) * 13  # the plan does not depend on the values: see _open of store/sqlite/connection.py
        count = max((number for number in range(1, 14) if f"?{number}" in sql), default=0)
        return [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", nothing[:count])]

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class _Spy(Session):
    """Keeps the last statement and its values."""

    last: tuple[Any, Any]

    def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
        """See Session."""
        self.last = (query, params)
        return super().execute(query, params, **more)


class PostgresqlReader:
    """The same for PostgreSQL, with the settings of the adapter's connections and the plan of a prepared statement."""

    def __init__(self, url: str) -> None:
        self.session: Final = _Spy.connect(**connection_settings(url), autocommit=True)
        # the plan that a service uses after five executions
        self.session.execute("SET plan_cache_mode = force_generic_plan")
        self._planner = psycopg.ClientCursor(self.session)

    def read(self, job: Callable[[Session], Sequence[Any]], rounds: int = 1) -> Reading:
        """Run ``job`` on a connection."""
        result, median_ms = timed(lambda: job(self.session), rounds)
        statement, values = self.session.last
        plan = self._explained(statement, values)
        lines = list(self._scans(plan))
        pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return Reading(result, [line for line, _ in lines], sum(read for _, read in lines), pages, median_ms)

    def _explained(self, statement: str, values: Any) -> Mapping[str, Any]:
        """The plan of the prepared statement. The values are given in order, or by name."""
        if isinstance(values, Mapping):
            named = [name for name in values if f"%({name})s" in statement]
            for number, name in enumerate(named, 1):
                statement = statement.replace(f"%({name})s", f"${number}")
            values = [values[name] for name in named]
        for number in range(1, len(values) + 1):
            statement = statement.replace("%s", f"${number}", 1)
        self.session.execute(f"PREPARE looked_at AS {statement}")
        try:
            execute = f"EXECUTE looked_at ({', '.join(['%s'] * len(values))})" if values else "EXECUTE looked_at"
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {self._planner.mogrify(execute, values)}"
            row = self.session.execute(explain).fetchone()
        finally:
            self.session.execute("DEALLOCATE looked_at")
        assert row is not None
        plan: Mapping[str, Any] = row[0][0]["Plan"]
        return plan

    def _scans(self, node: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
        if "Relation Name" in node or "Index Name" in node:
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            line = " ".join(str(node[key]) for key in ("Node Type", "Relation Name", "Index Name") if key in node)
            yield line, round((node["Actual Rows"] + removed) * node["Actual Loops"])
        for child in node.get("Plans", ()):
            yield from self._scans(child)

    def close(self) -> None:
        """Close the connection."""
        self.session.close()
