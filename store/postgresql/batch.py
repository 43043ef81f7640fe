"""Many writes as the one document that the SQL function ``append_batch`` takes, and its rows as answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from store.numbering import numbered_events
from store.port import (
    AppendResult,
    CloseWork,
    EncodedEvent,
    Head,
    OpenWork,
    StreamKey,
    WorkChange,
    Write,
)
from store.postgresql.answers import answers_of
from store.postgresql.rows import Row, errors_text, review_values, transaction_values


class AppendDocument:
    """``writes`` in waves. The writes of a wave share nothing and are stored together. A later wave sees earlier ones.

    Nearly every batch is one wave. Raises UnstorableError when the versions of a write's events do not follow its head,
    and one of ``store.errors.UNSTORABLE``.
    """

    def __init__(self, writes: Sequence[Write]) -> None:
        self._writes = writes
        self._waves: list[list[int]] = []
        self._streams: dict[StreamKey, bool] = {}
        self._owners: set[str] = set()
        self._work: set[str] = set()
        waves: list[_Wave] = []
        last_wave: dict[object, int] = {}
        for number, write in enumerate(writes):
            events = numbered_events(write)
            shared = self._shared(write, events)
            wave = max((last_wave.get(thing, 0) for thing in shared), default=0)
            last_wave.update(dict.fromkeys(shared, wave + 1))
            if wave == len(waves):
                waves.append(_Wave())
                self._waves.append([])
            waves[wave].add(write, events)
            self._waves[wave].append(number)
        self.document: Final = orjson.dumps(
            {
                "streams": [
                    {"name": key.name, "id": key.id, "begins": begins} for key, begins in self._streams.items()
                ],
                "owners": list(self._owners),
                "work": list(self._work),
                "waves": [wave.document for wave in waves],
            }
        ).decode()
        """For ``append_batch``."""

    def _shared(self, write: Write, events: Sequence[EncodedEvent]) -> set[object]:
        """The things that other writes may touch as well. They are also noted for the locks."""
        shared: set[object] = set()
        if events:
            shared.add(write.stream)
            self._streams[write.stream] = self._streams.get(write.stream, False) or write.head.version == 0
        for part in write.parts:
            shared.update((claim.scope, claim.key) for claim in part.claims)
            touched = {change.work_id for change in part.work}
            if part.fence is not None:
                touched.add(part.fence.work_id)
            self._work |= touched
            shared |= touched
            self._owners.update(one.owner for one in part.work if isinstance(one, OpenWork) and one.owner is not None)
        return shared

    def answers(self, rows: Iterable[Row]) -> list[AppendResult]:
        """The answer to each write from the columns of ``append_batch``."""
        return answers_of(self._writes, ((self._waves[wave][in_wave], *row) for wave, in_wave, *row in rows))


class _Wave:
    """The rows of one wave by the names that the SQL functions read."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {"writes": [], "rounds": 0}

    def add(self, write: Write, events: Sequence[EncodedEvent]) -> None:
        number = len(self.document["writes"])
        stream = {"write": number, "stream_name": write.stream.name, "stream_id": write.stream.id}
        self.document["writes"].append(_write_row(number, write, events))
        if write.confirm:
            self.document["confirms"] = True
        self._put(
            "events",
            (
                stream
                | {"version": version, "event_id": event_id, "type": type_, "body": _hex(body), "hash": _hex(hash_)}
                for event_id, version, type_, body, hash_ in events
            ),
        )
        repeatable = not events and all(part.claims for part in write.parts)
        self._add_claims(number, write, repeatable=repeatable)
        self._put(
            "fences",
            (
                {"write": number, "part": place, "work_id": part.fence.work_id, "token": part.fence.token}
                for place, part in enumerate(write.parts)
                if part.fence is not None
            ),
        )
        self._put("transactions", [transaction_values(number, *write.stream, one) for one in write.transactions])
        self._put(
            "balances",
            (
                stream | {"currency": currency, "available_minor": one.available, "reserved_minor": one.reserved}
                for currency, one in write.balances
            ),
        )
        self._put("reviews", [review_values(number, *write.stream, one) for one in write.reviews])
        rounds: dict[str, int] = {}
        for part in write.parts:
            for change in part.work:
                round_ = rounds[change.work_id] = rounds.get(change.work_id, -1) + 1
                self.document["rounds"] = max(self.document["rounds"], round_ + 1)
                kind, row = _change_row(change)
                self._put(kind, [stream | {"round": round_, "work_id": change.work_id} | row])

    def _add_claims(self, number: int, write: Write, *, repeatable: bool) -> None:
        earlier: dict[tuple[str, str], str] = {}
        for place, part in enumerate(write.parts):
            for in_part, (scope, key, value) in enumerate(part.claims):
                row = {"write": number, "part": place, "place": in_part, "scope": scope, "key": key}
                taken = {"earlier": earlier.get((scope, key)), "repeatable": repeatable}
                earlier[scope, key] = _hex(value)
                self._put("claims", [row | taken | {"value": earlier[scope, key]}])

    def _put(self, kind: str, rows: Iterable[Mapping[str, object]]) -> None:
        for row in rows:
            self.document.setdefault(kind, []).append(row)


def _write_row(number: int, write: Write, events: Sequence[EncodedEvent]) -> dict[str, object]:
    row: dict[str, object] = {"write": number, "name": write.stream.name, "id": write.stream.id}
    if events:
        end = Head(events[-1].version, events[-1].hash)
        row |= {"version": write.head.version, "hash": _hex(write.head.hash)}
        row |= {"end_version": end.version, "end_hash": _hex(end.hash)}
    elif write.confirm:
        row |= {"version": write.head.version, "hash": _hex(write.head.hash), "confirms": True}
    return row


def _change_row(change: WorkChange) -> tuple[str, dict[str, object]]:
    if isinstance(change, CloseWork):
        return "closed_work", {}
    if isinstance(change, OpenWork):
        return "opened_work", {
            "transaction_id": change.transaction_id,
            "gateway": change.gateway,
            "action": change.action,
            "event_type": change.event_type,
            "owner": change.owner,
            "payload": None if change.payload is None else _hex(change.payload),
        }
    return "moved_work", {
        "action": change.action,
        "state": change.state,
        "attempts": change.attempts,
        "delay_s": change.delay_s,
        "errors": errors_text(change.errors),
        "doubt": change.certainty,
    }


def _hex(value: bytes) -> str:
    """The text form of bytea in PostgreSQL."""
    return "\\x" + value.hex()
