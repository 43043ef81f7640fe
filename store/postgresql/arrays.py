"""Many writes that share nothing as the arrays that the SQL function ``append_writes`` takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from store.numbering import numbered_events
from store.port import AppendResult, CloseWork, OpenWork, Part, StreamKey, WorkChange, Write
from store.postgresql.answers import answers_of
from store.postgresql.array_values import Array, bigints, booleans, byteas, doubles, integers, texts, times
from store.postgresql.flat_rows import add_transaction
from store.postgresql.rows import Row, errors_text

_EVENTS_MAX: Final = 256
"""The largest number of events of a write. ``append_writes`` returns as many, so a repeated write is recognised."""


class AppendArrays:
    """``writes`` as arrays, unless one of them is unusual, or two of them touch the same thing.

    Raises UnstorableError when the versions of a write's events do not follow its head.
    """

    def __init__(self, writes: Sequence[Write]) -> None:
        self._writes = writes
        self._places: list[int] = []
        """The place in ``writes`` of each write, by its number."""
        self._touched: list[object] = []
        self._unusual = False
        self._streams: list[StreamKey] = []
        self._events: list[tuple[Any, ...]] = []
        self._begins: list[tuple[int, bool]] = []
        self._transactions: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        self._balances: list[tuple[Any, ...]] = []
        self._claims: list[tuple[Any, ...]] = []
        self._opened: list[tuple[Any, ...]] = []
        self._moved: list[tuple[Any, ...]] = []
        self._closed: list[tuple[Any, ...]] = []
        self._fences: list[tuple[Any, ...]] = []
        self._heads: list[tuple[Any, ...]] = []
        self._add_all()

    @property
    def complete(self) -> bool:
        """Whether the arrays hold all writes. Otherwise ``AppendDocument`` has to be used."""
        return not self._unusual and len(set(self._touched)) == len(self._touched)

    @property
    def values(self) -> tuple[Array, ...]:
        """The arguments of ``append_writes``. Raises one of ``store.errors.UNSTORABLE``."""
        names, ids = _columns(self._streams, 2)
        versions, hashes, end_versions, end_hashes = _columns(self._heads, 4)
        event_writes, event_versions, event_ids, types, bodies, event_hashes = _columns(self._events, 6)
        transaction_writes, begins = _columns(self._begins, 2)
        balance_writes, currencies, available, reserved = _columns(self._balances, 4)
        claim_writes, claim_parts, scopes, keys, claim_values = _columns(self._claims, 5)
        # In the order of their ids, in which they are locked.
        closed_ids, closed_writes, closed_parts, closed_tokens = _columns(sorted(self._closed, key=itemgetter(0)), 4)
        fence_writes, fence_parts, fence_ids, fence_tokens = _columns(self._fences, 4)
        return (
            *(texts(names), texts(ids)),
            *(bigints(versions), byteas(hashes), bigints(end_versions), byteas(end_hashes)),
            *(integers(event_writes), bigints(event_versions), texts(event_ids), texts(types), byteas(bodies)),
            byteas(event_hashes),
            *(integers(transaction_writes), booleans(begins)),
            *(texts(self._transactions[0]), bigints(self._transactions[1]), times(self._transactions[2])),
            *(integers(balance_writes), texts(currencies), bigints(available), bigints(reserved)),
            *(integers(claim_writes), integers(claim_parts), texts(scopes), texts(keys), byteas(claim_values)),
            *_opened_arrays(self._opened),
            *_moved_arrays(self._moved),
            *(integers(closed_writes), integers(closed_parts), texts(closed_ids), bigints(closed_tokens)),
            *(integers(fence_writes), integers(fence_parts), texts(fence_ids), bigints(fence_tokens)),
        )

    def answers(self, rows: Iterable[Row]) -> list[AppendResult]:
        """The answer to each write from the columns of ``append_writes``."""
        return answers_of(self._writes, ((self._places[number - 1], *row) for number, *row in rows))

    def _add_all(self) -> None:
        events = [numbered_events(write) for write in self._writes]
        places = range(len(self._writes))
        with_events = sorted((place for place in places if events[place]), key=lambda place: self._writes[place].stream)
        self._places = with_events + [place for place in places if not events[place]]
        numbers = [0] * len(self._places)
        for number, place in enumerate(self._places, 1):
            numbers[place] = number
            self._streams.append(self._writes[place].stream)
        for place in with_events:
            head, end = self._writes[place].head, events[place][-1]
            self._heads.append((head.version, head.hash, end.version, end.hash))
        for number, write, its_events in zip(numbers, self._writes, events, strict=True):
            self._unusual |= bool(write.confirm or write.reviews) or len(its_events) > _EVENTS_MAX
            if its_events:
                self._touched.append(write.stream)
                for event_id, version, type_, body, hash_ in its_events:
                    self._events.append((number, version, event_id, type_, body, hash_))
            self._add(number, write, has_events=bool(its_events))

    def _add(self, number: int, write: Write, *, has_events: bool) -> None:
        fences = sum(part.fence is not None for part in write.parts)
        claims = sum(len(part.claims) for part in write.parts)
        self._unusual |= bool(claims) and not has_events
        for place, part in enumerate(write.parts):
            self._add_part(number, place, part, merged=fences == 1 and not claims)
        for transaction in write.transactions:
            self._begins.append((number, transaction.created_at == transaction.updated_at))
            add_transaction(*self._transactions, transaction)
        for currency, balance in write.balances:
            self._balances.append((number, currency, balance.available, balance.reserved))

    def _add_part(self, number: int, place: int, part: Part, *, merged: bool) -> None:
        for scope, key, value in part.claims:
            self._touched.append(("claim", scope, key))
            self._claims.append((number, place, scope, key, value))
        fence = part.fence
        if fence is not None:
            merged = merged and len(part.work) == 1 and _closes(part.work[0], fence.work_id)
            if not merged:
                self._fences.append((number, place, fence.work_id, fence.token))
            if len(part.work) != 1 or part.work[0].work_id != fence.work_id:
                self._touched.append(fence.work_id)  # it is checked, so no other write may change it
        token = fence.token if fence is not None and merged else None
        for change in part.work:
            self._touched.append(change.work_id)
            self._add_work(number, place, change, token)

    def _add_work(self, number: int, place: int, change: WorkChange, token: int | None) -> None:
        work_id = change.work_id
        if isinstance(change, CloseWork):
            self._closed.append((work_id, number, place, token))
        elif isinstance(change, OpenWork):
            what = (change.transaction_id, change.gateway, change.action, change.event_type)
            self._opened.append((number, work_id, *what, change.owner, change.payload))
        else:
            how = (change.state, change.attempts, change.delay_s, errors_text(change.errors), change.certainty)
            self._moved.append((number, work_id, change.action, *how))


def _closes(change: WorkChange, work_id: str) -> bool:
    return isinstance(change, CloseWork) and change.work_id == work_id


def _opened_arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[Array, ...]:
    writes, *columns, payloads = _columns(rows, 8)
    return (integers(writes), *map(texts, columns), byteas(payloads))


def _moved_arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[Array, ...]:
    writes, ids, actions, states, attempts, delays, errors, doubts = _columns(rows, 8)
    changes = (texts(ids), texts(actions), texts(states), bigints(attempts), doubles(delays), texts(errors))
    return (integers(writes), *changes, integers(doubts))


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> Sequence[Sequence[Any]]:
    return tuple(zip(*rows, strict=True)) if rows else ((),) * count
