"""State of a simulated provider: received requests, effects, and recovery after a restart. No wire format here.

It keeps two files. The ledger has one line per effect: money moved, held (``authorization``) or released (``void``).
The memory has the requests without an effect that must persist (declined, pending, a first request that was lost), and
holds that the provider cancelled. Lines are on disk before any response.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from domain.events import Kind
from domain.money import parse_amount
from gateways.simulator import originals
from gateways.simulator.durable_lines import DurableLines
from gateways.simulator.records import PaymentRequest, Record
from gateways.simulator.rows import ROWS, SUCCESS, Behaviour, Row, TrueStatus

_AGAIN_DECLINED: Final = "do_not_honor"
_AUTHORIZATION: Final = "authorization"
"""The kind of a hold's line."""


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
        self._by_id: dict[str, Record] = {}
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
        row = self._later_row(place) if place in self._received else _first_row(request)
        self._received.add(place)
        if row.status is None:
            self._memory.append(self._line(request, None, row=request.money.minor % 100))
            return row.behaviour, None
        original = self._by_id.get(request.original) if request.original is not None else None
        refusal = originals.refusal(request, original)
        if refusal is not None and row.status is not TrueStatus.DECLINED:
            row = Row(TrueStatus.DECLINED, row.behaviour, refusal)
        record = self._accept(request, row, original)
        if row.callback_first and row.status is TrueStatus.PENDING:
            answered = Record(request, record.id, TrueStatus.PENDING)
            self._settle(record, row)
            return row.behaviour, answered
        if row.status is TrueStatus.PENDING or row.then is TrueStatus.CANCELLED:
            self._later(row.after_s, lambda: self._settle(record, row))
        return row.behaviour, record

    def lookup(self, reference: str, kind: Kind) -> Record | None:
        """The newest request of ``reference``; None when none was received."""
        record = self._by_reference.get((kind, reference))
        if record is not None:
            record.ready.wait()
        return record

    def _accept(self, request: PaymentRequest, row: Row, original: Record | None) -> Record:
        """The record of ``request``, on disk, and what it does to ``original``."""
        number = request.money.minor % 100
        self._ids += 1
        record = Record(request, f"{self._prefix}-{self._ids}", row.status or TrueStatus.PENDING, row.code)
        self._keep(record)
        if original is not None and row.status is not TrueStatus.DECLINED:
            originals.begin(record, original)
        if row.status is TrueStatus.SUCCESS:
            record.status = request.effect
            if row.then is TrueStatus.CANCELLED:  # so that the cancellation survives a restart
                self._memory.append(self._line(request, record.id, truth=TrueStatus.PENDING, row=number))
            self._ledger.append(self._line(request, record.id))
            if original is not None:
                originals.end(record, original)
        else:
            self._memory.append(self._line(request, record.id, truth=row.status, code=row.code, row=number))
        record.ready.set()
        return record

    def _later_row(self, place: tuple[Kind, str]) -> Row:
        """The row for a further request of a reference without the same key: a declined one stays declined."""
        known = self._by_reference.get(place)
        if known is not None and known.status is TrueStatus.DECLINED:
            return Row(TrueStatus.DECLINED, code=known.code or _AGAIN_DECLINED)
        return SUCCESS

    def _settle(self, record: Record, row: Row) -> None:
        """Give a pending record its next status, or cancel a hold, on disk before it is reported."""
        request = record.request
        then = request.effect if row.then is TrueStatus.SUCCESS else row.then
        if then is TrueStatus.CANCELLED:
            if record.ended_by is not None:
                return  # a capture or void came first
            record.ended_by = record.id  # from here on none is accepted
        if then is request.effect:
            self._ledger.append(self._line(request, record.id))
        else:
            self._memory.append(self._line(request, record.id, truth=then, code=row.code))
        record.status, record.code = then, row.code
        if then is TrueStatus.CANCELLED:
            record.ended_by = None
        if request.original is not None:
            originals.end(record, self._by_id[request.original])
        if row.callbacks:
            # A copy: the callback reports this status, also when it is sent again later.
            self._notify(Record(request, record.id, then, row.code), row.callbacks, wait=row.callback_first)

    def _keep(self, record: Record) -> None:
        request = record.request
        self._by_id[record.id] = record
        if request.key is not None:
            self._by_key[request.key] = record
        place = (request.kind, request.reference)
        known = self._by_reference.get(place)
        # A request that is refused because an earlier one of its reference was carried out does not hide that one.
        if known is None or known.status is TrueStatus.DECLINED or record.status is not TrueStatus.DECLINED:
            self._by_reference[place] = record

    def _line(self, request: PaymentRequest, record_id: str | None, **more: object) -> bytes:
        line = {
            "gateway": self.name,
            "kind": _AUTHORIZATION if request.hold else request.kind.value,
            "reference": request.reference,
            "id": record_id,
            "amount": request.money.text,
            "currency": request.money.currency,
            "key": request.key,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            **more,
        }
        if request.original is not None:
            line["original"] = request.original
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
            hold = line["kind"] == _AUTHORIZATION
            kind = Kind.DEPOSIT if hold else Kind(line["kind"])
            request = PaymentRequest(kind, line["reference"], money, line["key"], hold, line.get("original"))
            self._received.add((request.kind, request.reference))
            if line["id"] is None:
                continue
            truth = request.effect if index >= effects_start else TrueStatus(line["truth"])
            known = records.get(line["id"])
            if known is not None and known.status is TrueStatus.CANCELLED:
                continue  # nothing follows a cancelled hold
            records[line["id"]] = Record(request, line["id"], truth, line.get("code"))
            if "row" in line:
                rows[line["id"]] = ROWS.get(line["row"], SUCCESS)
        for record in sorted(records.values(), key=lambda each: _number(each.id)):
            record.ready.set()
            self._keep(record)
            self._ids = max(self._ids, _number(record.id))
            self._restore_original(record)
            row = rows.get(record.id, SUCCESS)
            cancels = record.status is TrueStatus.AUTHORIZED and row.then is TrueStatus.CANCELLED
            if record.status is TrueStatus.PENDING or cancels:
                self._resume(record, row)

    def _restore_original(self, record: Record) -> None:
        if record.request.original is None or record.status is TrueStatus.DECLINED:
            return
        original = self._by_id[record.request.original]
        originals.begin(record, original)
        if record.status is not TrueStatus.PENDING:
            originals.end(record, original)

    def _resume(self, record: Record, row: Row) -> None:
        self._later(row.after_s, lambda: self._settle(record, row))


def _first_row(request: PaymentRequest) -> Row:
    """The row of the first request of a reference. Only a hold can be cancelled."""
    row = ROWS.get(request.money.minor % 100, SUCCESS)
    return SUCCESS if row.then is TrueStatus.CANCELLED and not request.hold else row


def _number(record_id: str) -> int:
    return int(record_id.rpartition("-")[2])
