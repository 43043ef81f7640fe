"""Checks a whole store against itself and against heads exported earlier. Pure logic over the Audit port.

It finds changes that the service did not make. An edited, exchanged or removed event breaks the chain of hashes or
the numbering. An edited read row differs from the fold of the events. A tail that was cut off together with its rows
shows in heads that were exported. It also shows in the head that appends continue from, which the store keeps apart.
Positions are assigned at commit and are under no hash, so only their order within a stream is checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

import orjson

from domain.account import Balance, Failure, Transaction
from domain.gateway_report import Expected, GatewayReport
from domain.money import EXPONENTS, Money, minor_to_text
from store.codec import timestamp
from store.errors import CorruptStoreError
from store.folding import Fold, Problem, fold_stream
from store.port import Head, Review, StreamKey
from store.queries import Audit

__all__ = ["Problem", "Tally", "export_heads", "verify"]

_Row = Transaction | Balance | Review
_Value = _Row | GatewayReport | Expected


@dataclass(slots=True)
class Tally:
    """The amount of checked data, for the last line of a report."""

    streams: int = 0
    events: int = 0
    heads: int = 0


def verify(
    audit: Audit,
    heads: Iterable[str | bytes] = (),
    tally: Tally | None = None,
    streams: Iterable[StreamKey] | None = None,
) -> Iterator[Problem]:
    """Yield evidence of missing data, then the problems of the streams, ascending, then those of ``heads``.

    ``heads`` are lines of ``export_heads``; ``streams`` are checked in place of all. Memory holds the transactions of
    one stream at a time.
    """
    tally = Tally() if tally is None else tally
    missing = audit.missing()
    if missing is not None:
        yield Problem(None, None, missing)
    for stream in audit.streams() if streams is None else streams:
        tally.streams += 1
        yield from _verify_stream(audit, stream, tally)
    for line in heads:
        if line.strip():
            tally.heads += 1
            yield from _verify_head(audit, line)


def export_heads(audit: Audit) -> Iterator[str]:
    """Yield the end of every stream as JSON. Keep the lines where administrators of the store cannot change them."""
    for stream in audit.streams():
        head = audit.head(stream)
        if head.version > 0:
            line = {
                "stream_name": stream.name,
                "stream_id": stream.id,
                "version": head.version,
                "hash": head.hash.hex(),
            }
            yield orjson.dumps(line).decode()


def _verify_stream(audit: Audit, stream: StreamKey, tally: Tally) -> Iterator[Problem]:
    folded = fold_stream(audit, stream)
    tally.events += folded.events
    yield from folded.problems
    yield from _verify_end(stream, audit.kept_head(stream), folded.head)
    if folded.fold is not None:
        yield from _verify_rows(audit, stream, folded.fold)


def _verify_end(stream: StreamKey, kept: Head | None, end: Head) -> Iterator[Problem]:
    if kept is None or kept == end:
        return
    text = "the last event is not the one that appends continue from"
    if kept.version != end.version:
        text = f"the events end at version {end.version}, but appends continue from version {kept.version}"
        if kept.version > end.version:
            text += ": events are missing, which a backup may have"
    yield Problem(stream, kept.version, text)


def _verify_rows(audit: Audit, stream: StreamKey, fold: Fold) -> Iterator[Problem]:
    try:
        transactions = {row.transaction_id: row for row in audit.transactions(stream)}
        balances = dict(audit.balances(stream))
        reviews = {row.review_id: row for row in audit.reviews(stream)}
        unfinished = frozenset(audit.unfinished(stream))
    except CorruptStoreError as error:
        yield Problem(stream, None, str(error))
        return
    yield from _compare(stream, "transaction", fold.transactions, transactions)
    yield from _compare(stream, "balance", fold.account.balances, balances)
    yield from _compare(stream, "review", fold.reviews, reviews)
    for transaction in fold.transactions.values():
        if transaction.status.terminal and transaction.transaction_id in unfinished:
            text = f"transaction {transaction.transaction_id} is {transaction.status}, but has work"
            yield Problem(stream, transaction.version, text)
        elif not transaction.status.terminal and transaction.transaction_id not in unfinished:
            text = f"transaction {transaction.transaction_id} is {transaction.status}, but has no work"
            yield Problem(stream, transaction.version, text)
    for transaction_id in sorted(unfinished - fold.transactions.keys()):
        yield Problem(stream, None, f"there is work for transaction {transaction_id}, which has no events")


def _compare(stream: StreamKey, what: str, folded: Mapping[str, _Row], rows: Mapping[str, _Row]) -> Iterator[Problem]:
    for key in sorted(folded.keys() | rows.keys()):
        folded_row, stored_row = folded.get(key), rows.get(key)
        if folded_row == stored_row:
            continue
        version = folded_row.version if isinstance(folded_row, Transaction) else None
        if folded_row is None:
            yield Problem(stream, version, f"the row of {what} {key} follows from no event")
        elif stored_row is None:
            yield Problem(stream, version, f"the row of {what} {key} is missing")
        else:
            currency = key if isinstance(folded_row, Balance) else None
            differences = ", ".join(_differences(folded_row, stored_row, currency))
            yield Problem(stream, version, f"the row of {what} {key} differs from its events: {differences}")


def _differences(folded_row: _Value, stored_row: _Value, currency: str | None) -> Iterator[str]:
    for name in (one.name for one in fields(folded_row)):
        expected, found = getattr(folded_row, name), getattr(stored_row, name)
        if isinstance(expected, GatewayReport | Expected) and type(expected) is type(found):
            yield from (f"{name}.{text}" for text in _differences(expected, found, None))
        elif expected != found:
            yield f"{name} is {_worded(found, currency)}, not {_worded(expected, currency)}"


def _worded(value: object, currency: str | None = None) -> str:
    """Return a row's value as text; ``currency`` when its whole numbers are minor units."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
        case StrEnum():
            return value.value
        case datetime():
            return timestamp(value)
        case Money():
            return _worded(value.minor, value.currency)
        case int() if currency in EXPONENTS:
            return f"{minor_to_text(value, currency)} {currency}"
        case Failure():
            return f"({', '.join(f'{one.name} {_worded(getattr(value, one.name))}' for one in fields(value))})"
        case _:
            return repr(value)  # escapes control sequences of terminals


def _verify_head(audit: Audit, line: str | bytes) -> Iterator[Problem]:
    try:
        raw = orjson.loads(line)
        stream = StreamKey(raw["stream_name"], raw["stream_id"])
        exported = Head(int(raw["version"]), bytes.fromhex(raw["hash"]))
    except (ValueError, KeyError, TypeError):
        yield Problem(None, None, f"not a line of exported heads: {line[:200]!r}")
        return
    end = audit.head(stream)
    if end.version < exported.version:
        text = f"the stream was exported up to version {exported.version}, but ends at {end.version}"
        yield Problem(stream, exported.version, text)
    elif end != exported:
        found = next((event.hash for event in audit.events(stream) if event.version == exported.version), None)
        if found != exported.hash:
            yield Problem(stream, exported.version, "the event is not the one that was exported: the past is rewritten")
