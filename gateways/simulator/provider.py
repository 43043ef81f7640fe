"""State of a simulated provider: received requests, effects, and recovery after a restart. No wire format here.

It keeps two files. The ledger has one line per effect (money moved). The memory has one line per request without an
effect that must persist (declined, pending, a first request that was lost). Lines are on disk before any response.
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
from gateways.simulator.durable_lines import DurableLines
from gateways.simulator.rows import ROWS, SUCCESS, Behaviour, Row, TrueStatus

_AGAIN_DECLINED: Final = "do_not_honor"


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """One parsed request; ``key`` is None at a provider without idempotency keys."""

    kind: Kind
    reference: str
    money: Money
    key: str | None


@dataclass(slots=True)
class Record:
    """One accepted request under the provider's own ``id``; ``ready`` is set when its status is on disk."""

    request: PaymentRequest
    id: str
    status: TrueStatus
    code: str | None = None
    ready: threading.Event = field(default_factory=threading.Event)


class KeyReusedError(Exception):
    """The key was used before, for another request."""


Later = Callable[[float, Callable[[], None]], None]


class Notify(Protocol):
    """Sends callbacks."""

    def __call__(self, record: Record, times: int, /, *, wait: bool) -> None:
        """Report ``record`` to the client ``times`` times; ``wait``: return after the first attempt."""


class Provider:
    """One simulated gateway. ``later`` runs a function after a number of seconds; ``notify`` sends callbacks.

    Providers may share files: every line names its gateway.
    """

    def __init__(
        self, name: str, prefix: str, *, ledger: DurableLines, memory: DurableLines, later: Later, notify: Notify
    ) -> None:
        self.name, self._prefix = name, prefix
        self._ledger, self._memory, self._later, self._notify = ledger, memory, later, notify
        self._by_key: dict[str, Record] = {}
        self._by_reference: dict[tuple[Kind, str], Record] = {}  # the newest one of each
        self._received: set[tuple[Kind, str]] = set()  # references with a first request
        self._ids = 0
        self._remember()

    def submit(self, request: PaymentRequest) -> tuple[Behaviour, Record | None]:
        """Process ``request``, once per key. The record is None when the request was lost. Raises KeyReusedError."""
        known = self._by_key.get(request.key) if request.key is not None else None
        if known is not None:
            if known.request != request:
                raise KeyReusedError
            known.ready.wait()
            return Behaviour.ANSWER, known
        place = (request.kind, request.reference)
        row = self._later_row(place) if place in self._received else ROWS.get(request.money.minor % 100, SUCCESS)
        self._received.add(place)
        if row.status is None:
            self._memory.append(self._line(request, None, row=request.money.minor % 100))
            return row.behaviour, None
        self._ids += 1
        record = Record(request, f"{self._prefix}-{self._ids}", row.status, row.code)
        self._hold(record)
        if row.status is TrueStatus.SUCCESS:
            self._ledger.append(self._line(request, record.id))
        else:
            self._memory.append(
                self._line(request, record.id, truth=row.status, code=row.code, row=request.money.minor % 100)
            )
        record.ready.set()
        if row.callback_first:
            answered = Record(request, record.id, TrueStatus.PENDING)
            self._settle(record, row)
            return row.behaviour, answered
        if row.status is TrueStatus.PENDING:
            self._later(row.after_s, lambda: self._settle(record, row))
        return row.behaviour, record

    def lookup(self, reference: str, kind: Kind) -> Record | None:
        """The newest request of ``reference``; None when none was received."""
        record = self._by_reference.get((kind, reference))
        if record is not None:
            record.ready.wait()
        return record

    def _later_row(self, place: tuple[Kind, str]) -> Row:
        """The row for a further request of a reference without the same key: a declined one stays declined."""
        known = self._by_reference.get(place)
        if known is not None and known.status is TrueStatus.DECLINED:
            return Row(TrueStatus.DECLINED, code=known.code or _AGAIN_DECLINED)
        return SUCCESS

    def _settle(self, record: Record, row: Row) -> None:
        """Give a pending record its final status, on disk before it is reported."""
        if row.then is TrueStatus.SUCCESS:
            self._ledger.append(self._line(record.request, record.id))
        else:
            self._memory.append(self._line(record.request, record.id, truth=row.then, code=row.code))
        record.status, record.code = row.then, row.code
        if row.callbacks:
            self._notify(record, row.callbacks, wait=row.callback_first)

    def _hold(self, record: Record) -> None:
        if record.request.key is not None:
            self._by_key[record.request.key] = record
        self._by_reference[record.request.kind, record.request.reference] = record

    def _line(self, request: PaymentRequest, record_id: str | None, **more: object) -> bytes:
        line = {
            "gateway": self.name,
            "kind": request.kind.value,
            "reference": request.reference,
            "id": record_id,
            "amount": request.money.text,
            "currency": request.money.currency,
            "key": request.key,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **more,
        }
        return json.dumps(line).encode("ascii")

    def _remember(self) -> None:
        """Read both files and resume pending records."""
        records: dict[str, Record] = {}
        rows: dict[str, Row] = {}
        effects_start = len(self._memory.lines)  # the ledger comes last and overrides the memory
        for index, text in enumerate([*self._memory.lines, *self._ledger.lines]):
            line = json.loads(text)
            if line["gateway"] != self.name:
                continue
            money = parse_amount(line["amount"], line["currency"])
            request = PaymentRequest(Kind(line["kind"]), line["reference"], money, line["key"])
            self._received.add((request.kind, request.reference))
            if line["id"] is None:
                continue
            truth = TrueStatus.SUCCESS if index >= effects_start else TrueStatus(line["truth"])
            records[line["id"]] = Record(request, line["id"], truth, line.get("code"))
            if "row" in line:
                rows[line["id"]] = ROWS.get(line["row"], SUCCESS)
        for record in sorted(records.values(), key=lambda each: _number(each.id)):
            record.ready.set()
            self._hold(record)
            self._ids = max(self._ids, _number(record.id))
            if record.status is TrueStatus.PENDING:
                self._resume(record, rows[record.id])

    def _resume(self, record: Record, row: Row) -> None:
        self._later(row.after_s, lambda: self._settle(record, row))


def _number(record_id: str) -> int:
    return int(record_id.rpartition("-")[2])
