"""The append of the store port on PostgreSQL, one round trip for a batch: an experiment, not the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg

from store.errors import UnstorableError
from store.numbering import numbered_events
from store.port import (
    AppendResult,
    Claim,
    CloseWork,
    Committed,
    Conflict,
    Doubt,
    Duplicate,
    Fenced,
    Head,
    OpenWork,
    StoredEvent,
    StreamKey,
    WorkChange,
    Write,
)
from store.sqlite.rows import errors_text, to_us, transaction_row

SCHEMA = Path(__file__).with_name("postgresql_experiment.sql")
COLUMNS = (
    "transaction_id",
    "stream_name",
    "stream_id",
    "kind",
    "gateway",
    "amount_minor",
    "currency",
    "details",
    "status",
    "reserved",
    "submissions",
    "gateway_reference",
    "failure_code",
    "failure_category",
    "failure_message",
    "version",
    "created_at",
    "updated_at",
)
CLEAR = """
DELETE FROM heads; DELETE FROM events; DELETE FROM transactions; DELETE FROM balances; DELETE FROM reviews;
DELETE FROM claims; DELETE FROM owners; DELETE FROM work;
"""
APPEND = """
SELECT * FROM append_batch(
    %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bytea[],
    %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[], %s::bytea[],
    %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bytea[],
    %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],
    %s::jsonb, %s::jsonb, %s::jsonb,
    %s::bigint[], %s::text[], %s::jsonb[], %s::bytea[]
)
"""


@dataclass
class Columns:
    """Rows turned into one list per column, which is how arrays travel."""

    width: int
    lists: list[list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.lists = [[] for _ in range(self.width)]

    def add(self, *values: object) -> None:
        """Add a row."""
        for column, value in zip(self.lists, values, strict=True):
            column.append(value)


def arguments(writes: Sequence[Write]) -> list[Any]:
    """The arguments of ``append_batch``: nothing but what the writes hold, and their waves."""
    rows, events, claims, fences, work = Columns(5), Columns(6), Columns(5), Columns(4), Columns(4)
    transactions, balances, reviews = [], [], []
    last_wave: dict[object, int] = {}
    for number, write in enumerate(writes, start=1):
        shared: list[object] = [write.stream]
        has_events = False
        for event in numbered_events(write):
            has_events = True
            events.add(number, event.version, event.event_id, event.type, event.body, event.hash)
        for part_number, part in enumerate(write.parts):
            for claim in part.claims:
                claims.add(number, part_number, claim.scope, claim.key, claim.value)
                shared.append((claim.scope, claim.key))
            if part.fence is not None:
                fences.add(number, part_number, part.fence.work_id, part.fence.token)
                shared.append(("work", part.fence.work_id, ""))
            for change in part.work:
                payload = change.payload if isinstance(change, OpenWork) else None
                work.add(number, change.work_id, orjson.dumps(_change(change)).decode(), payload)
                shared.append(("work", change.work_id, ""))
        wave = 1 + max(last_wave.get(thing, 0) for thing in shared)
        last_wave.update(dict.fromkeys(shared, wave))
        rows.add(wave, *write.stream, write.head.version if has_events else -1, write.head.hash)
        for transaction in write.transactions:
            values = dict(zip(COLUMNS, transaction_row(write.stream, transaction), strict=True))
            transactions.append({**values, "reserved": int(transaction.reserved), "write": number})
        stream = {"write": number, "stream_name": write.stream.name, "stream_id": write.stream.id}
        balances += [
            {**stream, "currency": currency, "available_minor": one.available, "reserved_minor": one.reserved}
            for currency, one in write.balances
        ]
        reviews += [
            {
                **stream,
                "review_id": one.review_id,
                "transaction_id": one.transaction_id,
                "reason": one.reason,
                "state": one.state,
                "opened_at": to_us(one.opened_at),
                "closed_at": None if one.closed_at is None else to_us(one.closed_at),
            }
            for one in write.reviews
        ]
    documents = [orjson.dumps(some).decode() for some in (transactions, balances, reviews)]
    return [*rows.lists, *events.lists, *claims.lists, *fences.lists, *documents, *work.lists]


def _change(change: WorkChange) -> dict[str, object]:
    if isinstance(change, CloseWork):
        return {"kind": "close"}
    if isinstance(change, OpenWork):
        return {
            "kind": "open",
            "transaction_id": change.transaction_id,
            "gateway": change.gateway,
            "action": change.action,
            "event_type": change.event_type,
            "owner": change.owner,
        }
    return {
        "kind": "move",
        "action": change.action,
        "state": change.state,
        "delay_s": change.delay_s,
        "attempts": change.attempts,
        "errors": orjson.loads(errors_text(change.errors)),
        "doubt": int(change.doubt),
    }


class PostgresqlExperiment:
    """As much of a store as the experiment needs, in a schema of its own."""

    def __init__(self, url: str, schema: str, *, durable: bool = True) -> None:
        options = f"-c search_path={schema} -c synchronous_commit={'on' if durable else 'off'}"
        self.connection = psycopg.connect(url, autocommit=True, options=options, connect_timeout=2)
        self.round_trips = 0

    def create(self) -> None:
        """Make tables and functions."""
        self.connection.execute(SCHEMA.read_bytes())

    def append(self, writes: Sequence[Write]) -> list[AppendResult]:
        """One statement, which is its own transaction: one round trip, answered when it is durable."""
        self.round_trips += 1
        try:
            rows = self.connection.execute(APPEND, arguments(writes), prepare=True, binary=True).fetchall()
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError) as error:
            raise UnstorableError(str(error)) from error
        answers: list[AppendResult] = []
        missed: dict[int, list[StoredEvent]] = {}
        for number, answer, part, scope, key, value, *event in rows:
            if number > len(answers):
                answers.append(_answer(answer, part, scope, key, value))
            if event[0] is not None:
                position, event_id, version, type_, body, hash_ = event
                stored = StoredEvent(position, writes[number - 1].stream, event_id, version, type_, body, hash_)
                missed.setdefault(number, []).append(stored)
        for number, events in missed.items():
            answers[number - 1] = Conflict(tuple(events))
        return answers

    def stream_events(self, stream: StreamKey, *, after: int, limit: int) -> list[StoredEvent]:
        """Ascending versions above ``after``."""
        rows = self.connection.execute(
            "SELECT position, event_id, version, type, body, hash FROM events WHERE stream_name = %s AND stream_id = %s"
            " AND version > %s ORDER BY version LIMIT %s",
            (*stream, after, limit),
            binary=True,
        )
        return [StoredEvent(row[0], stream, *row[1:]) for row in rows]

    def head(self, stream: StreamKey) -> Head:
        """The stream's end."""
        query = "SELECT version, hash FROM heads WHERE stream_name = %s AND stream_id = %s"
        row = self.connection.execute(query, stream, binary=True).fetchone()
        return Head() if row is None else Head(*row)

    def work_rows(self) -> dict[str, tuple[int, Doubt]]:
        """Token and doubt of each piece of work."""
        rows = self.connection.execute("SELECT work_id, token, doubt FROM work")
        return {key: (token, Doubt(doubt)) for key, token, doubt in rows}

    def register_owner(self, owner: str) -> None:
        """Put in an owner."""
        self.connection.execute("INSERT INTO owners VALUES (%s, now()) ON CONFLICT DO NOTHING", (owner,))

    def clear(self) -> None:
        """Take everything out."""
        self.connection.execute(CLEAR)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _answer(answer: str, part: int, scope: str, key: str, value: bytes) -> AppendResult:
    if answer in {"committed", "repeated"}:
        return Committed()
    if answer == "conflict":
        return Conflict(())
    return Duplicate(part, Claim(scope, key, value)) if answer == "duplicate" else Fenced(part)
