"""A provider's mind: what was asked of it, what it did, and what it remembers over a restart; knows no wire format.

Two files: the ledger holds one line for each effect (money moved), the memory one for each thing that moved none but
must not be forgotten (declined, pending, a first request that was lost). Each is on disk before anything is answered.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol

from domain.events import Kind
from domain.money import Money, parse_amount
from gateways.simulator.journal import Journal
from gateways.simulator.rows import ROWS, SUCCESS, Face, Row, Truth

_AGAIN_DECLINED: Final = "do_not_honor"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the provider understood it; ``key`` None for a provider that knows no idempotency keys."""

    kind: Kind
    reference: str
    money: Money
    key: str | None


@dataclass(slots=True)
class Record:
    """One accepted request under the provider's own ``id``; ``ready`` once the truth is on disk."""

    asked: Asked
    id: str
    truth: Truth
    code: str | None = None
    ready: threading.Event = field(default_factory=threading.Event)


class KeyReusedError(Exception):
    """The key was used before, for another request."""


Later = Callable[[float, Callable[[], None]], None]


class Notify(Protocol):
    """Sends callbacks."""

    def __call__(self, record: Record, times: int, /, *, wait: bool) -> None:
        """Tell the client, ``times`` over, what became of ``record``; ``wait``: the first attempt is over by then."""


class Provider:
    """One simulated gateway. ``later`` runs a function after so many seconds; ``notify`` sends callbacks.

    Journals may be shared among providers: every line names its gateway.
    """

    def __init__(
        self, name: str, prefix: str, *, ledger: Journal, memory: Journal, later: Later, notify: Notify
    ) -> None:
        self.name, self._prefix = name, prefix
        self._ledger, self._memory, self._later, self._notify = ledger, memory, later, notify
        self._by_key: dict[str, Record] = {}
        self._by_reference: dict[tuple[Kind, str], Record] = {}  # the newest one of each
        self._met: set[tuple[Kind, str]] = set()  # references whose first request has come
        self._ids = 0
        self._remember()

    def submit(self, asked: Asked) -> tuple[Face, Record | None]:
        """Do what is asked, once for each key. No record: there is nothing to show. Raises KeyReusedError."""
        known = self._by_key.get(asked.key) if asked.key is not None else None
        if known is not None:
            if known.asked != asked:
                raise KeyReusedError
            known.ready.wait()
            return Face.ANSWER, known
        place = (asked.kind, asked.reference)
        row = self._later_row(place) if place in self._met else ROWS.get(asked.money.minor % 100, SUCCESS)
        self._met.add(place)
        if row.truth is None:
            self._memory.append(self._line(asked, None, row=asked.money.minor % 100))
            return row.face, None
        self._ids += 1
        record = Record(asked, f"{self._prefix}-{self._ids}", row.truth, row.code)
        self._hold(record)
        if row.truth is Truth.SUCCESS:
            self._ledger.append(self._line(asked, record.id))
        else:
            self._memory.append(
                self._line(asked, record.id, truth=row.truth, code=row.code, row=asked.money.minor % 100)
            )
        record.ready.set()
        if row.callback_first:
            answered = Record(asked, record.id, Truth.PENDING)
            self._settle(record, row)
            return row.face, answered
        if row.truth is Truth.PENDING:
            self._later(row.after_s, lambda: self._settle(record, row))
        return row.face, record

    def lookup(self, reference: str, kind: Kind) -> Record | None:
        """The newest request of ``reference``; None when none was received."""
        record = self._by_reference.get((kind, reference))
        if record is not None:
            record.ready.wait()
        return record

    def _later_row(self, place: tuple[Kind, str]) -> Row:
        """What a further request meets that is no repetition under the same key: a declined one stays declined."""
        known = self._by_reference.get(place)
        if known is not None and known.truth is Truth.DECLINED:
            return Row(Truth.DECLINED, code=known.code or _AGAIN_DECLINED)
        return SUCCESS

    def _settle(self, record: Record, row: Row) -> None:
        """Give a pending record its final truth, on disk before anybody hears of it."""
        if row.then is Truth.SUCCESS:
            self._ledger.append(self._line(record.asked, record.id))
        else:
            self._memory.append(self._line(record.asked, record.id, truth=row.then, code=row.code))
        record.truth, record.code = row.then, row.code
        if row.callbacks:
            self._notify(record, row.callbacks, wait=row.callback_first)

    def _hold(self, record: Record) -> None:
        if record.asked.key is not None:
            self._by_key[record.asked.key] = record
        self._by_reference[record.asked.kind, record.asked.reference] = record

    def _line(self, asked: Asked, record_id: str | None, **more: object) -> bytes:
        line = {
            "gateway": self.name,
            "kind": asked.kind.value,
            "reference": asked.reference,
            "id": record_id,
            "amount": asked.money.text,
            "currency": asked.money.currency,
            "key": asked.key,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **more,
        }
        return json.dumps(line).encode("ascii")

    def _remember(self) -> None:
        """Read both files back; what is still pending goes on from here."""
        records: dict[str, Record] = {}
        rows: dict[str, Row] = {}
        effects_start = len(self._memory.lines)  # the ledger comes last: what it says stands
        for index, text in enumerate([*self._memory.lines, *self._ledger.lines]):
            line = json.loads(text)
            if line["gateway"] != self.name:
                continue
            money = parse_amount(line["amount"], line["currency"])
            asked = Asked(Kind(line["kind"]), line["reference"], money, line["key"])
            self._met.add((asked.kind, asked.reference))
            if line["id"] is None:
                continue
            truth = Truth.SUCCESS if index >= effects_start else Truth(line["truth"])
            records[line["id"]] = Record(asked, line["id"], truth, line.get("code"))
            if "row" in line:
                rows[line["id"]] = ROWS.get(line["row"], SUCCESS)
        for record in sorted(records.values(), key=lambda each: _number(each.id)):
            record.ready.set()
            self._hold(record)
            self._ids = max(self._ids, _number(record.id))
            if record.truth is Truth.PENDING:
                self._resume(record, rows[record.id])

    def _resume(self, record: Record, row: Row) -> None:
        self._later(row.after_s, lambda: self._settle(record, row))


def _number(record_id: str) -> int:
    return int(record_id.rpartition("-")[2])
